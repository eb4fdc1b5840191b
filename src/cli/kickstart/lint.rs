//! `shoal kickstart lint`: files in, findings out.
//!
//! Invariant: what is printed holds no password of a file, in any format.

use std::io::Read;
use strum::IntoStaticStr;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cli::output::{self, Format, Output};
use crate::cli::{CliError, Exit};
use crate::domain::KICKSTART_BYTES_MAX;
use shoal_kickstart::lint::Findings;
use shoal_kickstart::report::{self, FileReport, Judged};
use shoal_kickstart::{Hook, Options, Version};

/// Report what would stop the installation, erase data or be lost, with the line marked.
///
/// Exit code 1 where a file has a finding of class `breaks`, or cannot be read.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// Files to check; `-` is standard input.
    #[arg(required = true, value_name = "FILE|-")]
    files: Vec<String>,
    /// ESXi version to be installed, 6.5 to 9.x [default: rules of 8.0.3]
    #[arg(long, value_name = "VERSION")]
    esxi: Option<Version>,
    /// Completion hook of the job; with one that powers off no `reboot` is needed.
    #[arg(long, value_enum, default_value_t = HookName::None)]
    hook: HookName,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum HookName {
    #[default]
    None,
    Poweroff,
    Webhook,
    OwnPoweroff,
}

impl HookName {
    /// As recipes write it.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl From<HookName> for Hook {
    fn from(name: HookName) -> Hook {
        match name {
            HookName::None => Hook::None,
            HookName::Poweroff => Hook::Poweroff,
            HookName::Webhook => Hook::Webhook,
            HookName::OwnPoweroff => Hook::OwnPoweroff,
        }
    }
}

/// A file after the attempt to read and judge it.
struct LintOutcome {
    name: String,
    read: Result<(Vec<u8>, Findings), String>,
}

pub async fn run(args: LintArgs, output: Output) -> Result<Exit, CliError> {
    if args.files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(CliError::usage("`-` is named twice: standard input can be read once"));
    }
    let options = Options { version: args.esxi, hook: args.hook.into() };
    let judge = move || args.files.into_iter().map(|file| outcome(file, options)).collect();
    let outcomes: Vec<LintOutcome> = tokio::task::spawn_blocking(judge).await?;
    for outcome in &outcomes {
        if let Err(reason) = &outcome.read {
            output::to_stderr(&format!("error: {}: {reason}", outcome.name));
        }
    }
    match output.format {
        Format::Table => print_text(&outcomes),
        Format::Json => output::json(&json_report(&outcomes)),
        Format::Sarif => output::json(&sarif(&outcomes)),
    }
    let is_good = |outcome: &LintOutcome| outcome.read.as_ref().is_ok_and(|(_, findings)| !findings.breaks());
    Ok(if outcomes.iter().all(is_good) { Exit::Done } else { Exit::Failed })
}

fn outcome(file: String, options: Options) -> LintOutcome {
    let read = read(&file).map(|bytes| {
        let findings = shoal_kickstart::lint(&bytes, options);
        (bytes, findings)
    });
    let name = if file == "-" { "stdin".to_owned() } else { file };
    LintOutcome { name, read }
}

/// The file, within the limit of a recipe.
pub fn read(file: &str) -> Result<Vec<u8>, String> {
    let limit = KICKSTART_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let read = match file {
        "-" => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
    };
    read.map_err(|error| format!("cannot be read: {error}"))?;
    match bytes.len() {
        0 => Err("is empty: a kickstart is needed".to_owned()),
        length if length > KICKSTART_BYTES_MAX => {
            Err(format!("has more than {KICKSTART_BYTES_MAX} bytes, the limit of a job's kickstart"))
        }
        _ => Ok(bytes),
    }
}

fn judged(outcomes: &[LintOutcome]) -> Vec<Judged<'_>> {
    let read = outcomes.iter().filter_map(|outcome| Some((outcome, outcome.read.as_ref().ok()?)));
    read.map(|(outcome, (source, findings))| Judged { name: &outcome.name, source, findings }).collect()
}

fn print_text(outcomes: &[LintOutcome]) {
    let has_colour = anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
    let text: String = judged(outcomes).iter().map(|judged| report::text(judged, has_colour)).collect();
    match has_colour {
        true => output::coloured(text.trim_end()),
        false => output::line(text.trim_end()),
    }
}

fn json_report(outcomes: &[LintOutcome]) -> Value {
    let files = outcomes.iter().map(|outcome| match &outcome.read {
        Ok((_, findings)) => json!(FileReport::new(&outcome.name, findings)),
        Err(reason) => json!({ "file": outcome.name, "error": reason }),
    });
    json!({ "files": files.collect::<Vec<Value>>() })
}

fn sarif(outcomes: &[LintOutcome]) -> Value {
    report::sarif(&judged(outcomes), env!("CARGO_PKG_VERSION"))
}
