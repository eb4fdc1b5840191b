//! Templates: a kickstart with `{{ … }}` and `{% … %}` becomes the text of one server.
//!
//! The syntax is Jinja's, without comments: `{#` begins a length in shell (`${#name}`). There are no
//! macros, includes or namespaces, and names are bound to simple expressions only, so that memory is
//! bounded by fuel, the size of the variables and that of the output. Invariant: an error names a
//! place and a name of the template, and never quotes a value or a literal.

mod disk;
mod filters;
mod guard;

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use serde_json::Map;

pub use disk::{Choice, Confidence, Disk, Hints, Inventory};
pub use filters::Salts;

/// The largest rendered text, in bytes, which is the limit of a kickstart.
pub const RENDERED_BYTES_MAX: usize = 65_536;
/// The largest set of variables, in bytes of JSON.
pub const VARIABLES_BYTES_MAX: usize = 16 * 1024;
/// Steps of the template engine.
const FUEL: u64 = 20_000;
/// Begins and ends what would be a comment; refused in templates.
const UNUSED: char = '\u{1}';
/// Begins the messages that are this crate's own and hold no value.
const OWN: char = '\u{2}';

/// What a template may know of the server: a fixed list without credentials.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    pub serial: String,
    pub management_address: Option<String>,
    pub labels: BTreeMap<String, String>,
}

/// What a template is rendered with.
pub struct Values<'a> {
    pub variables: &'a Map<String, serde_json::Value>,
    /// Without one, `server` is undefined.
    pub server: Option<&'a ServerFacts>,
    /// What `disk()` chooses from, or why there is nothing.
    pub disks: Result<&'a Inventory, &'a str>,
    /// Random bytes, from which the salts of passwords follow.
    pub seed: [u8; 32],
}

/// Why [`Values::disks`] is absent where no server is known.
pub const NO_SERVER: &str = "`disk` needs a server: name one (`--server`, `server_serial`)";

/// The text of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub text: String,
    /// What `disk()` chose, each disk once.
    pub disks: Vec<Choice>,
}

/// Whether the template may call `disk()`, so that it needs an inventory.
pub fn uses_disks(template: &str) -> bool {
    template.match_indices("disk").any(|(at, word)| template[at + word.len()..].trim_start().starts_with('('))
}

/// Why a template could not be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// From 1; 0 where no place is to blame.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            _ => write!(f, "line {}, column {}: {}", self.line, self.column, self.message),
        }
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    fn plain(message: impl Into<String>) -> TemplateError {
        TemplateError { line: 0, column: 0, message: message.into() }
    }

    fn at(template: &str, byte: usize, message: impl Into<String>) -> TemplateError {
        let before = template.get(..byte).unwrap_or(template);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        TemplateError { line, column, message: message.into() }
    }
}

