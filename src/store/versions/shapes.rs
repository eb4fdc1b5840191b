//! The shape of what is stored, as JSON Schema, one snapshot a version.
//!
//! A changed type fails here. Where its version has not been released, accept the new snapshot; where it has, raise
//! `VERSION` first and write the upgrade. Invariant: the snapshot of a released version never changes.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::VERSION;
use crate::domain::{BatchLimits, Cursor, Facts, HookReport, MediumTrace, TaskProgress, TaskResult};
use crate::store::recipes::StoredSpec;
use shoal_base::hex;
use shoal_redfish::{BmcMemory, Hardware};

/// Released versions, each with the SHA-256 of its snapshot.
const RELEASED: [(u64, &str); 1] = [(1, "1d8f6df6c0192b3a270590e02e52a382ccb7f6483b283b7664428b4af006029b")];

#[test]
fn a_changed_shape_needs_a_version() {
    assert!(RELEASED.iter().all(|(version, _)| *version < VERSION), "a released version is written no more");
    insta::assert_json_snapshot!(format!("shape_{VERSION}"), shapes());
}

#[test]
fn the_shape_of_a_released_version_stays() {
    for (version, sha256) in RELEASED {
        let file =
            format!("src/store/versions/snapshots/shoal__store__versions__shapes__shape_{version}.snap");
        let path = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/")).join(file);
        let snapshot = std::fs::read(path).unwrap();
        assert_eq!(hex(&Sha256::digest(snapshot)), sha256, "the snapshot of version {version} was changed");
    }
}

fn shapes() -> Value {
    let mut shapes = json!({
        "batch_limits": schemars::schema_for!(BatchLimits),
        "bmc_memory": schemars::schema_for!(BmcMemory),
        "cursor": schemars::schema_for!(Cursor),
        "facts": schemars::schema_for!(Facts),
        "hardware": schemars::schema_for!(Hardware),
        "hook_report": schemars::schema_for!(HookReport),
        "spec": schemars::schema_for!(StoredSpec),
        "task_progress": schemars::schema_for!(TaskProgress),
        "task_result": schemars::schema_for!(TaskResult),
        "trace": schemars::schema_for!(MediumTrace),
    });
    strip(&mut shapes);
    shapes
}

/// What is said of a field is no part of its shape, and neither is what stands for it where it is missing.
fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in ["title", "default", "$schema"] {
                fields.remove(key);
            }
            fields.retain(|key, value| key != "description" || !value.is_string());
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}
