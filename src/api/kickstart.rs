//! Kickstarts in the API: what the linter finds in one, alone or in a recipe.
//!
//! The rules are in the crate `shoal_kickstart`. Invariant: no answer but a render and no event holds a part of a
//! kickstart: a finding has its rule, its line and a message that quotes no value.

mod render;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shoal_kickstart::lint::{Allowed, Findings};
use shoal_kickstart::template::Inventory;
use shoal_kickstart::{Class, Finding, Hook, Options, Version};
use url::Url;
use utoipa::ToSchema;

use super::ApiState;
use super::body::JsonObject;
use super::error::{ApiError, Problem};
use super::words::FindingClass;
use crate::domain::{FieldPatch, Fields};
pub use render::{__path_render_one, of_recipe, render_one};

use crate::domain::{
    CompletionHook, EventStatus, FieldError, JobSpec, KICKSTART_BYTES_MAX, Level, LintMode, NewEvent, Server,
    Step,
};

/// Findings that a job's events or a refusal name; the others are counted.
const NAMED_MAX: usize = 50;
const LINT: &str = "kickstart.lint";

/// Returns the ESXi version of the installer at a URL, or of the configured one, where it is known
/// without a fetch.
pub type InstallerVersion = Arc<dyn Fn(Option<Url>) -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Reads the disks of a server from its BMC, or returns why that failed.
pub type DiskReader = Arc<dyn Fn(Server) -> BoxFuture<'static, Result<Inventory, String>> + Send + Sync>;

/// How kickstarts are checked on submit, and what their templates may ask for.
#[derive(Clone)]
pub struct KickstartCheck {
    pub mode: LintMode,
    pub installer_version: InstallerVersion,
    pub disks: DiskReader,
}

/// What was found in a recipe's kickstart.
pub struct KickstartJudgement {
    findings: Findings,
    version: Option<Version>,
    /// What is said of the text whose lines are named, where that is not the recipe's.
    of_text: &'static str,
}

impl KickstartCheck {
    /// Judges the kickstart with its hook; `None` where the check is off or the job has none.
    pub async fn judge(&self, spec: &JobSpec, is_rendered: bool) -> Option<KickstartJudgement> {
        let esxi = spec.esxi().filter(|_| self.mode != LintMode::Off)?;
        let version = (self.installer_version)(esxi.installer_url.clone()).await;
        let version = version.and_then(|version| version.parse().ok());
        let options = Options { version, hook: hook(esxi.completion_hook) };
        let findings = lint(esxi.kickstart.expose().to_owned(), options).await;
        let of_text = if is_rendered { " of the rendered kickstart" } else { "" };
        Some(KickstartJudgement { findings, version, of_text })
    }

    /// Why the recipe is refused; empty where it is not. `key` is the kickstart's in the recipe.
    pub fn refusals(&self, judgement: &KickstartJudgement, key: &str) -> Vec<FieldError> {
        if self.mode != LintMode::Deny {
            return Vec::new();
        }
        let found = judgement.findings.found.iter();
        let breaking: Vec<&Finding> = found.filter(|finding| finding.rule.class == Class::Breaks).collect();
        let named = breaking.iter().take(NAMED_MAX);
        let mut errors: Vec<FieldError> =
            named.map(|finding| FieldError::of_key(key, judgement.sentence(finding))).collect();
        if let Some(more) = breaking.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            errors.push(FieldError::of_key(key, format!("{more} more findings of class breaks")));
        }
        errors
    }
}

impl KickstartJudgement {
    /// `line 4, column 1: KS062 (breaks): A static network has no address. Add `--ip=`.`
    fn sentence(&self, finding: &Finding) -> String {
        let Finding { rule, line, column, message, .. } = finding;
        let (of_text, class) = (self.of_text, rule.class.name());
        format!("line {line}{of_text}, column {column}: {} ({class}): {message}. {}", rule.id, rule.remedy)
    }

    /// An event for each finding, the worst first.
    pub fn events(&self, time: Timestamp) -> Vec<NewEvent> {
        let mut found: Vec<&Finding> = self.findings.found.iter().collect();
        found.sort_by_key(|finding| finding.rule.class);
        let version = self.version.map(|version| version.to_string());
        let mut events: Vec<NewEvent> = found
            .iter()
            .take(NAMED_MAX)
            .map(|finding| {
                let detail = json!({
                    "rule": finding.rule.id,
                    "class": finding.rule.class.name(),
                    "line": finding.line,
                    "column": finding.column,
                    "esxi_version": version,
                });
                event(time, LINT, level(finding.rule.class), self.sentence(finding), detail)
            })
            .collect();
        if let Some(more) = found.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            let message = format!("{more} more findings; shoal kickstart lint shows all");
            events.push(event(time, LINT, Level::Info, message, json!({ "more": more })));
        }
        events
    }
}

fn event(time: Timestamp, op: &str, level: Level, message: String, detail: Value) -> NewEvent {
    NewEvent {
        time,
        level,
        step: Step::ValidateRecipe,
        op: op.to_owned(),
        status: EventStatus::Progress,
        attempt: 1,
        duration_ms: None,
        message,
        detail,
    }
}

fn level(class: Class) -> Level {
    match class {
        Class::Breaks | Class::Dangerous => Level::Warning,
        Class::Lost | Class::Style => Level::Info,
    }
}

