//! Linux jobs of a simulated world: which hosts they are for, and what their maintenance systems do wrong.
//!
//! Drawn apart from everything else of a machine, so that a seed's other draws are what they were.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shoal_base::hex;
use shoal_sim::{Fault, standin_maintenance};

use super::draw::{Draw, LINUX, draw_value};
use super::scenario::Plan;

/// One maintenance ISO for all worlds of this process, so that a seed writes the same events each time.
static ISO: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    standin_maintenance("quiet").write_to(file.as_file()).unwrap();
    file
});

pub fn maintenance_iso() -> &'static Path {
    ISO.path()
}

/// What a Linux job's recipe says of its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linux {
    pub completion: &'static str,
}

/// Makes one plan of four that of a Linux job.
pub fn change(draw: &Draw, plan: &mut Plan) {
    if !draw.percent(25) {
        return;
    }
    plan.linux =
        Some(Linux { completion: draw.among(&["webhook", "webhook", "webhook", "media", "poweroff"]) });
    let faults: Vec<Fault> =
        (0..draw.among(&[0, 0, 1, 1, 2])).map(|_| draw_value(draw, draw.among(LINUX))).collect();
    for fault in faults {
        if !plan.faults.iter().any(|other| other.name() == fault.name()) {
            plan.faults.push(fault);
        }
    }
}

/// Each job's own image, so that a disk shows which job wrote it.
pub fn image_sha256(machine: usize, job: usize) -> String {
    hex(&Sha256::digest(format!("{machine}-{job}")))
}

pub fn recipe(linux: Linux, sha256: &str) -> Value {
    json!({
        "completion": linux.completion,
        "image": { "url": "https://images.test/linux.raw.zst", "sha256": sha256 },
    })
}
