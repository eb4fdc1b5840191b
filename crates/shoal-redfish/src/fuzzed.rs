//! Every reader of one body, for tests and fuzz targets.
//!
//! Invariant: what is read of a body has the bounds that its readers promise.

use super::quirks::{Identity, Quirks};
use super::{action_info, hardware, json, messages, service, slot, system};

/// Reads a body as everything that a BMC's answer may be.
pub fn read_body(bytes: &[u8], allow: Option<&str>, secret: &str) {
    let Ok(body) = json::parse_body(bytes) else { return };
    let mut identity = Identity::default();
    identity.learn(&body);
    let quirks = Quirks::of(&identity, &[]);
    let found = system::parse_system("/s/1", &body, None);
    let text = serde_json::to_string(&found).expect("a System becomes JSON");
    assert_eq!(serde_json::from_str::<system::System>(&text).ok(), Some(found));
    system::has_clean_reset_types(&body);
    let found = slot::parse_slot("/v/1", &body, None, allow, &quirks);
    assert!(!found.can_insert || found.way.is_some());
    let text = serde_json::to_string(&found).expect("a slot becomes JSON");
    assert_eq!(serde_json::from_str::<slot::Slot>(&text).ok(), Some(found));
    service::parse_root(&body);
    let (nic, firmware) = hardware::parse_parts(&body);
    let texts = nic.iter().flat_map(|nic| [Some(&nic.id), nic.name.as_ref(), Some(&nic.mac)]);
    let texts = texts.chain(firmware.iter().flat_map(|entry| [Some(&entry.name), Some(&entry.version)]));
    assert!(texts.flatten().all(|text| text.chars().count() <= hardware::TEXT_CHARS_MAX));
    assert!(action_info::parse_parameters(&body).len() <= json::MEMBERS_MAX);
    assert!(json::links(&body, "/Members").len() <= json::MEMBERS_MAX);
    let complaint = messages::complaint(&body, &[secret]);
    for text in [&complaint.message, &complaint.message_id] {
        assert!(text.chars().count() <= messages::COMPLAINT_CHARS_MAX && !text.contains(secret));
    }
    messages::names(&body, "Inserted");
    messages::says_why(&body);
    messages::has_id(&body, &["ResourceInUse"]);
}
