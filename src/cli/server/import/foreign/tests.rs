//! Files of other tools, as those write them.

use super::*;

fn row(text: &str) -> (Value, Vec<String>) {
    let mut lines = text.lines().map(|line| line.split(','));
    let (names, cells) = (lines.next().unwrap().collect::<Vec<_>>(), lines.next().unwrap());
    let cells = names.iter().map(|name| plain(name)).zip(cells.map(str::to_owned));
    made(of_columns(&names), &cells.filter(|(_, cell)| !cell.is_empty()).collect())
}

fn made(foreign: Option<Foreign>, cells: &BTreeMap<String, String>) -> (Value, Vec<String>) {
    let mut row = Row::default();
    foreign.expect("the file is recognised").row(cells, &mut row);
    (Value::Object(row.body), row.faults)
}

#[test]
fn a_mapping_file_of_omnia_is_read_as_it_is() {
    let text = "FUNCTIONAL_GROUP_NAME,GROUP_NAME,SERVICE_TAG,HOSTNAME,ADMIN_MAC,ADMIN_IP,BMC_MAC,BMC_IP\n\
        slurm_node_x86_64,grp1,ABCD34,slurm-node1,xx:yy:zz:aa:bb:cc,172.16.107.52,aa:bb:cc:dd:ee:ff,172.17.107.52\n";
    let expected = json!({"serial": "ABCD34", "bmc_address": "https://172.17.107.52",
        "management_address": "172.16.107.52", "labels": {"functional_group": "slurm_node_x86_64",
        "group": "grp1", "hostname": "slurm-node1", "mac": "xx:yy:zz:aa:bb:cc", "bmc_mac": "aa:bb:cc:dd:ee:ff"}});
    assert_eq!(row(text), (expected, Vec::new()));
}

#[test]
fn devices_of_netbox_are_read_from_its_table_and_its_api() {
    let expected = json!({"serial": "CZ1", "bmc_address": "https://10.0.0.5", "management_address": "10.1.0.5",
        "labels": {"hostname": "esx1", "site": "ams", "rack": "R7", "position": "12.0", "role": "hypervisor"}});
    let csv = "Name,Status,Role,Serial number,Site,Rack,Position,IP Address,OOB IP,Tags\n\
        esx1,Active,hypervisor,CZ1,ams,R7,12.0,10.1.0.5/24,10.0.0.5/24,x\n";
    assert_eq!(row(csv), (expected.clone(), Vec::new()));
    let api = json!({"id": 5, "name": "esx1", "serial": "CZ1", "asset_tag": null,
        "site": {"id": 1, "name": "ams"}, "rack": {"name": "R7"}, "position": 12.0, "tenant": null,
        "role": {"display": "Hypervisor", "name": "hypervisor"}, "status": {"value": "active"},
        "primary_ip": {"address": "10.1.0.5/24"}, "oob_ip": {"address": "10.0.0.5/24"}, "tags": []});
    let api = api.as_object().unwrap();
    assert_eq!(made(of_object(api), &texts(api)), (expected, Vec::new()));
}

#[test]
fn a_device_without_a_bmc_is_a_bad_row() {
    let (body, faults) = row("name,serial,oob_ip\nswitch1,,\n");
    assert_eq!(body, json!({"labels": {"hostname": "switch1"}}));
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(row("name,serial,oob_ip\na,X,fd00::5/64\n").0["bmc_address"], "https://[fd00::5]");
}
