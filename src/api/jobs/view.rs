//! How a job is shown.
//!
//! Invariant: what is shown of a recipe is its target, its metadata and which disks it erases; nothing else of its
//! kickstart is.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::events::EventBody;
use crate::api::words::{
    CleanupState, ConfidenceName, DeadlineKindName, EvidenceKindName, FailureCodeName, JobStatus,
    OutcomeName, StepName,
};
use crate::domain::{
    ApiHost, CleanupFacts, Deadline, Facts, FailureCode, InstalledFacts, Job, JobSpec, PathSpec, Phase,
    RegistryImage, Status, TaskProgress, Verdict,
};
use crate::store::{StoredJob, UnreadableJob};

#[derive(Debug, Serialize, ToSchema)]
pub struct JobBody {
    /// 32 lower-case hex digits.
    pub(in crate::api) job_id: String,
    server_serial: String,
    pub(in crate::api) task_target: String,
    #[schema(value_type = JobStatus)]
    status: &'static str,
    /// Where the job is, or was when it ended; `null` only where its stored state cannot be read.
    #[schema(value_type = Option<StepName>)]
    pub(in crate::api) step: Option<&'static str>,
    #[schema(value_type = Option<StepName>)]
    pub(in crate::api) failed_step: Option<&'static str>,
    /// Why it failed or was cancelled, and what to do; with what its cleanup has left, such as that the next
    /// start of the host installs.
    pub(in crate::api) reason: Option<String>,
    /// Why it failed, as one of the codes of `docs/failures.md`; `null` for a job that has not failed, or failed before
    /// 0.2.0. `unreadable_state`, whatever the job's status: this release cannot read what another one stored of it.
    #[schema(value_type = Option<FailureCodeName>)]
    pub(in crate::api) failure_code: Option<&'static str>,
    /// The next moment at which waiting for the host ends, as far as is known now; `null` where nothing is waited for.
    pub(in crate::api) deadline: Option<DeadlineBody>,
    verdict: Option<VerdictBody>,
    /// The installed ESXi, where it answered at the management address and nothing makes its answer doubtful.
    installed: Option<InstalledBody>,
    pub(in crate::api) progress: ProgressBody,
    #[schema(value_type = CleanupState)]
    pub(in crate::api) cleanup: &'static str,
    /// What a `partial` cleanup has left on the BMC, a phrase each.
    cleanup_left: Vec<String>,
    retry_of: Option<String>,
    /// The batch that it is a row of.
    batch_id: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub(in crate::api) created_at: jiff::Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub(in crate::api) last_update: jiff::Timestamp,
    /// When the cleanup was over too.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(in crate::api) finished_at: Option<jiff::Timestamp>,
    /// What the recipe's `oci_url` stood for when the job was submitted. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    registry_image: Option<RegistryImageBody>,
    /// As the recipe gave it, `null` if it gave none. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Value>)]
    pub metadata: Option<Value>,
    /// What the recipe says of the disks that it erases: the commands of the kickstart that choose disks, or the
    /// `target_disk` as JSON. Empty where a script of the kickstart decides, or the recipe was refused. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erases: Option<Vec<String>>,
    /// Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<EventBody>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    pub jobs: Vec<JobBody>,
    /// Give it as `cursor` for the next page.
    pub next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct RegistryImageBody {
    /// `host[:port]/repository`.
    repository: String,
    /// Of the manifest or index that the reference named, `sha256:…`.
    digest: String,
    /// Of the one layer, which the host compares, `sha256:…`.
    layer: String,
    /// Of the layer, in bytes.
    size: u64,
    media_type: String,
}

impl From<&RegistryImage> for RegistryImageBody {
    fn from(image: &RegistryImage) -> RegistryImageBody {
        RegistryImageBody {
            repository: format!("{}/{}", image.registry, image.repository),
            digest: format!("sha256:{}", image.digest),
            layer: format!("sha256:{}", image.layer_sha256),
            size: image.size,
            media_type: image.media_type.clone(),
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
struct VerdictBody {
    #[schema(value_type = OutcomeName)]
    outcome: &'static str,
    /// Of a success.
    #[schema(value_type = Option<ConfidenceName>)]
    confidence: Option<&'static str>,
    evidence: Vec<EvidenceBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct EvidenceBody {
    #[schema(value_type = EvidenceKindName)]
    kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
    detail: String,
}

/// As the installed system's API showed it without a login.
#[derive(Debug, Serialize, ToSchema)]
struct InstalledBody {
    /// Host name or address, with a port if that is not 443.
    management_address: String,
    /// Such as `8.0.3`.
    version: String,
    /// Such as `24022510`.
    build: String,
    /// SHA-256 of its TLS certificate (DER).
    #[schema(pattern = "^[0-9a-f]{64}$")]
    certificate_sha256: String,
}

impl From<&InstalledFacts> for InstalledBody {
    fn from(InstalledFacts { management_address, host }: &InstalledFacts) -> InstalledBody {
        let ApiHost { version, build, certificate } = host.clone();
        let management_address = management_address.clone();
        InstalledBody { management_address, version, build, certificate_sha256: certificate }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeadlineBody {
    /// What must have happened by then, or the job fails: the read of the installer, kickstart or recipe, the end of the
    /// installation, the result of a Linux or Windows job. `media_eject`: the job is decided, and its media stay until
    /// then at the latest, because an installer may be running.
    #[schema(value_type = DeadlineKindName)]
    kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressBody {
    installer_bytes_read: u64,
    installer_bytes_total: u64,
    ks_read: bool,
    /// Of a Linux or Windows job, as its maintenance system reported it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<ImageProgressBody>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ImageProgressBody {
    step: Option<String>,
    /// Bytes of the image that were read so far.
    bytes: Option<u64>,
    total: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    at: jiff::Timestamp,
}

impl From<&Facts> for ProgressBody {
    fn from(facts: &Facts) -> ProgressBody {
        let (esxi, image) = (&facts.esxi().progress, facts.maintenance().progress.clone());
        ProgressBody {
            installer_bytes_read: esxi.installer_bytes_read,
            installer_bytes_total: esxi.installer_bytes_total,
            ks_read: esxi.ks_read,
            image: image.map(|TaskProgress { at, step, bytes, total, .. }| ImageProgressBody {
                step,
                bytes,
                total,
                at,
            }),
        }
    }
}

impl JobBody {
    /// Status, and confidence of a success.
    pub fn outcome(&self) -> (&'static str, Option<&'static str>) {
        (self.status, self.verdict.as_ref().and_then(|verdict| verdict.confidence))
    }

    /// With what lists leave out.
    pub fn in_full(job: StoredJob, events: Vec<EventBody>) -> JobBody {
        let spec = match &job {
            StoredJob::Readable(job) => job.spec.as_ref(),
            StoredJob::Unreadable(_) => None,
        };
        let erases = Some(spec.map_or_else(Vec::new, erased));
        JobBody { erases, events: Some(events), ..JobBody::from(job) }
    }

    /// As in a list: metadata may be large.
    pub fn brief(self) -> JobBody {
        JobBody { metadata: None, registry_image: None, erases: None, events: None, ..self }
    }
}

impl From<Job> for JobBody {
    fn from(job: Job) -> JobBody {
        let (reason, cleanup_left) = (job.reason_now(), cleanup_left(&job));
        let maintenance = job.spec.as_ref().and_then(JobSpec::maintenance);
        let registry_image =
            maintenance.and_then(|spec| spec.registry_image.as_ref()).map(RegistryImageBody::from);
        let metadata = job.spec.map_or(Value::Null, |spec| spec.metadata);
        let progress = ProgressBody::from(&job.facts);
        JobBody {
            job_id: job.id.to_string(),
            server_serial: job.server.to_string(),
            status: job.status.name(),
            step: Some(job.cursor.step.name()),
            failed_step: job.failed_step.map(|step| step.name()),
            cleanup: cleanup(job.cursor.phase, &job.facts.cleanup),
            cleanup_left,
            task_target: job.task_target,
            reason,
            failure_code: job.failure_code.map(FailureCode::name),
            deadline: job.facts.deadline.map(DeadlineBody::from),
            verdict: job.verdict.map(VerdictBody::from),
            installed: job.facts.esxi().installed.as_ref().map(InstalledBody::from),
            progress,
            retry_of: job.retry_of.map(|id| id.to_string()),
            batch_id: job.batch.map(|id| id.to_string()),
            created_at: job.created_at,
            last_update: job.last_update,
            finished_at: job.finished_at,
            registry_image,
            metadata: Some(metadata),
            erases: None,
            events: None,
        }
    }
}

impl From<StoredJob> for JobBody {
    fn from(job: StoredJob) -> JobBody {
        match job {
            StoredJob::Readable(job) => JobBody::from(*job),
            StoredJob::Unreadable(job) => JobBody::from(job),
        }
    }
}

/// A status of a newer release is shown as one that means the same to a waiting client.
impl From<UnreadableJob> for JobBody {
    fn from(job: UnreadableJob) -> JobBody {
        let status = job.status.unwrap_or(if job.is_active { Status::Provisioning } else { Status::Failed });
        let reason = match job.is_active {
            true => format!(
                "{}: the controller leaves the job and its host as they are; start the release that stored the job, or \
                 end the job with `shoal job cancel {} --force` and then run `shoal server release {}`",
                job.why, job.id, job.server
            ),
            false => job.reason.unwrap_or(job.why),
        };
        JobBody {
            job_id: job.id.to_string(),
            server_serial: job.server,
            status: status.name(),
            step: None,
            failed_step: job.failed_step.map(|step| step.name()),
            cleanup_left: vec![],
            cleanup: if job.is_active { "pending" } else { "partial" },
            task_target: job.task_target,
            reason: Some(reason),
            failure_code: (status != Status::Succeeded).then_some(FailureCode::UnreadableState.name()),
            deadline: None,
            verdict: None,
            installed: None,
            progress: ProgressBody {
                installer_bytes_read: 0,
                installer_bytes_total: 0,
                ks_read: false,
                image: None,
            },
            retry_of: job.retry_of.map(|id| id.to_string()),
            batch_id: job.batch.map(|id| id.to_string()),
            created_at: job.created_at,
            last_update: job.last_update,
            finished_at: job.finished_at,
            registry_image: None,
            metadata: None,
            erases: None,
            events: None,
        }
    }
}

fn erased(spec: &JobSpec) -> Vec<String> {
    match &spec.path {
        PathSpec::Esxi(spec) => shoal_kickstart::erased(spec.kickstart.expose().as_bytes()),
        PathSpec::Maintenance(spec) => vec![spec.recipe.target_disk.to_json().to_string()],
    }
}

fn cleanup(phase: Phase, facts: &CleanupFacts) -> &'static str {
    match phase {
        Phase::Forward | Phase::Cleanup => "pending",
        Phase::Done if facts.left.is_empty() => "done",
        Phase::Done => "partial",
    }
}

fn cleanup_left(job: &Job) -> Vec<String> {
    let is_partial = job.cursor.phase == Phase::Done && !job.facts.cleanup.left.is_empty();
    let items = job.leftover().items();
    match is_partial {
        true if items.is_empty() => job.facts.cleanup.left.clone(),
        true => items,
        false => vec![],
    }
}

impl From<Deadline> for DeadlineBody {
    fn from(deadline: Deadline) -> DeadlineBody {
        DeadlineBody { kind: deadline.kind.name(), at: deadline.at }
    }
}

impl From<Verdict> for VerdictBody {
    fn from(verdict: Verdict) -> VerdictBody {
        let evidence = verdict.evidence.into_iter().map(|evidence| EvidenceBody {
            kind: evidence.kind.name(),
            at: evidence.at,
            detail: evidence.detail,
        });
        VerdictBody {
            outcome: verdict.outcome.name(),
            confidence: verdict.confidence.map(|confidence| confidence.name()),
            evidence: evidence.collect(),
        }
    }
}
