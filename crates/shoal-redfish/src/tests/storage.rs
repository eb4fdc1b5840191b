//! Which drives and volumes count as disks of the host.

use serde_json::{Value, json};

use super::fake::*;

const STORAGE: &str = "/redfish/v1/Systems/1/Storage";

fn links(paths: &[&str]) -> Value {
    paths.iter().map(|path| link(&format!("{STORAGE}/{path}"))).collect()
}

/// A RAID controller with a mirror, a spare, an unused drive and one that is handed through, and NVMe drives with a
/// collection of controllers, one of them absent.
fn resource(path: &str) -> Option<Value> {
    let drive = |serial: &str, more: Value| {
        let mut drive =
            json!({ "Id": serial, "SerialNumber": serial, "MediaType": "HDD", "CapacityBytes": "1000" });
        drive.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        drive
    };
    let naa = |name: &str| json!([{ "DurableNameFormat": "NAA", "DurableName": name }]);
    Some(match path {
        "" => collection(&[&format!("{STORAGE}/RAID"), &format!("{STORAGE}/NVMe")]),
        "/RAID" => json!({
            "StorageControllers": [{ "Model": "PERC H755", "SupportedRAIDTypes": ["RAID1"] }],
            "Drives": links(&["D0", "D1", "D2", "D3", "D4", "D5"]),
            "Volumes": link(&format!("{STORAGE}/RAID/Volumes")),
        }),
        "/RAID/Volumes" => collection(&[&format!("{STORAGE}/V0"), &format!("{STORAGE}/V1")]),
        "/V0" => json!({ "Id": "V0", "Name": "os", "RAIDType": "RAID1", "CapacityBytes": 900,
            "Identifiers": naa("6000"), "Links": { "Drives": links(&["D0", "D1"]) } }),
        "/V1" => json!({ "Id": "V1", "VolumeType": "RawDevice", "Identifiers": naa("5005"),
            "Links": { "Drives": links(&["D5"]) } }),
        "/D0" | "/D1" => drive("member", json!({})),
        "/D2" => drive("spare", json!({ "HotspareType": "Global" })),
        "/D3" => drive("unused", json!({})),
        "/D4" => drive(
            "through",
            json!({ "Oem": { "Dell": { "DellPhysicalDisk": { "RaidStatus": "NonRAID" } } } }),
        ),
        "/D5" => drive("raw", json!({})),
        "/NVMe" => json!({ "Name": "NVMe root", "Controllers": link(&format!("{STORAGE}/NVMe/Controllers")),
            "Drives": links(&["N0", "N1"]) }),
        "/NVMe/Controllers" => collection(&[&format!("{STORAGE}/NVMe/Controllers/0")]),
        "/NVMe/Controllers/0" => json!({ "Model": "AHCI" }),
        "/N0" => drive("nvme", json!({ "Protocol": "NVMe", "MediaType": "SSD" })),
        "/N1" => drive("gone", json!({ "Status": { "State": "Absent" } })),
        _ => return None,
    })
}

fn with_storage(asked: &Asked) -> Option<FakeAnswer> {
    if asked.path == SYSTEM {
        let mut system = system();
        system["Storage"] = link(STORAGE);
        return answer(200, system);
    }
    answer(200, resource(asked.path.strip_prefix(STORAGE)?)?)
}

#[tokio::test(start_paused = true)]
async fn disks_are_volumes_and_drives_that_the_host_sees() {
    let (bmc, _) = bmc(with_storage);
    let system = read_system(&bmc).await;
    let found = bmc.observe_disks(&system).await.unwrap();
    let ids: Vec<&str> = found.disks.iter().map(|disk| disk.id.as_str()).collect();
    assert_eq!((ids.as_slice(), found.hidden), (&["through", "raw", "V0", "nvme"][..], 4));
    let [through, raw, volume, nvme] = found.disks.as_slice() else { panic!("{found:?}") };
    assert_eq!((through.bytes, through.controller.as_deref()), (Some(1000), Some("PERC H755")));
    assert_eq!(raw.identifiers[0].name, "5005");
    assert_eq!(
        (volume.is_volume, volume.is_rotational, volume.name.as_deref()),
        (true, Some(true), Some("os"))
    );
    assert_eq!((nvme.controller.as_deref(), nvme.is_rotational), (Some("AHCI"), Some(false)));
}

/// With a drive missing, another one would be the only match.
#[tokio::test(start_paused = true)]
async fn a_part_that_cannot_be_read_is_an_error() {
    for unreadable in ["", "/RAID", "/RAID/Volumes", "/V0", "/D3", "/NVMe/Controllers", "/N0"] {
        let (bmc, _) = bmc(move |asked: &Asked| {
            if asked.path == format!("{STORAGE}{unreadable}") {
                return answer(404, json!({}));
            }
            with_storage(asked)
        });
        let system = read_system(&bmc).await;
        let error = bmc.observe_disks(&system).await.unwrap_err().to_string();
        assert!(error.contains("reading the disks"), "{unreadable}: {error}");
    }
    let (bmc, _) = bmc(|_| None);
    let system = read_system(&bmc).await;
    let error = bmc.observe_disks(&system).await.unwrap_err().to_string();
    assert!(error.contains("has no Storage"), "{error}");
}