/// Renders a template.
pub fn render(template: &str, values: &Values<'_>) -> Result<Rendered, TemplateError> {
    if let Some(at) = template.find([UNUSED, OWN]) {
        return Err(TemplateError::at(template, at, "a control character does not belong into a template"));
    }
    if template.len() > RENDERED_BYTES_MAX {
        return Err(TemplateError::plain(format!("the template has more than {RENDERED_BYTES_MAX} bytes")));
    }
    guard::check_bindings(template)?;
    let context = context(values)?;
    let choices = Arc::new(Mutex::new(Vec::new()));
    let environment = environment(values, &choices);
    let compiled = environment.template_from_named_str("kickstart", template);
    let compiled = compiled.map_err(|error| describe(template, &error))?;
    let mut output = Bounded { text: Vec::new() };
    let rendered = compiled.render_captured_to(context, &mut output);
    rendered.map(drop).map_err(|error| describe(template, &error))?;
    let text = String::from_utf8(output.text);
    let text = text.map_err(|_| TemplateError::plain("the rendered text is not UTF-8"))?;
    let disks = std::mem::take(&mut *choices.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(Rendered { text, disks })
}

/// Takes as much as a kickstart may have.
struct Bounded {
    text: Vec<u8>,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.text.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(std::io::Error::other("the rendered text is too large"));
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn environment(values: &Values<'_>, choices: &Arc<Mutex<Vec<Choice>>>) -> Environment<'static> {
    let mut environment = Environment::empty();
    let syntax = SyntaxConfig::builder()
        .comment_delimiters(format!("{UNUSED}{{"), format!("}}{UNUSED}"))
        .trim_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("the delimiters differ"));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    filters::add(&mut environment, &Arc::new(Salts::new(values.seed)));
    let (disks, choices) = (values.disks.cloned().map_err(str::to_owned), Arc::clone(choices));
    environment.add_function("disk", move |hints: Option<&str>, named: Kwargs| {
        let disks = disks.as_ref().map_err(|why| filters::refusal(why.as_str()))?;
        let choice = disk_hints(hints, &named).and_then(|hints| disk::choose(&hints, disks));
        let choice = choice.map_err(filters::refusal)?;
        let device = choice.device.clone();
        let mut chosen = choices.lock().unwrap_or_else(PoisonError::into_inner);
        if !chosen.contains(&choice) && chosen.len() < CHOICES_MAX {
            chosen.push(choice);
        }
        Ok::<String, minijinja::Error>(device)
    });
    environment
}

/// Disks that are kept of one rendering.
const CHOICES_MAX: usize = 16;

/// `disk("model=BOSS")` and `disk(model="BOSS")`.
fn disk_hints(text: Option<&str>, named: &Kwargs) -> Result<Hints, String> {
    let mut hints = text.map_or_else(|| Ok(Hints::default()), Hints::parse)?;
    for name in named.args() {
        let value = named.get::<Value>(name).map_err(|_| "a hint has no value")?;
        hints.set(name, &value.to_string())?;
    }
    Ok(hints)
}

fn context(values: &Values<'_>) -> Result<Value, TemplateError> {
    if values.variables.contains_key("server") {
        let message = "a variable is named `server`, which is the record of the server: rename it";
        return Err(TemplateError::plain(message));
    }
    let size = serde_json::to_string(values.variables).map_or(usize::MAX, |text| text.len());
    if size > VARIABLES_BYTES_MAX {
        let message = format!("the variables have more than {VARIABLES_BYTES_MAX} bytes of JSON");
        return Err(TemplateError::plain(message));
    }
    let variables = values.variables.iter();
    let mut context: BTreeMap<String, Value> =
        variables.map(|(name, value)| (name.clone(), Value::from(Serde(value)))).collect();
    if let Some(server) = values.server {
        context.insert("server".to_owned(), server_value(server));
    }
    Ok(Value::from(context))
}

fn server_value(server: &ServerFacts) -> Value {
    let labels = server.labels.iter();
    let labels: BTreeMap<String, Value> = labels
        .map(|(name, value)| (name.clone(), inventory_text(&format!("server.labels.{name}"), value)))
        .collect();
    let mut facts = BTreeMap::from([
        ("serial".to_owned(), inventory_text("server.serial", &server.serial)),
        ("labels".to_owned(), Value::from(labels)),
    ]);
    if let Some(address) = &server.management_address {
        facts.insert("management_address".to_owned(), inventory_text("server.management_address", address));
    }
    Value::from(facts)
}

/// A text of the inventory, or an error where it is used: it may reach a shell that root runs.
fn inventory_text(name: &str, text: &str) -> Value {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '_' | ':' | '-');
    if text.chars().all(is_plain) {
        return Value::from(text);
    }
    let name: String = name.chars().filter(|c| is_plain(*c)).take(80).collect();
    Value::from(filters::refusal(format!("`{name}` holds a character outside [A-Za-z0-9 ._:-]")))
}

/// An error in our words: the engine's may quote values.
fn describe(template: &str, error: &minijinja::Error) -> TemplateError {
    let range = error.range().filter(|range| range.start <= template.len());
    let source = range.clone().and_then(|range| template.get(range)).unwrap_or_default().trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let name = Some(source).filter(|name| !name.is_empty() && name.chars().all(is_name));
    let own = error.detail().and_then(|detail| detail.split_once(OWN)).map(|(_, own)| own.to_owned());
    let message = match (own, error.kind(), name) {
        (Some(own), _, _) => own,
        (None, ErrorKind::UndefinedError, Some(name)) => format!("`{name}` is not defined"),
        (None, ErrorKind::UndefinedError, None) => "a variable is not defined".to_owned(),
        (None, ErrorKind::SyntaxError, _) => "this is not the syntax of a template".to_owned(),
        (None, ErrorKind::UnknownFilter, _) => "there is no filter of this name".to_owned(),
        (None, ErrorKind::UnknownFunction, _) => "there is no function of this name".to_owned(),
        (None, ErrorKind::UnknownTest, _) => "there is no test of this name".to_owned(),
        (None, ErrorKind::OutOfFuel, _) => "the template runs too long".to_owned(),
        (None, ErrorKind::WriteFailure, _) => {
            format!("the rendered text has more than {RENDERED_BYTES_MAX} bytes")
        }
        (None, ErrorKind::UnknownMethod, _) => "values have no such method".to_owned(),
        (None, ErrorKind::MissingArgument | ErrorKind::TooManyArguments, _) => {
            "the number of arguments is wrong".to_owned()
        }
        _ => "the expression cannot be evaluated".to_owned(),
    };
    match (range, error.line()) {
        (Some(range), _) => TemplateError::at(template, range.start, message),
        (None, Some(line)) => TemplateError { line, column: 1, message },
        (None, None) => TemplateError::plain(message),
    }
}

#[cfg(test)]
mod tests;
