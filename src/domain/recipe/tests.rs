//! What `parse_recipe` takes and refuses, a line a case.

use serde_json::{Value, json};

use super::*;

const KICKSTART: &str = "vmaccepteula\nrootpw planted-secret\ninstall --firstdisk\nreboot\n";

/// A sound recipe with `changes` laid over it: `null` takes a key away.
fn changed(changes: Value) -> Map<String, Value> {
    let mut recipe =
        json!({ "task_target": "install-esxi.target", "server_serial": "ABC123", "ks_cfg": KICKSTART });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => recipe.as_object_mut().unwrap().remove(key),
            _ => recipe.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    recipe.as_object().unwrap().clone()
}

fn parse(changes: Value) -> Result<JobSpec, Vec<FieldError>> {
    parse_recipe(&changed(changes), &"ABC123".parse().unwrap()).map_err(|error| error.errors)
}

#[track_caller]
fn accepted(changes: Value) -> JobSpec {
    parse(changes).unwrap()
}

/// Exactly one fault, at `pointer`, whose message contains `part`.
#[track_caller]
fn check(changes: Value, pointer: &str, part: &str) {
    let errors = parse(changes).unwrap_err();
    let [error] = &errors[..] else { panic!("one fault expected: {errors:?}") };
    assert_eq!(error.pointer, pointer);
    assert!(error.message.contains(part), "{:?} should contain {part:?}", error.message);
}

#[test]
fn the_smallest_recipe_means_the_defaults() {
    let spec = accepted(json!({}));
    assert_eq!(spec.target(), TaskTarget::InstallEsxi);
    assert_eq!(spec.esxi().unwrap().kickstart.expose(), KICKSTART);
    assert_eq!(spec.esxi().unwrap().completion_hook, CompletionHook::None);
    assert_eq!((&spec.esxi().unwrap().management_address, spec.media_layout), (&None, None));
    assert_eq!((&spec.esxi().unwrap().installer_url, &spec.esxi().unwrap().installer_sha256), (&None, &None));
    assert!(!spec.allow_powered_on);
    assert_eq!(spec.metadata, Value::Null);
}

#[test]
fn every_optional_field_is_taken() {
    let spec = accepted(json!({
        "completion_hook": "own-poweroff",
        "management_address": "esx1.example",
        "media_layout": "dual-cd",
        "esxi_installer_url": "https://mirror.example/esxi.iso?v=8",
        "esxi_installer_sha256": "AB".repeat(32),
        "allow_powered_on": true,
        "templated": false,
        "metadata": { "ticket": [1, "x"] },
    }));
    assert_eq!(spec.esxi().unwrap().completion_hook, CompletionHook::OwnPoweroff);
    assert_eq!(spec.esxi().unwrap().management_address.as_deref(), Some("esx1.example"));
    assert_eq!(spec.media_layout, Some(MediaLayout::DualCd));
    assert_eq!(
        spec.esxi().unwrap().installer_url.as_ref().unwrap().as_str(),
        "https://mirror.example/esxi.iso?v=8"
    );
    assert_eq!(spec.esxi().unwrap().installer_sha256, Some("ab".repeat(32)));
    assert!(spec.allow_powered_on);
    assert_eq!(spec.metadata, json!({ "ticket": [1, "x"] }));
}

#[test]
fn null_is_the_same_as_left_out() {
    let mut recipe = changed(json!({}));
    for key in KEYS.iter().filter(|key| !["task_target", "ks_cfg", "ks.cfg"].contains(key)) {
        recipe.insert((*key).to_owned(), Value::Null);
    }
    parse_recipe(&recipe, &"ABC123".parse().unwrap()).unwrap();
}

