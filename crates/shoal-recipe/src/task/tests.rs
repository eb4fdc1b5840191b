//! The recipe of the task medium, written by one program and read by another.

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::disk::{DiskHints, Transport};
use crate::network::StaticNetwork;

fn disks() -> impl Strategy<Value = DiskSelector> {
    let text = || of("[a-zA-Z0-9]{1,12}");
    let hints = (text(), text(), text(), of(any::<bool>()), of(1_u64..1 << 50)).prop_map(
        |(serial, wwn, model, rotational, min_size)| {
            let transport =
                rotational.map(|spins| if spins { Transport::Sas } else { Transport::FibreChannel });
            let by_path = Some("pci-0000:3b:00.0-nvme-1".to_owned());
            let hints = DiskHints {
                serial,
                wwn,
                model,
                rotational,
                min_size,
                transport,
                by_path,
                ..Default::default()
            };
            DiskSelector::Hints(hints)
        },
    );
    prop_oneof![hints, Just(DiskSelector::Device("/dev/disk/by-id/wwn-0x5000".to_owned()))]
}

fn images() -> impl Strategy<Value = TaskImage> {
    let url =
        "[a-z]{1,9}".prop_map(|host| TaskImageLocation::Url(format!("https://{host}/i").parse().unwrap()));
    let media = vec("[a-z]{1,8}\\.[0-9]{3}", 1..5).prop_map(TaskImageLocation::Media);
    (prop_oneof![url, media], any::<[u8; 32]>(), of(any::<u64>()))
        .prop_map(|(location, sha256, size)| TaskImage { location, sha256: Sha256(sha256), size })
}

fn layouts() -> impl Strategy<Value = Option<Layout>> {
    let esp = json!({ "size": "512M", "type_guid": "ef00", "format": "vfat", "mountpoint": "/boot/efi" });
    let sizes = (1_u64..1 << 40, 1_u8..100);
    of(sizes).prop_map(move |sizes| {
        let (bytes, percent) = sizes?;
        let list = json!([esp, { "size": "100%", "format": "xfs", "label": "root", "mountpoint": "/" },
            { "size": (bytes + (1 << 20)).to_string(), "format": "swap" },
            { "size": format!("{percent}%"), "format": "none" }]);
        let document = [("partition_layout".to_owned(), list)].into_iter().collect();
        read_document(&document, |reader| Layout::read(reader, "partition_layout")).ok()
    })
}

fn networks() -> impl Strategy<Value = Network> {
    let fixed = (any::<u8>(), of(1_u16..4095)).prop_map(|(host, vlan)| {
        let addresses = vec![format!("10.1.0.{host}/24").parse().unwrap(), "2001:db8::5/64".parse().unwrap()];
        let gateway = Some("2001:db8::1".parse().unwrap());
        let (mac, dns) = ("0c:42:a1:00:00:01".to_owned(), vec!["10.1.0.2".parse().unwrap()]);
        Network::Static(StaticNetwork { mac, addresses, gateway, dns, vlan })
    });
    prop_oneof![fixed, Just(Network::Dhcp)]
}

proptest! {
    #[test]
    fn what_the_controller_writes_the_agent_reads(
        target_disk in disks(), image in images(), partition_layout in layouts(), network in networks(), overwrite: bool, full: bool, signals: bool,
        pin: [u8; 32], uuid in of("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ) {
        let job = Job {
            id: "01920000-0000-7000-8000-000000000000".to_owned(),
            report_url: full.then(|| "https://10.0.0.5:8443/api/v1/report/t0ken".parse().unwrap()),
            controller_url: signals.then(|| "https://10.0.0.5:8443/".parse().unwrap()),
            tls: TlsPolicy::Pin(pin),
            ca_pem: overwrite.then(|| "-----BEGIN CERTIFICATE-----\n".to_owned()),
            hosts: [("ctl".to_owned(), "10.0.0.5".parse().unwrap())].into(),
            signals,
        };
        let recipe = TaskRecipe {
            job,
            identity: Identity { serials: vec!["ABC 123".to_owned()], uuid },
            target: if full { Target::Linux } else { Target::Windows },
            verify: if full { Verify::Full } else { Verify::Ends },
            target_disk, image, network, overwrite, partition_layout,
        };
        let text = recipe.to_json().to_string();
        prop_assert_eq!(TaskRecipe::parse(text.as_bytes()), Ok(recipe));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text: Vec<u8>, key in "[a-z_]{1,12}", value in "[\"\\[\\]{}a-z0-9:,]{0,20}") {
        prop_assert!(TaskRecipe::parse(&text).is_err());
        let member = format!("{{\"{key}\":{value}}}");
        prop_assert!(TaskRecipe::parse(member.as_bytes()).is_err());
    }
}

#[test]
fn faults_point_at_their_values() {
    let pointers = |text: &str| -> Vec<String> {
        let mut faults = TaskRecipe::parse(text.as_bytes()).unwrap_err().0;
        faults.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        faults.into_iter().map(|fault| fault.pointer).collect()
    };
    assert_eq!(pointers("{"), [""]);
    assert_eq!(pointers("[]"), [""]);
    assert_eq!(pointers("{}"), ["/identity", "/image", "/job", "/target_disk", "/task_target"]);
    let text = r#"{"task_target":"install-linux.target","target_disk":{"serial":"x"},"extra":1,
        "job":{"id":"a b","tls":"maybe","hosts":{"a b":"10.0.0.1"},"ca_pem":"x"},
        "identity":{"serials":[]},
        "image":{"parts":["../etc/passwd"],"sha256":"00","size":-1}}"#;
    let expected = [
        "/extra",
        "/identity",
        "/image/parts",
        "/image/parts/0",
        "/image/sha256",
        "/image/size",
        "/job/ca_pem",
        "/job/hosts",
        "/job/id",
        "/job/tls",
    ];
    assert_eq!(pointers(text), expected);
}

#[test]
fn the_token_of_the_report_is_never_printed() {
    let text = r#"{"task_target":"install-linux.target","target_disk":{"serial":"x"},
        "job":{"id":"a","report_url":"https://c/t0ken"},"identity":{"serials":["x"]},
        "image":{"parts":["image.000"],"sha256":"SHA"}}"#
        .replace("SHA", &"00".repeat(32));
    let recipe = TaskRecipe::parse(text.as_bytes()).unwrap();
    assert!(!format!("{recipe:?}").contains("t0ken"));
}
