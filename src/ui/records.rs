//! What the pages read of the API's answers.
//!
//! Fields are named as in the API, and those that no page shows are left out. Invariant: these types only read; what
//! a page sends is written where the form is handled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub struct ServerPage {
    pub servers: Vec<ServerRow>,
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ServerRow {
    pub serial: String,
    pub bmc_address: String,
    pub protected: bool,
    pub labels: BTreeMap<String, String>,
    pub last_job: Option<JobState>,
}

/// What a list shows of a job.
#[derive(Clone, Debug, Deserialize)]
pub struct JobState {
    pub job_id: String,
    pub task_target: String,
    pub status: String,
    pub step: Option<String>,
    pub failed_step: Option<String>,
    pub reason: Option<String>,
    pub failure_code: Option<String>,
    pub confidence: Option<String>,
    pub deadline: Option<DeadlineRecord>,
    pub progress: ProgressRecord,
    pub cleanup: String,
    pub created_at: Timestamp,
    pub last_update: Timestamp,
    pub finished_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct DeadlineRecord {
    pub kind: String,
    pub at: Timestamp,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ProgressRecord {
    pub installer_bytes_read: u64,
    pub installer_bytes_total: u64,
    pub ks_read: bool,
    pub image: Option<ImageProgressRecord>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub struct ImageProgressRecord {
    pub step: Option<String>,
    pub bytes: Option<u64>,
    pub total: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct EventPage {
    pub next_after: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct EventRecord {
    pub id: u64,
    pub server_serial: String,
    pub time: Timestamp,
    pub level: String,
    pub step: String,
    pub op: String,
    pub status: String,
    pub attempt: u32,
    pub duration_ms: Option<u64>,
    pub message: String,
}

/// A job with everything that its page shows.
#[derive(Debug, Deserialize)]
pub struct JobRecord {
    #[serde(flatten)]
    pub state: JobState,
    pub server_serial: String,
    pub verdict: Option<VerdictRecord>,
    pub installed: Option<InstalledRecord>,
    pub cleanup_left: Vec<String>,
    pub retry_of: Option<String>,
    pub batch_id: Option<String>,
    /// In the words of the recipe.
    #[serde(default)]
    pub erases: Vec<String>,
    #[serde(default)]
    pub events: Vec<EventRecord>,
}

impl JobRecord {
    pub fn confidence(&self) -> Option<&str> {
        self.verdict.as_ref().and_then(|verdict| verdict.confidence.as_deref())
    }

    /// It can still be cancelled, its cleanup included.
    pub fn is_active(&self) -> bool {
        self.state.finished_at.is_none()
    }
}

#[derive(Debug, Deserialize)]
pub struct VerdictRecord {
    pub outcome: String,
    pub confidence: Option<String>,
    pub evidence: Vec<EvidenceRecord>,
}

#[derive(Debug, Deserialize)]
pub struct EvidenceRecord {
    pub kind: String,
    pub at: Timestamp,
    pub detail: String,
}

#[derive(Debug, Deserialize)]
pub struct InstalledRecord {
    pub management_address: String,
    pub version: String,
    pub build: String,
}

#[derive(Debug, Deserialize)]
pub struct ReadsRecord {
    pub media: Vec<MediumRecord>,
}

#[derive(Debug, Deserialize)]
pub struct MediumRecord {
    pub medium: String,
    pub mode: String,
    pub total: u64,
    pub read: u64,
    pub first_read_at: Option<Timestamp>,
    pub last_read_at: Option<Timestamp>,
    pub loaded_at: Option<Timestamp>,
    pub read_through_at: Option<Timestamp>,
    pub ks_read_at: Option<Timestamp>,
    pub reenumerated_at: Option<Timestamp>,
    pub kickstart: Option<RangeRecord>,
    pub parts: Vec<PartRecord>,
}

#[derive(Debug, Deserialize)]
pub struct RangeRecord {
    pub start: u64,
    pub end: u64,
}

#[derive(Debug, Deserialize)]
pub struct PartRecord {
    pub start: u64,
    pub end: u64,
    pub first_read_at: Timestamp,
    pub last_read_at: Timestamp,
    pub times: u32,
}

/// One server with its hardware and what was learned of its BMC.
#[derive(Debug, Deserialize)]
pub struct ServerDetail {
    #[serde(flatten)]
    pub row: ServerRow,
    pub bmc_username: String,
    pub tls: String,
    pub system_id: Option<String>,
    pub management_address: Option<String>,
    pub hardware: Option<HardwareRecord>,
    #[serde(default)]
    pub learned: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct HardwareRecord {
    pub read_at: Timestamp,
    pub manufacturer: Option<String>,
    pub model: Option<String>,
    pub sku: Option<String>,
    pub bios_version: Option<String>,
    pub bmc_version: Option<String>,
    pub processors: ProcessorsRecord,
    pub memory_mib: Option<u64>,
    pub nics: Vec<NicRecord>,
    pub drives: Vec<DriveRecord>,
    pub firmware: Vec<FirmwareRecord>,
    pub unread: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct ProcessorsRecord {
    pub count: Option<u64>,
    pub model: Option<String>,
    pub cores: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct NicRecord {
    pub id: String,
    pub mac: String,
    pub speed_mbps: Option<u64>,
    pub has_link: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub struct DriveRecord {
    pub id: String,
    pub is_volume: bool,
    pub vendor: Option<String>,
    pub model: Option<String>,
    pub serial: Option<String>,
    pub bytes: Option<u64>,
    pub protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct FirmwareRecord {
    pub name: String,
    pub version: String,
}

/// The report of a check.
#[derive(Debug, Deserialize)]
pub struct CheckRecord {
    pub verdict: String,
    pub sentence: String,
    pub checks: Vec<CheckLineRecord>,
    pub facts: BmcFactsRecord,
}

#[derive(Debug, Deserialize)]
pub struct CheckLineRecord {
    pub name: String,
    pub status: String,
    pub found: String,
    pub remedy: Option<String>,
}

/// What the BMC shows at the moment.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BmcFactsRecord {
    pub system: Option<SystemRecord>,
    pub slots: Vec<SlotRecord>,
    pub armed: Option<String>,
    pub sources: Vec<SourceRecord>,
}

#[derive(Debug, Deserialize)]
pub struct SystemRecord {
    pub power: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct SlotRecord {
    pub id: String,
    pub media_types: Vec<String>,
    pub occupied: bool,
}

#[derive(Debug, Deserialize)]
pub struct SourceRecord {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Deserialize)]
pub struct JobPage {
    pub jobs: Vec<JobRecord>,
}

#[derive(Debug, Deserialize)]
pub struct ReleaseRecord {
    pub released: bool,
    pub items: Vec<ReleaseItemRecord>,
}

#[derive(Debug, Deserialize)]
pub struct ReleaseItemRecord {
    pub name: String,
    pub status: String,
    pub detail: String,
}

#[derive(Debug, Deserialize)]
pub struct BatchPage {
    pub batches: Vec<BatchRecord>,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct BatchRecord {
    pub batch_id: String,
    pub name: Option<String>,
    pub status: String,
    pub reason: Option<String>,
    pub waits_for: Option<String>,
    pub counts: BatchCountsRecord,
    pub limits: BatchLimitsRecord,
    pub created_by: String,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    #[serde(default)]
    pub rows: Vec<BatchRowRecord>,
}

impl BatchRecord {
    pub fn title(&self) -> String {
        let short: String = self.batch_id.chars().take(8).collect();
        self.name
            .as_deref()
            .map_or_else(|| format!("Batch {short}"), |name| shoal_base::visible(name).into_owned())
    }
}

#[derive(Debug, Deserialize)]
pub struct BatchCountsRecord {
    pub total: u64,
    pub waiting: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub cancelled: u64,
}

#[derive(Debug, Deserialize)]
pub struct BatchLimitsRecord {
    pub canary: u32,
    pub max_parallel: Option<u32>,
    pub max_failures: Option<u32>,
    pub per_label_parallel: BTreeMap<String, u32>,
    pub per_label_failures: BTreeMap<String, u32>,
    pub not_before: Option<Timestamp>,
    pub not_after: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub struct BatchRowRecord {
    pub server_serial: String,
    pub job_id: String,
    pub state: String,
    pub step: Option<String>,
    pub failed_step: Option<String>,
    pub reason: Option<String>,
    pub confidence: Option<String>,
    pub attempts: u32,
}

/// The result of a check of a kickstart.
#[derive(Debug, Deserialize)]
pub struct LintRecord {
    pub breaks: bool,
    pub esxi_version: String,
    pub findings: Vec<FindingRecord>,
    pub allowed: Vec<AllowedRecord>,
}

#[derive(Debug, Deserialize)]
pub struct FindingRecord {
    pub rule: String,
    pub class: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    pub remedy: String,
}

#[derive(Debug, Deserialize)]
pub struct AllowedRecord {
    #[serde(flatten)]
    pub finding: FindingRecord,
    pub reason: String,
}

#[derive(Debug, Deserialize)]
pub struct RenderedRecord {
    pub ks_cfg: String,
    pub masked: bool,
    pub disks: Vec<ChosenDiskRecord>,
}

#[derive(Debug, Deserialize)]
pub struct ChosenDiskRecord {
    pub hints: String,
    pub device: String,
    pub disk: String,
    pub confidence: String,
}

#[derive(Debug, Deserialize)]
pub struct AuditPage {
    pub entries: Vec<AuditRecord>,
    pub next_cursor: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub struct AuditRecord {
    pub seq: u64,
    pub time: Timestamp,
    pub actor: String,
    pub actor_name: String,
    pub role: String,
    pub source: Option<String>,
    pub action: String,
    pub server_serial: Option<String>,
    pub job_id: Option<String>,
    pub detail: serde_json::Value,
}

#[derive(Debug, Deserialize)]
pub struct AuditVerdictRecord {
    pub ok: bool,
    pub first: u64,
    pub entries: u64,
    pub last_hash: String,
    pub fault: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct TokenPage {
    pub tokens: Vec<TokenView>,
}

#[derive(Debug, Deserialize)]
pub struct TokenView {
    pub id: String,
    pub name: String,
    pub role: String,
    pub status: String,
    pub origin: String,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub last_used_from: Option<String>,
    /// In the answer that made it only.
    pub token: Option<String>,
}
