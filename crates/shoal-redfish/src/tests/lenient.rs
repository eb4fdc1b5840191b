//! Whatever JSON a BMC makes up, reading it ends with facts or with nothing, and without a panic.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::super::*;
use crate::{action_info, messages};

/// Names that the readers look for, so that arbitrary JSON reaches them.
const NAMES: [&str; 37] = [
    "@odata.id",
    "@odata.etag",
    "@Redfish.Settings",
    "SettingsObject",
    "@Redfish.ActionInfo",
    "Id",
    "Name",
    "SerialNumber",
    "UUID",
    "PowerState",
    "Boot",
    "BootSourceOverrideEnabled",
    "BootSourceOverrideTarget",
    "BootSourceOverrideTarget@Redfish.AllowableValues",
    "BootProgress",
    "LastState",
    "LastStateTime",
    "LastResetTime",
    "Actions",
    "#ComputerSystem.Reset",
    "#VirtualMedia.InsertMedia",
    "target",
    "ResetType@Redfish.AllowableValues",
    "Links",
    "ManagedBy",
    "Sessions",
    "MediaTypes",
    "Inserted",
    "Image",
    "Vendor",
    "Oem",
    "Parameters",
    "AllowableValues",
    "error",
    "@Message.ExtendedInfo",
    "Message",
    "MessageArgs",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        Just("0000-00-00T00:00:00+00:00".to_owned()),
        Just("19é0-01".to_owned()),
        Just("see http://h/ü/é, or ://".to_owned()),
        "[0-9a-f]{30,40}",
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let key =
            prop_oneof![9 => proptest::sample::select(&NAMES[..]).prop_map(str::to_owned), 1 => any_text()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|pairs| Value::from(Map::from_iter(pairs))),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic(body in any_json(), allow in any_text()) {
        let system = system::parse_system("/s/1", &body, None);
        prop_assert!(system.unread.is_none());
        system::has_clean_reset_types(&body);
        slot::parse_slot("/v/1", &body, None, Some(&allow), &Quirks::default());
        service::parse_root(&body);
        action_info::parse_parameters(&body);
        messages::names(&body, "Inserted");
        let complaint = messages::complaint(&body, &["secret"]);
        prop_assert!(complaint.message.chars().count() <= messages::COMPLAINT_CHARS_MAX);
    }

    #[test]
    fn what_was_read_reads_back_from_the_database(body in any_json()) {
        let system = system::parse_system("/s/1", &body, None);
        let text = serde_json::to_string(&system).unwrap();
        prop_assert_eq!(serde_json::from_str::<System>(&text).unwrap(), system);
        let slot = slot::parse_slot("/v/1", &body, None, None, &Quirks::default());
        let text = serde_json::to_string(&slot).unwrap();
        prop_assert_eq!(serde_json::from_str::<Slot>(&text).unwrap(), slot);
    }
}
