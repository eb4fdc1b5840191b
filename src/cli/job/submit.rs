//! `shoal job submit`: a recipe, or a kickstart for a server, whose findings are shown first.
//!
//! What may erase data or stop the installation is asked about. Invariant: a kickstart that is not
//! confirmed makes no job.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use shoal_kickstart::report::{self, Judged};
use shoal_kickstart::{Class, Options, Version};

use super::{AddOptions, add};
use crate::cli::client::Client;
use crate::cli::kickstart::lint::{self, HookName};
use crate::cli::kickstart::render;
use crate::cli::output::{Output, to_stderr};
use crate::cli::{CliError, Exit, prompt};
use crate::config::ClientArgs;
use crate::domain::Serial;
use shoal_base::world::World;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["recipe", "ks"]))]
pub struct SubmitArgs {
    /// The recipe in JSON; `-` for standard input.
    recipe: Option<String>,
    #[command(flatten)]
    kickstart: SubmitKickstartArgs,
    /// Follow the job to its end: exit code 0 if it succeeded, 1 if it did not.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Check everything up to the server's identity, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// A job without a recipe.
#[derive(Debug, Args)]
struct SubmitKickstartArgs {
    /// A kickstart instead of a recipe: what the linter finds in it is shown before a job is made.
    #[arg(long, value_name = "FILE|-", requires = "server")]
    ks: Option<String>,
    /// The server to be installed.
    #[arg(long, value_name = "SERIAL", requires = "ks")]
    server: Option<Serial>,
    /// Completion hook.
    #[arg(long, value_enum, requires = "ks")]
    hook: Option<HookName>,
    /// The kickstart is a template, and these are its variables: a JSON object, or a .toml file.
    #[arg(long, value_name = "FILE", requires = "ks")]
    values: Option<PathBuf>,
    /// The kickstart is a template that needs no variables beside those of the server.
    #[arg(long, requires = "ks", conflicts_with = "values")]
    template: bool,
    /// ESXi version whose rules are applied, 6.5 to 9.x [default: 8.0.3]
    #[arg(long, value_name = "VERSION", requires = "ks")]
    esxi: Option<Version>,
    /// Do not ask about findings that are dangerous or would stop the installation.
    #[arg(long, short, requires = "ks")]
    yes: bool,
}

pub async fn run(args: SubmitArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let body = match (&args.recipe, &args.kickstart.ks, &args.kickstart.server) {
        (_, Some(file), Some(server)) => {
            let KickstartToSubmit { recipe, is_doubtful } =
                kickstart(&client, &args.kickstart, file, server).await?;
            if is_doubtful && !args.dry_run && !args.kickstart.yes && !confirm(server)? {
                return Err("no job was made".to_owned().into());
            }
            recipe
        }
        (Some(recipe), _, _) => read_recipe(recipe)?,
        _ => return Err(CliError::usage("name a recipe, or a kickstart and a server")),
    };
    let options = AddOptions { watch: args.watch, dry_run: args.dry_run };
    add(&client, &["jobs"], body, options, output).await
}

struct KickstartToSubmit {
    recipe: Value,
    /// Something was found that is asked about.
    is_doubtful: bool,
}

/// The recipe of a kickstart, after its findings were shown.
async fn kickstart(
    client: &Client,
    args: &SubmitKickstartArgs,
    file: &str,
    server: &Serial,
) -> Result<KickstartToSubmit, CliError> {
    let bytes = lint::read(file).map_err(|reason| CliError::usage(format!("{file}: {reason}")))?;
    let text = String::from_utf8(bytes).map_err(|_| CliError::usage(format!("{file}: is not UTF-8")))?;
    let variables = match &args.values {
        Some(file) => Some(render::read_values(file)?),
        None => args.template.then(Map::new),
    };
    let rendered = match &variables {
        Some(variables) => Some(render::by_controller(client, server, &text, variables.clone(), true).await?),
        None => None,
    };
    let hook = args.hook.unwrap_or_default();
    let options = Options { version: args.esxi, hook: hook.into() };
    let is_doubtful = show(file, rendered.as_deref().unwrap_or(&text), options);
    let mut recipe = Map::new();
    recipe.insert("task_target".to_owned(), json!("install-esxi.target"));
    recipe.insert("server_serial".to_owned(), json!(server));
    recipe.insert("ks_cfg".to_owned(), json!(text));
    recipe.insert("completion_hook".to_owned(), json!(hook.name()));
    if let Some(variables) = variables {
        recipe.insert("templated".to_owned(), json!(true));
        recipe.insert("variables".to_owned(), Value::Object(variables));
    }
    Ok(KickstartToSubmit { recipe: Value::Object(recipe), is_doubtful })
}

/// Shows the findings, and says whether one of them has to be asked about.
fn show(file: &str, text: &str, options: Options) -> bool {
    let findings = shoal_kickstart::lint(text.as_bytes(), options);
    let name = if file == "-" { "stdin" } else { file };
    let judged = Judged { name, source: text.as_bytes(), findings: &findings };
    to_stderr(report::text(&judged, false).trim_end());
    findings.count(Class::Breaks) + findings.count(Class::Dangerous) > 0
}

fn confirm(server: &Serial) -> Result<bool, CliError> {
    if !prompt::is_interactive() {
        return Err(CliError::usage(
            "the kickstart has findings of class breaks or dangerous, and standard input is not a terminal: \
             correct it, allow them by a comment, or add --yes",
        ));
    }
    prompt::confirm(&format!("Install server {server} with this kickstart all the same?"))
}

fn read_recipe(path: &str) -> Result<Value, CliError> {
    let mut text = String::new();
    match path {
        "-" => std::io::stdin().lock().take(1 << 21).read_to_string(&mut text).map(drop)?,
        path => {
            let read = std::fs::read_to_string(path);
            text = read.map_err(|error| CliError::usage(format!("cannot read {path}: {error}")))?;
        }
    }
    let syntax = |error: serde_json::Error| {
        format!("{path} is not JSON: line {}, column {}", error.line(), error.column())
    };
    serde_json::from_str(&text).map_err(|error| CliError::usage(syntax(error)))
}