#[test]
fn the_kickstart_is_taken_byte_for_byte_under_either_key() {
    let text = "\r\n# é \u{1F427}\ttrailing blanks  \n\n";
    for key in ["ks_cfg", "ks.cfg"] {
        let mut changes = json!({ "ks_cfg": null });
        changes[key] = text.into();
        assert_eq!(accepted(changes).esxi().unwrap().kickstart.expose(), text, "{key}");
    }
}

#[test]
fn the_kickstart_is_needed_once_and_as_text() {
    check(json!({ "ks_cfg": null }), "/ks_cfg", "is missing");
    check(json!({ "ks_cfg": "" }), "/ks_cfg", "is empty");
    check(json!({ "ks_cfg": " \n\t" }), "/ks_cfg", "is empty");
    check(json!({ "ks_cfg": null, "ks.cfg": "" }), "/ks.cfg", "is empty");
    check(json!({ "ks.cfg": "reboot" }), "/ks.cfg", "another name of ks_cfg");
    check(json!({ "ks_cfg": 7 }), "/ks_cfg", "must be a string");
    check(json!({ "ks_cfg": ["a", "b"] }), "/ks_cfg", "must be a string");
    check(json!({ "ks_cfg": null, "ks.cfg": { "text": "x" } }), "/ks.cfg", "must be a string");
}

#[test]
fn the_kickstart_may_have_65536_bytes_and_no_more() {
    assert_eq!(accepted(json!({ "ks_cfg": "x".repeat(65_536) })).esxi().unwrap().kickstart.size(), 65_536);
    check(json!({ "ks_cfg": "x".repeat(65_537) }), "/ks_cfg", "has 65537 bytes; at most 65536");
    check(json!({ "ks_cfg": null, "ks.cfg": "x".repeat(65_537) }), "/ks.cfg", "65537");
    // Bytes of UTF-8, not characters: two bytes each.
    assert_eq!(accepted(json!({ "ks_cfg": "é".repeat(32_768) })).esxi().unwrap().kickstart.size(), 65_536);
    check(json!({ "ks_cfg": "é".repeat(32_769) }), "/ks_cfg", "has 65538 bytes");
}

#[test]
fn the_target_is_one_that_this_version_installs() {
    check(
        json!({ "task_target": null }),
        "/task_target",
        "is missing: use install-esxi.target, install-linux.target or install-windows.target",
    );
    check(json!({ "task_target": "" }), "/task_target", "unknown target");
    check(json!({ "task_target": "install-esxi" }), "/task_target", "use install-esxi.target");
    check(json!({ "task_target": "INSTALL-ESXI.TARGET" }), "/task_target", "unknown target");
    check(json!({ "task_target": true }), "/task_target", "must be a string");
}

#[test]
fn the_serial_number_is_that_of_the_job() {
    accepted(json!({ "server_serial": null }));
    check(json!({ "server_serial": "ABC124" }), "/server_serial", "another server than the job's, ABC123");
    check(json!({ "server_serial": "abc123" }), "/server_serial", "another server");
    check(json!({ "server_serial": 123 }), "/server_serial", "must be a string");
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    check(json!({ "kscfg": "x" }), "/kscfg", "`ks_cfg`");
    check(json!({ "management_adress": "x" }), "/management_adress", "`management_address`");
    check(json!({ "allowPoweredOn": true }), "/allowPoweredOn", "`allow_powered_on`");
    check(json!({ "esxi_installer_sha": "x" }), "/esxi_installer_sha", "`esxi_installer_sha256`");
    check(json!({ "Metadata": {} }), "/Metadata", "`metadata`");
    check(json!({ "": 1 }), "/", "unknown key");
    check(json!({ "a/b~c": 1 }), "/a~1b~0c", "unknown key");
    check(json!({ "é".repeat(9_000): 1 }), &format!("/{}", "é".repeat(40)), "unknown key");
}

