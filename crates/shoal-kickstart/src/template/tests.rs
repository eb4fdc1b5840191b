//! Templates: what they may say, what their errors say, and what they cannot do.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;

fn values(variables: Json) -> Map<String, Json> {
    variables.as_object().unwrap().clone()
}

fn server() -> ServerFacts {
    let labels = [("rack", "r-1"), ("bad", "$(reboot)")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    ServerFacts { serial: "ABC123".to_owned(), management_address: None, labels: labels.into() }
}

fn rendered(template: &str, variables: Json) -> Result<String, TemplateError> {
    rendered_with(template, variables, Err(NO_SERVER)).map(|rendered| rendered.text)
}

fn rendered_with(
    template: &str,
    variables: Json,
    disks: Result<&Inventory, &str>,
) -> Result<Rendered, TemplateError> {
    let (variables, server) = (values(variables), server());
    render(template, &Values { variables: &variables, server: Some(&server), disks, seed: [7; 32] })
}

#[test]
fn a_disk_is_chosen_by_hints() {
    let disk = Disk {
        id: "Bay.0".to_owned(),
        serial: Some("S1".to_owned()),
        protocol: Some("SAS".to_owned()),
        identifiers: vec![("NAA".to_owned(), "5000C500D4C6A1B3".to_owned())],
        ..Disk::default()
    };
    let inventory = Inventory { disks: vec![disk], hidden: 0 };
    for call in ["disk('serialNumber=S1')", "disk(serialNumber='S1')", "disk( 'S1' )", "disk('wwn=' ~ wwn)"] {
        let template =
            format!("{{% set target = {} %}}install --disk={{{{ target }}}} {{{{ target }}}}", "disk('S1')");
        assert!(uses_disks(&template));
        let template = if call.contains('~') { format!("install --disk={{{{ {call} }}}}") } else { template };
        let rendered = rendered_with(&template, json!({"wwn": "5000c500d4c6a1b3"}), Ok(&inventory)).unwrap();
        assert!(
            rendered.text.starts_with("install --disk=naa.5000c500d4c6a1b3"),
            "{call}: {}",
            rendered.text
        );
        assert_eq!(rendered.disks.len(), 1, "{call}");
    }
    let error = rendered_with("\n{{ disk('model=X') }}", json!({}), Ok(&inventory)).unwrap_err();
    assert_eq!(error.line, 2);
    assert!(error.message.contains("no disk matches `model=X`"), "{error}");
    let error =
        rendered_with("{{ disk('model=X') }}", json!({}), Err("the BMC does not answer")).unwrap_err();
    assert_eq!(error.message, "the BMC does not answer");
    assert!(!uses_disks("install --disk={{ disk_name }}"));
}

#[test]
fn a_template_as_people_write_them_for_ansible_is_rendered() {
    let template = "network{% if vlan is defined %} --vlanid={{ vlan }}{% endif %} --ip={{ ip }}\n\
        {% for dns in servers %}\n# {{ loop.index }}: {{ dns }}\n{% endfor %}\n\
        --hostname={{ name | default('esx') | lower }} {{ server.serial }} {{ server.labels.rack }}\n\
        {% set mask = net | ip_netmask %}{{ mask }} ${#array[@]} {# kept #}\n";
    let variables = json!({"ip": "10.0.0.1", "servers": ["a", "b"], "net": "10.0.0.0/23"});
    let expected = "network --ip=10.0.0.1\n# 1: a\n# 2: b\n--hostname=esx ABC123 r-1\n255.255.254.0 ${#array[@]} {# kept #}\n";
    assert_eq!(rendered(template, variables).unwrap(), expected);
}

#[test]
fn filters_do_addresses_masks_and_macs() {
    for (expression, expected) in [
        ("'10.0.0.250' | ip_add(10)", "10.0.1.4"),
        ("'10.0.0.5/24' | ip_add(-1)", "10.0.0.4/24"),
        ("'10.0.0.5/24' | ip_address", "10.0.0.5"),
        ("'10.0.0.5/24' | ip_network", "10.0.0.0"),
        ("'10.0.0.5/255.255.255.128' | ip_broadcast", "10.0.0.127"),
        ("'10.0.0.5/22' | ip_prefix", "22"),
        ("'10.0.0.5/24' | ip_host(1)", "10.0.0.1"),
        ("'10.0.0.5/24' | ip_host(-1)", "10.0.0.254"),
        ("24 | netmask", "255.255.255.0"),
        ("'255.255.240.0' | prefix", "20"),
        ("'94-40-C9-00-00-01' | mac", "94:40:c9:00:00:01"),
        ("'9440.c900.0001' | mac('-')", "94-40-c9-00-00-01"),
        ("'94:40:c9:00:00:01' | mac('')", "9440c9000001"),
        ("'94:40:c9:00:00:01' | mac('.')", "9440.c900.0001"),
        ("['a', 2] | join(',')", "a,2"),
        ("'a-b' | replace('-', '_') | upper", "A_B"),
    ] {
        assert_eq!(
            rendered(&format!("{{{{ {expression} }}}}"), json!({})).as_deref(),
            Ok(expected),
            "{expression}"
        );
    }
    for (expression, part) in [
        ("'10.0.0.300' | ip_add(1)", "not an IPv4 address"),
        ("'255.255.255.255' | ip_add(1)", "not an IPv4 address"),
        ("'10.0.0.255/24' | ip_add(1)", "outside"),
        ("'10.0.0.5/24' | ip_host(255)", "no host"),
        ("'10.0.0.5' | ip_netmask", "with its prefix"),
        ("33 | netmask", "0 to 32"),
        ("'255.0.255.0' | prefix", "not a netmask"),
        ("'94:40' | mac", "not a MAC"),
    ] {
        let error = rendered(&format!("a\nb {{{{ {expression} }}}}"), json!({})).unwrap_err();
        assert!(error.message.contains(part), "{expression}: {error}");
        assert_eq!(error.line, 2, "{error}");
    }
}

#[test]
fn a_password_becomes_a_hash_that_the_installer_accepts() {
    let text = rendered("rootpw --iscrypted {{ pw | sha512_crypt }}\n", json!({"pw": "hunter2"})).unwrap();
    assert!(!text.contains("hunter2"));
    let hash = text.trim().rsplit(' ').next().unwrap();
    // By `openssl passwd -6 -salt wRsks8jqNsDVSELi hunter2`.
    let expected = "$6$wRsks8jqNsDVSELi$YSeJrD.snENIQaAz3054FJdD90FrW6rJab4Yj1KQebRWSjUu1dffBLAPjoyHsSx.OD8a5eEBnloXweb696rnD.";
    assert_eq!(hash, expected);
    let findings = crate::lint::lint(text.as_bytes(), crate::Options::default()).found;
    assert!(findings.iter().all(|finding| finding.rule.id != "KS035"), "{findings:?}");
    let twice = rendered("{{ 'a' | sha512_crypt }} {{ 'a' | sha512_crypt }}", json!({})).unwrap();
    let (first, second) = twice.split_once(' ').unwrap();
    assert_ne!(first, second, "each password has its own salt");
}

#[test]
fn errors_have_a_place_and_no_value() {
    for (template, place, message) in [
        ("a\n  {{ ip_adress }}", (2, 6), "`ip_adress` is not defined"),
        ("{{ server.labels.row }}", (1, 4), "`server.labels.row` is not defined"),
        ("{{ server.bmc_password }}", (1, 4), "`server.bmc_password` is not defined"),
        ("{{ server.labels.bad }}", (1, 4), "`server.labels.bad` holds a character outside [A-Za-z0-9 ._:-]"),
        ("{{ pw | nothing }}", (1, 9), "there is no filter of this name"),
        ("é {{ vars('x') }}", (1, 6), "there is no function of this name"),
    ] {
        let error = rendered(template, json!({"pw": "hunter2"})).unwrap_err();
        assert_eq!((error.message.as_str(), error.line), (message, place.0), "{template}");
        assert!((place.1..=template.len()).contains(&error.column), "{template}: {error}");
    }
    for template in [
        "{{ 'hunter2' }",
        "{{ pw + 1 }}",
        "{{ pw | ip_add(1) }}",
        "{{ pw.x.y }}",
        "{{ 'hunter2' | pw }}",
        "{% if pw %}",
        "{{ pw(1) }}",
        "{{ [pw] | join | netmask }}",
    ] {
        let error = rendered(template, json!({"pw": "hunter2"})).unwrap_err();
        assert!(!error.to_string().contains("hunter2") && error.line == 1, "{template}: {error}");
    }
}

#[test]
fn what_would_grow_without_bound_is_refused() {
    let doubled = format!("{{% set s = 'x' %}}{}{{{{ s }}}}", "{% set s = s ~ s %}".repeat(60));
    for template in [
        doubled.as_str(),
        "{% macro m(s) %}{{ m(s ~ s) }}{% endmacro %}{{ m('x') }}",
        "{% set s = [s, s] %}",
        "{% with s = x * 1000000 %}{{ s }}{% endwith %}",
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{% for a in range(1000) %}{{ '0123456789012345678901234567890123456789012345678901234567890123456789' }}{% endfor %}",
        "{% set s %}{{ x }}{% endset %}",
        "{% include 'x' %}",
        "{{ 'a' | replace('a', 'b' * 100000) }}",
    ] {
        assert!(rendered(template, json!({"x": "x", "s": "s"})).is_err(), "{template}");
    }
    let large = "x".repeat(VARIABLES_BYTES_MAX);
    assert!(rendered("a", json!({ "x": large })).unwrap_err().message.contains("16384"));
    assert!(rendered("a", json!({ "server": 1 })).is_err());
    assert!(rendered(&"x".repeat(RENDERED_BYTES_MAX + 1), json!({})).is_err());
}

proptest! {
    #[test]
    fn any_template_ends(parts in proptest::collection::vec(proptest::sample::select(vec![
        "{{", "}}", "{%", "%}", " set x = y ", " for a in b ", " endfor ", " if x ", " endif ", "x", " ~ ", "'", "\n",
        "| mac", "| sha512_crypt", "[", "]", "(", ")", "server.", "labels", "é", "{#", "#}", "-",
    ]), 0..40)) {
        let _ = rendered(&parts.concat(), json!({"x": "1", "y": "2", "b": [1]}));
    }
}
