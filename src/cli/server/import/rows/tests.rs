//! The same servers in every format, and what is wrong with a file.

use serde_json::json;

use super::*;

fn bodies(text: &str) -> Vec<Value> {
    let rows = parse(text, None).unwrap_or_else(|fault| panic!("{fault}"));
    assert!(rows.iter().all(|row| row.faults.is_empty()), "{rows:?}");
    rows.into_iter().map(|row| Value::Object(row.body)).collect()
}

#[test]
fn all_formats_say_the_same() {
    let csv = "\u{feff}serial,bmc_address,protected,labels.rack,variables.ssh,variables.vlan\r\n\
        A1, https://h ,yes,\"7, left\",true,07\r\n0042,https://i,,,,\r\n";
    let json = r#"[{"serial":"A1","bmc_address":"https://h","protected":true,"labels":{"rack":"7, left"},
        "variables":{"ssh":true,"vlan":"07"}},{"serial":"0042","bmc_address":"https://i"}]"#;
    let yaml = "- serial: A1\n  bmc_address: https://h\n  protected: true\n  labels: {rack: '7, left'}\n  \
        variables:\n    ssh: true\n    vlan: '07'\n- {serial: '0042', bmc_address: 'https://i'}\n";
    let expected: Value = serde_json::from_str(json).unwrap();
    let lines = expected.as_array().unwrap().iter().map(|row| format!("{row}\n\n")).collect::<String>();
    let wrapped = json!({ "servers": expected }).to_string();
    let documents = "serial: A1\n---\nserial: B2\n";
    for text in [csv, &csv.replace("7, left", "7; left").replace(',', ";"), json, &lines, &wrapped, yaml] {
        let text = text.replace("7; left", "7, left");
        assert_eq!(Value::Array(bodies(&text)), expected, "{text}");
    }
    assert_eq!(bodies(documents), [json!({"serial": "A1"}), json!({"serial": "B2"})]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_by_its_line() {
    for (text, part) in [
        (
            "serial,bmc_adress\n",
            "line 1: unknown column `bmc_adress`; the nearest known one is `bmc_address`",
        ),
        ("serial,label.rack\nA,7\n", "unknown column `label.rack`; the nearest known one is `labels.NAME`"),
        ("serial,labels.\nA,7\n", "unknown column `labels.`"),
        ("serial,tls,serial\n", "the column `serial` is there twice"),
        ("bmc_address,tls\n", "there is no column `serial`"),
        ("serial\n", "holds no server"),
        ("{\"serial\":\"A\"}\n{\"pw\":\"hunter2\",}\n", "line 2, column 17: is not JSON"),
        ("- serial: A\n  b: [hunter2\n", "is not YAML"),
        ("", "no column `serial`"),
    ] {
        let fault = parse(text, None).unwrap_err();
        assert!(fault.contains(part) && !fault.contains("hunter2"), "{text}: {fault}");
    }
}

#[test]
fn a_bad_row_does_not_hide_the_others() {
    let rows = parse("serial,tls,protected\nA,verify\nB,verify,maybe\nC,verify,no\n", None).unwrap();
    let faults: Vec<_> = rows.iter().map(|row| (row.line, row.faults.join(";"))).collect();
    let expected = ["has 2 cells, and the header has 3", "protected: must be true or false", ""];
    assert_eq!(
        faults,
        expected
            .iter()
            .enumerate()
            .map(|(at, fault)| (Some(at as u64 + 2), (*fault).to_owned()))
            .collect::<Vec<_>>()
    );
    let rows = parse("- serial: 0042\n- hunter2\n", None).unwrap();
    assert!(rows[0].faults[0].contains("quote it"), "{rows:?}");
    assert_eq!(rows[1].faults, ["must be an object"]);
}