#[test]
fn a_flood_of_unknown_keys_is_counted_and_not_listed() {
    let flood: Map<String, Value> = (0..5_000).map(|number| (format!("k{number}"), json!(1))).collect();
    let errors = parse(Value::Object(flood)).unwrap_err();
    assert_eq!(errors.len(), 17);
    assert_eq!(errors.last().unwrap(), &FieldError::new("", "has 4984 more unknown keys"));
}

#[test]
fn variables_belong_to_a_template_and_have_a_limit() {
    let large = "x".repeat(VARIABLES_BYTES_MAX);
    check(json!({ "variables": {} }), "/variables", "needs `templated: true`");
    check(json!({ "templated": true, "variables": [1] }), "/variables", "must be an object");
    check(json!({ "templated": true, "variables": { "a": large } }), "/variables", "16384");
    check(json!({ "templated": "yes" }), "/templated", "must be true or false");
}

#[test]
fn hooks_and_layouts_are_those_of_this_version() {
    assert_eq!(
        accepted(json!({ "completion_hook": "none" })).esxi().unwrap().completion_hook,
        CompletionHook::None
    );
    for (name, hook) in [("poweroff", CompletionHook::Poweroff), ("webhook", CompletionHook::Webhook)] {
        assert_eq!(accepted(json!({ "completion_hook": name })).esxi().unwrap().completion_hook, hook);
    }
    check(json!({ "completion_hook": "reboot" }), "/completion_hook", "use none, poweroff, webhook or own");
    check(json!({ "completion_hook": false }), "/completion_hook", "must be a string");
    assert_eq!(accepted(json!({ "media_layout": "auto" })).media_layout, None);
    let single = accepted(json!({ "media_layout": "single-cd" }));
    assert_eq!(single.media_layout, Some(MediaLayout::SingleCd));
    assert_eq!(accepted(json!({ "media_layout": "cd-usb" })).media_layout, Some(MediaLayout::CdUsb));
    check(json!({ "media_layout": "floppy" }), "/media_layout", "use auto, dual-cd, single-cd or cd-usb");
    check(json!({ "media_layout": 2 }), "/media_layout", "must be a string");
}

#[test]
fn a_management_address_is_a_host_without_anything_around_it() {
    for good in ["10.0.0.5", "fd00::5", "[fd00::5]", "esx1", "esx-1.lab.example", "esx1:8443"] {
        let spec = accepted(json!({ "management_address": good }));
        assert_eq!(spec.esxi().unwrap().management_address.as_deref(), Some(good));
    }
    for bad in ["", "https://esx1", "esx1:https", "esx 1", "esx1/ui", "root@esx1", "::g"] {
        check(json!({ "management_address": bad }), "/management_address", "host name or an IP address");
    }
    check(json!({ "management_address": 5 }), "/management_address", "must be a string");
}

#[test]
fn an_installer_comes_over_http_and_without_credentials() {
    accepted(json!({ "esxi_installer_url": "http://10.0.0.1:8000/esxi.iso" }));
    for bad in ["", "esxi.iso", "/srv/esxi.iso", "file:///srv/esxi.iso", "ftp://h/esxi.iso", "http://"] {
        check(json!({ "esxi_installer_url": bad }), "/esxi_installer_url", "http:// or https:// URL");
    }
    for bad in ["https://user@h/esxi.iso", "https://user:pw@h/esxi.iso", "https://:pw@h/esxi.iso"] {
        check(json!({ "esxi_installer_url": bad }), "/esxi_installer_url", "user name or password");
    }
    check(json!({ "esxi_installer_url": {} }), "/esxi_installer_url", "must be a string");
    for bad in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &format!("sha256:{}", "ab".repeat(32))] {
        check(json!({ "esxi_installer_sha256": bad }), "/esxi_installer_sha256", "64 hex digits");
    }
    check(json!({ "esxi_installer_sha256": 0 }), "/esxi_installer_sha256", "must be a string");
}

#[test]
fn allow_powered_on_is_a_boolean() {
    for bad in [json!("true"), json!(1), json!({})] {
        check(json!({ "allow_powered_on": bad }), "/allow_powered_on", "must be true or false");
    }
}