pub fn hook(hook: CompletionHook) -> Hook {
    match hook {
        CompletionHook::None => Hook::None,
        CompletionHook::Poweroff => Hook::Poweroff,
        CompletionHook::Webhook => Hook::Webhook,
        CompletionHook::OwnPoweroff => Hook::OwnPoweroff,
    }
}

/// On a thread of its own: 64 KiB take some milliseconds.
async fn lint(text: String, options: Options) -> Findings {
    let linting = tokio::task::spawn_blocking(move || shoal_kickstart::lint(text.as_bytes(), options));
    linting.await.expect("the linter does not panic")
}

/// A kickstart to be checked.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its shape is used, by the API's description")]
pub struct LintInput {
    /// At most 65,536 bytes of UTF-8.
    #[schema(min_length = 1, max_length = 65536)]
    ks_cfg: String,
    /// 6.5 to 9.x, such as `8.0.3` or `8.0U3`. Default: that of the configured installer where it is
    /// known, else 8.0.3.
    #[schema(pattern = "^(6[.][57]|[7-9]([.][0-9]{1,4})?)([.Uu][0-9]{1,4}[a-z]?)?(-[0-9.]+)?$")]
    esxi_version: Option<String>,
    /// As in a recipe; with one that powers the host off no `reboot` is needed.
    #[schema(pattern = "^(none|poweroff|webhook|own-poweroff)$")]
    completion_hook: Option<String>,
}

/// What the linter found.
#[derive(Debug, Serialize, ToSchema)]
pub struct LintBody {
    /// Whether the kickstart would stop the installation.
    breaks: bool,
    /// The version whose rules were applied.
    esxi_version: String,
    /// By line; within a line the worst first.
    findings: Vec<FindingBody>,
    /// Findings that a comment in the kickstart allows.
    allowed: Vec<AllowedBody>,
}

/// One mistake. `docs/kickstart-rules.md` describes every rule.
#[derive(Debug, Serialize, ToSchema)]
pub struct FindingBody {
    /// Stable id, such as `KS062`.
    rule: &'static str,
    #[schema(value_type = FindingClass)]
    class: &'static str,
    /// From 1.
    line: usize,
    /// In characters, from 1.
    column: usize,
    message: String,
    /// What to do about it.
    remedy: &'static str,
}

/// A finding that a comment allows.
#[derive(Debug, Serialize, ToSchema)]
pub struct AllowedBody {
    #[serde(flatten)]
    finding: FindingBody,
    /// The comment's, in the words of its author.
    reason: String,
}

impl From<&Finding> for FindingBody {
    fn from(finding: &Finding) -> FindingBody {
        FindingBody {
            rule: finding.rule.id,
            class: finding.rule.class.name(),
            line: finding.line,
            column: finding.column,
            message: finding.message.clone(),
            remedy: finding.rule.remedy,
        }
    }
}

impl From<&Allowed> for AllowedBody {
    fn from(allowed: &Allowed) -> AllowedBody {
        AllowedBody { finding: (&allowed.finding).into(), reason: allowed.reason.clone() }
    }
}

impl LintBody {
    fn new(findings: &Findings, version: Version) -> LintBody {
        LintBody {
            breaks: findings.breaks(),
            esxi_version: version.to_string(),
            findings: findings.found.iter().map(FindingBody::from).collect(),
            allowed: findings.allowed.iter().map(AllowedBody::from).collect(),
        }
    }
}

/// Check a kickstart without a job. Nothing is stored.
#[utoipa::path(post, path = "/api/v1/kickstart/lint", tag = "kickstart", request_body = LintInput,
    responses((status = 200, body = LintBody),
        (status = 422, description = "A field is missing or wrong", body = Problem)))]
pub async fn lint_one(
    State(state): State<ApiState>,
    JsonObject(body): JsonObject,
) -> Result<Json<LintBody>, ApiError> {
    let (text, hook, version) = read(&body)?;
    let version = match version {
        Some(version) => Some(version),
        None => (state.kickstart_check.installer_version)(None).await.and_then(|text| text.parse().ok()),
    };
    let findings = lint(text, Options { version, hook }).await;
    Ok(Json(LintBody::new(&findings, version.unwrap_or(Version::ASSUMED))))
}

/// The kickstart of a request; its faults are noted.
fn text(fields: &mut Fields<'_>) -> String {
    let text = fields.string("ks_cfg").over(None).unwrap_or_default();
    if text.trim().is_empty() || text.len() > KICKSTART_BYTES_MAX {
        fields.refuse("ks_cfg", format!("must be a text of 1 to {KICKSTART_BYTES_MAX} bytes"));
    }
    text.to_owned()
}

fn read(body: &Map<String, Value>) -> Result<(String, Hook, Option<Version>), ApiError> {
    let mut fields = Fields::new(body, &["ks_cfg", "esxi_version", "completion_hook"]);
    let text = text(&mut fields);
    let version = fields.parsed("esxi_version", str::parse::<Version>).value().copied();
    let hook = fields.parsed("completion_hook", |word| {
        serde_json::from_value::<CompletionHook>(word.into())
            .map_err(|_| "use none, poweroff, webhook or own-poweroff")
    });
    let hook = match hook {
        FieldPatch::Value(given) => self::hook(given),
        FieldPatch::Absent | FieldPatch::Null => Hook::None,
    };
    match fields.errors.is_empty() {
        true => Ok((text, hook, version)),
        false => Err(ApiError::invalid("the request to check a kickstart is not valid", fields.errors)),
    }
}
