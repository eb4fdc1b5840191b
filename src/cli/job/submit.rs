//! `shoal job submit`: a recipe, or a kickstart for one server or several, whose findings are shown first.
//!
//! On a terminal the operator confirms what is erased. Invariants: a kickstart that is not confirmed makes no job; and
//! nothing is submitted before the kickstart was read, rendered and judged for every server.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value, json};
use shoal_kickstart::report::{self, Judged};
use shoal_kickstart::{Class, Options, Version};
use url::Url;

use super::recipe::GivenKickstart;
use super::wipe::{self, serial_of};
use super::{AddOptions, ToAdd, add_all};
use crate::cli::client::Client;
use crate::cli::kickstart::lint::{self, HookName};
use crate::cli::kickstart::render;
use crate::cli::output::{Output, to_stderr};
use crate::cli::prompt::is_interactive;
use crate::cli::{CliError, Exit};
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
    /// Follow the jobs to their ends: exit code 0 if all succeeded, 1 if one did not.
    #[arg(long, conflicts_with = "dry_run")]
    watch: bool,
    /// Check everything up to the server's identity, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// With the same key and recipe within 24 hours no second job is made; for several servers, each has a key of its
    /// own: this one, a dot, and the serial number.
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    idempotency_key: Option<String>,
    /// Do not ask for a confirmation.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// A job without a recipe.
#[derive(Debug, Args)]
struct SubmitKickstartArgs {
    /// A kickstart instead of a recipe: what the linter finds in it is shown before a job is made.
    #[arg(long, value_name = "FILE|-", requires = "server")]
    ks: Option<String>,
    /// A server to be installed; repeat it for several.
    #[arg(long, value_name = "SERIAL", requires = "ks")]
    server: Vec<Serial>,
    /// Completion hook.
    #[arg(long, visible_alias = "completion-hook", value_enum, requires = "ks")]
    hook: Option<HookName>,
    /// The installer, instead of the controller's.
    #[arg(long, value_name = "URL", requires = "ks")]
    esxi_url: Option<Url>,
    /// SHA-256 of that installer.
    #[arg(long, value_name = "HEX", requires = "esxi_url")]
    esxi_sha256: Option<String>,
    /// The kickstart is a template, and these are its variables: a JSON object, or a .toml file.
    #[arg(long, value_name = "FILE", requires = "ks")]
    values: Option<PathBuf>,
    /// One variable of the template, as text; takes precedence over --values. Repeat it for several.
    #[arg(long, value_name = "NAME=VALUE", requires = "ks", value_parser = variable)]
    set: Vec<(String, String)>,
    /// The kickstart is a template that needs no variables beside those of the server.
    #[arg(long, requires = "ks", conflicts_with_all = ["values", "set"])]
    template: bool,
    /// ESXi version whose rules are applied, 6.5 to 9.x [default: 8.0.3]
    #[arg(long, value_name = "VERSION", requires = "ks")]
    esxi: Option<Version>,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    match name.is_empty() {
        true => Err("the name is empty: write NAME=VALUE".to_owned()),
        false => Ok((name.to_owned(), value.to_owned())),
    }
}

pub async fn run(args: SubmitArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let client = Client::new(&args.client, world)?;
    let (recipes, is_doubtful) = match (&args.recipe, &args.kickstart.ks) {
        (_, Some(file)) => recipes_of(&client, &args.kickstart, file).await?,
        (Some(recipe), _) => (vec![read_recipe(recipe)?], false),
        (None, None) => return Err(CliError::usage("name a recipe, or a kickstart and a server")),
    };
    if !args.dry_run && !args.yes {
        if is_doubtful && !is_interactive() {
            return Err(CliError::usage(
                "the kickstart has findings of class breaks or dangerous, and standard input is not a terminal: \
                 correct it, allow them by a comment, or add --yes",
            ));
        }
        if !wipe::is_wanted(&client, &recipes, is_doubtful).await? {
            return Err("no job was made".to_owned().into());
        }
    }
    let is_one = recipes.len() == 1;
    let to_add = recipes.into_iter().map(|body| {
        let serial = serial_of(&body).to_owned();
        let key = args.idempotency_key.as_ref().map(|key| match is_one {
            true => key.clone(),
            false => format!("{key}.{serial}"),
        });
        ToAdd { name: format!("server {serial}"), path: vec!["jobs".to_owned()], body, key }
    });
    let options = AddOptions { watch: args.watch, dry_run: args.dry_run };
    add_all(&client, to_add.collect(), options, output).await
}

/// The recipes of a kickstart, one a server, and whether something was found that is asked about.
async fn recipes_of(
    client: &Client,
    args: &SubmitKickstartArgs,
    file: &str,
) -> Result<(Vec<Value>, bool), CliError> {
    let bytes = lint::read(file).map_err(|reason| CliError::usage(format!("{file}: {reason}")))?;
    let text = String::from_utf8(bytes).map_err(|_| CliError::usage(format!("{file}: is not UTF-8")))?;
    let variables = variables(args)?;
    let hook = args.hook.unwrap_or_default();
    let options = Options { version: args.esxi, hook: hook.into() };
    let mut recipes = Vec::new();
    let mut is_doubtful = false;
    for (number, server) in args.server.iter().enumerate() {
        if args.server[..number].contains(server) {
            return Err(CliError::usage(format!("server {server} is named twice")));
        }
        let rendered = match &variables {
            Some(variables) => {
                Some(render::by_controller(client, server, &text, variables.clone(), true).await?)
            }
            None => None,
        };
        // A kickstart that is no template is the same for all.
        if number == 0 || rendered.is_some() {
            is_doubtful |= show(file, rendered.as_deref().unwrap_or(&text), options);
        }
        recipes.push(recipe(args, server, &text, variables.as_ref()));
    }
    Ok((recipes, is_doubtful))
}

/// Of the template; none where the kickstart is none.
fn variables(args: &SubmitKickstartArgs) -> Result<Option<Map<String, Value>>, CliError> {
    let mut variables = match &args.values {
        Some(file) => Some(render::read_values(file)?),
        None => (args.template || !args.set.is_empty()).then(Map::new),
    };
    for (name, value) in &args.set {
        variables.get_or_insert_default().insert(name.clone(), json!(value));
    }
    Ok(variables)
}

fn recipe(
    args: &SubmitKickstartArgs,
    server: &Serial,
    text: &str,
    variables: Option<&Map<String, Value>>,
) -> Value {
    let kickstart = GivenKickstart {
        text,
        hook: args.hook,
        esxi_url: args.esxi_url.as_ref(),
        esxi_sha256: args.esxi_sha256.as_deref(),
        variables: variables.cloned(),
    };
    let mut recipe = kickstart.into_recipe();
    recipe.insert("server_serial".to_owned(), json!(server));
    Value::Object(recipe)
}

/// Shows the findings, and says whether one of them has to be asked about.
fn show(file: &str, text: &str, options: Options) -> bool {
    let findings = shoal_kickstart::lint(text.as_bytes(), options);
    let name = if file == "-" { "stdin" } else { file };
    let judged = Judged { name, source: text.as_bytes(), findings: &findings };
    to_stderr(report::text(&judged, false).trim_end());
    findings.count(Class::Breaks) + findings.count(Class::Dangerous) > 0
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