#[test]
fn metadata_is_free_within_16_kib_of_json() {
    for free in [json!("text"), json!(7), json!([null]), json!({ "a": { "b": [] } })] {
        assert_eq!(accepted(json!({ "metadata": free })).metadata, free);
    }
    // With its two quotation marks.
    accepted(json!({ "metadata": "x".repeat(16 * 1024 - 2) }));
    check(json!({ "metadata": "x".repeat(16 * 1024 - 1) }), "/metadata", "larger than 16384 bytes");
}

#[test]
fn all_faults_are_reported_together_and_none_quotes_the_kickstart() {
    let errors = parse(json!({
        "task_target": 1,
        "server_serial": "OTHER",
        "ks_cfg": KICKSTART.repeat(2_000),
        "completion_hook": "x",
        "management_address": "a b",
        "media_layout": "x",
        "esxi_installer_url": "x",
        "esxi_installer_sha256": "x",
        "allow_powered_on": "x",
        "templated": "x",
        "variables": 1,
        "metadata": "x".repeat(20_000),
        "more": 1,
    }))
    .unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
    let expected = [
        "/more",
        "/server_serial",
        "/task_target",
        "/ks_cfg",
        "/templated",
        "/variables",
        "/completion_hook",
        "/management_address",
        "/esxi_installer_url",
        "/esxi_installer_sha256",
        "/media_layout",
        "/allow_powered_on",
        "/metadata",
    ];
    assert_eq!(pointers, expected);
    let shown = format!("{errors:?} {}", RecipeError { errors: errors.clone() });
    assert!(!shown.contains("planted"), "{shown}");
}

/// A sound recipe of a Linux job with `changes` laid over it: `null` takes a key away.
fn linux(changes: Value) -> Result<JobSpec, Vec<FieldError>> {
    let mut recipe = json!({
        "task_target": "install-linux.target",
        "server_serial": "ABC123",
        "target_disk": { "serial": "S4XNNE0M1" },
        "image": { "url": "https://images.example/debian.raw.zst", "sha256": "ab".repeat(32) },
        "user_data": "#cloud-config\npassword: planted-secret\n",
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => recipe.as_object_mut().unwrap().remove(key),
            _ => recipe.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    let serial = "ABC123".parse().unwrap();
    parse_recipe(recipe.as_object().unwrap(), &serial).map_err(|error| error.errors)
}

#[test]
fn a_linux_recipe_is_one_of_its_own_path_with_the_keys_that_all_share() {
    let changes = json!({ "media_layout": "dual-cd", "allow_powered_on": true, "metadata": { "ticket": 7 } });
    let spec = linux(changes).unwrap();
    assert_eq!(spec.target(), TaskTarget::InstallLinux);
    assert_eq!((spec.media_layout, spec.allow_powered_on), (Some(MediaLayout::DualCd), true));
    assert_eq!(spec.metadata, json!({ "ticket": 7 }));
    assert!(spec.esxi().is_none() && !format!("{spec:?}").contains("planted-secret"));
    let windows = json!({
        "task_target": "install-windows.target", "user_data": null, "unattend_xml": "<unattend/>",
    });
    assert_eq!(linux(windows).unwrap().target(), TaskTarget::InstallWindows);
}

#[test]
fn the_faults_of_a_linux_recipe_are_reported_together() {
    let changes = json!({
        "server_serial": "OTHER", "media_layout": "floppy", "target_disk": null, "ks_cfg": "x", "user_dta": "x",
    });
    let errors = linux(changes).unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
    for pointer in ["/server_serial", "/media_layout", "/target_disk", "/ks_cfg", "/user_dta"] {
        assert!(pointers.contains(&pointer), "{pointer} in {errors:?}");
    }
    assert!(errors.iter().all(|error| !error.message.contains("planted-secret")));
}
