//! Recipes of operators: what is accepted, and what each fault points at.

use serde_json::{Value, json};

use super::*;
use crate::hash::Sha256;
use crate::image::{ImageLocation, ImageName};

fn linux() -> Value {
    json!({
        "task_target": "install-linux.target",
        "target_disk": {"by_path": "pci-0000:3b:00.0-nvme-1"},
        "image": {"url": "https://ctl/debian.raw.zst", "sha256": "ab".repeat(32)},
        "user_data": "#cloud-config\n",
    })
}

fn parse(value: &Value) -> Result<Recipe, RecipeFaults> {
    Recipe::parse(value.as_object().unwrap())
}

/// The pointers of the faults of the sample with `changes`.
fn faults(changes: Value) -> Vec<String> {
    let mut recipe = linux();
    for (key, value) in changes.as_object().unwrap() {
        recipe[key] = value.clone();
    }
    let faults = parse(&recipe).unwrap_err().0;
    faults.into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn the_samples_of_both_targets_are_accepted() {
    let recipe = parse(&linux()).unwrap();
    assert_eq!(recipe.target, Target::Linux);
    assert!(matches!(recipe.image.location, ImageLocation::Url { .. }));
    let windows = json!({
        "task_target": "install-windows.target",
        "target_disk": "/dev/disk/by-id/nvme-eui.0025385a11b2c3d4",
        "oci_url": "reg.example/win:2022",
        "image": {"source": "media"},
        "unattend_xml": {"content": "<unattend xmlns=\"urn:schemas-microsoft-com:unattend\"/>"},
        "overwrite": true, "verify": "full", "completion": "media", "schema_version": "1.2", "notes": "n",
        "network": {"mac": "0C-42-A1-00-00-01", "addresses": ["10.1.0.9/24"], "gateway": "10.1.0.1", "vlan": 7},
    });
    let recipe = parse(&windows).unwrap();
    assert!(recipe.overwrite && recipe.completion == Completion::Media && recipe.verify == Verify::Full);
    let Network::Static(network) = recipe.network else { panic!("static") };
    assert_eq!((network.mac.as_str(), network.vlan), ("0c:42:a1:00:00:01", Some(7)));
}

#[test]
fn all_faults_are_found_together_and_each_points_at_its_value() {
    let found = faults(json!({
        "target_disk": {"tran": "sata", "min_size": "big"},
        "image": {"url": "ftp://x", "sha256": "12", "typ": 1}, "schema_version": "12",
        "user_data": {"url": "http://x"},
        "overwrite": "yes",
        "network": {"mac": "1", "addresses": ["10.1.0.9"], "vlan": 0},
        "env": {}, "partition_layout": [], "wim_index": 1,
    }));
    let expected = [
        "/env",
        "/image/sha256",
        "/image/typ",
        "/image/url",
        "/network/addresses/0",
        "/network/mac",
        "/network/vlan",
        "/overwrite",
        "/partition_layout",
        "/schema_version",
        "/target_disk/min_size",
        "/target_disk/tran",
        "/user_data/content",
        "/user_data/url",
        "/wim_index",
    ];
    let mut sorted = found;
    sorted.sort();
    assert_eq!(sorted, expected);
}

#[test]
fn single_faults() {
    let cases = [
        (json!({"task_target": "install-esxi.target"}), "/task_target"),
        (json!({"target_disk": null}), "/target_disk"),
        (json!({"target_disk": {}}), "/target_disk"),
        (json!({"target_disk": r"\\.\PhysicalDrive0"}), "/target_disk"),
        (json!({"target_disk": "sda"}), "/target_disk"),
        (json!({"target_disk": "/dev/../etc"}), "/target_disk"),
        (json!({"target_disk": {"min_size": "2T", "max_size": "1T"}}), "/target_disk/max_size"),
        (json!({"target_disk": {"hctl": "0:1"}}), "/target_disk/hctl"),
        (json!({"image": null}), "/image"),
        (json!({"image": {"url": "https://u:p@ctl/x", "sha256": "ab".repeat(32)}}), "/image/url"),
        (json!({"image": {"url": "https://ctl/x"}}), "/image/sha256"),
        (json!({"image": {"source": "media"}}), "/image/url"),
        (json!({"image": {"name": "../etc"}}), "/image/name"),
        (json!({"image": {"name": "ab".repeat(32)}}), "/image/name"),
        (json!({"image": {"name": "a", "sha256": "12"}}), "/image/sha256"),
        (json!({"image": {"name": "a", "url": "https://ctl/x", "sha256": "ab".repeat(32)}}), "/image/name"),
        (json!({"image": {"name": "a"}, "oci_url": "reg/a"}), "/oci_url"),
        (json!({"image": {"name": "a", "source": "cd"}}), "/image/source"),
        (json!({"oci_url": "reg/a"}), "/oci_url"),
        (json!({"oci_url": "https://reg/a", "image": null}), "/oci_url"),
        (json!({"user_data": ""}), "/user_data"),
        (json!({"user_data": "x".repeat(TEXT_BYTES_MAX + 1)}), "/user_data"),
        (json!({"unattend_xml": "<unattend/>"}), "/unattend_xml"),
        (json!({"metadata": [1]}), "/metadata"),
        (json!({"notes": "x".repeat(2001)}), "/notes"),
        (json!({"recipe_version": "2"}), "/recipe_version"),
        (json!({"network": {"mac": "0c:42:a1:00:00:01"}}), "/network/addresses"),
        (
            json!({"network": {"mac": "0c:42:a1:00:00:01", "addresses": ["10.0.0.9/24"], "gateway": "10.1.0.1"}}),
            "/network/gateway",
        ),
    ];
    for (change, pointer) in cases {
        assert_eq!(faults(change.clone()), [pointer], "{change}");
    }
}

#[test]
fn an_image_of_the_controller_has_a_name_or_a_digest() {
    let digest = "ab".repeat(32);
    for (image, sha256, name) in [
        (json!({"name": "debian-12"}), None, Some("debian-12")),
        (json!({"sha256": digest, "source": "media"}), Some([0xab; 32]), None),
        (
            json!({"name": "debian-12", "sha256": digest, "source": "auto"}),
            Some([0xab; 32]),
            Some("debian-12"),
        ),
    ] {
        let mut recipe = linux();
        recipe["image"] = image;
        let hosted = ImageLocation::Hosted {
            sha256: sha256.map(Sha256),
            name: name.map(|name| ImageName::parse(name).unwrap()),
        };
        assert_eq!(parse(&recipe).unwrap().image.location, hosted);
    }
}

#[test]
fn answer_files_are_xml_of_the_right_kind_and_never_quoted() {
    for (xml, part) in [
        ("<unattend><Password>geheim</Passwort></unattend>", "not well-formed XML at line 1"),
        ("<answers>geheim</answers>", "root element"),
    ] {
        let mut recipe = linux();
        recipe["task_target"] = json!("install-windows.target");
        recipe["user_data"] = Value::Null;
        recipe["unattend_xml"] = json!(xml);
        let error = parse(&recipe).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("geheim"), "{error}");
    }
    let recipe = parse(&linux()).unwrap();
    assert!(!format!("{recipe:?}").contains("cloud-config"));
}

#[test]
fn many_unknown_keys_are_counted() {
    let mut recipe = linux();
    for index in 0..50 {
        recipe[format!("key{index}")] = json!(1);
    }
    let faults = parse(&recipe).unwrap_err().0;
    assert_eq!(faults.len(), 21);
    assert_eq!(faults[20].message, "has 30 more unknown keys");
}
