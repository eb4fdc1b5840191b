//! `dist/shoal.toml`: the settings file that packages install, with every setting in it and none set.
//!
//! Pure. Invariant: a function of the table of settings and of the unit, so that a test can hold the file against both.

use super::settings::{self, Setting};

/// A package starts the controller by it, and what it sets takes precedence over the file.
const UNIT: &str = include_str!("../../dist/shoal.service");
const WIDTH: usize = 100;

/// The unit gives it in another way than by the environment.
const BY_CREDENTIAL: &str = "MASTER_KEY_FILE";

const HEAD: &str = "\
# Settings of `shoal serve`, which reads this file by --config. Every setting is here with its default; remove the `#` in
# front of a key to set it. A key without a default shows the form of its value. Environment variables and flags take
# precedence. Check the file before a restart: shoal serve --check --config /etc/shoal/shoal.toml
#
# Written from the table in src/config/settings.rs by `cargo xtask settings`.
";

const LOG: &str = "
## Log

# error, warn, info, debug, trace or off; finer by module, such as info,shoal_redfish=debug
#log_level = \"info\"

# text or json
#log_format = \"text\"
";

/// `dist/shoal.toml`.
pub fn settings_sample() -> String {
    let mut sample = String::from(HEAD);
    let mut heading = "";
    for setting in settings::all() {
        if setting.heading != heading {
            heading = setting.heading;
            sample.push_str(&format!("\n## {heading}\n"));
        }
        sample.push('\n');
        sample.push_str(&entry(setting));
    }
    sample.push_str(LOG);
    sample
}

fn entry(setting: &Setting) -> String {
    let mut entry: String = wrapped(setting.help).iter().map(|line| format!("# {line}\n")).collect();
    let by_unit = set_by_unit(setting.name);
    if by_unit.is_some() {
        entry
            .push_str("# shoal.service sets it, and takes precedence: change it by `systemctl edit shoal`\n");
    }
    if setting.name == BY_CREDENTIAL {
        entry.push_str(
            "# shoal.service passes /etc/credstore/shoal.master-key as a credential: leave this unset\n",
        );
    }
    let shown = by_unit.or(setting.default).unwrap_or(setting.value);
    entry + &format!("#{} = {}\n", setting.name.to_ascii_lowercase(), toml_value(shown))
}

/// What `Environment=` of the unit says of a setting.
fn set_by_unit(name: &str) -> Option<&'static str> {
    let variables = UNIT.lines().filter_map(|line| line.strip_prefix("Environment="));
    variables
        .filter_map(|line| line.split_once('='))
        .find(|(variable, _)| *variable == name)
        .map(|(_, value)| value)
}

fn toml_value(text: &str) -> toml::Value {
    match (text.parse(), text.parse()) {
        (Ok(number), _) => toml::Value::Integer(number),
        (_, Ok(truth)) => toml::Value::Boolean(truth),
        _ => toml::Value::String(text.to_owned()),
    }
}

/// Lines of whole words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the start");
        match line.len() + 1 + word.len() <= WIDTH {
            _ if line.is_empty() => line.push_str(word),
            true => *line = format!("{line} {word}"),
            false => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::values::LOG_NAMES;

    /// The sample as an operator has it who removes every `#` in front of a key.
    fn uncommented() -> toml::Table {
        let sample = settings_sample();
        let lines = sample.lines().filter_map(|line| line.strip_prefix('#'));
        let keys = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()));
        keys.collect::<Vec<_>>().join("\n").parse().expect("it is TOML, and no key is in it twice")
    }

    #[test]
    fn the_file_is_that_of_the_table() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/shoal.toml");
        let found = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            found == settings_sample(),
            "dist/shoal.toml differs from the table: run `cargo xtask settings`"
        );
    }

    #[test]
    fn nothing_is_set_in_it() {
        assert!(settings_sample().parse::<toml::Table>().expect("it is TOML").is_empty());
    }

    #[test]
    fn every_setting_is_in_it_with_its_default_or_what_the_unit_sets() {
        let table = uncommented();
        let names = settings::all().map(|setting| setting.name).chain(LOG_NAMES);
        let keys: BTreeSet<String> = names.map(str::to_ascii_lowercase).collect();
        assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), keys);
        assert!(UNIT.contains("\nLoadCredential=master.key:/etc/credstore/shoal.master-key\n"));
        assert_eq!(table["db_url"].as_str(), Some("/var/lib/shoal/shoal.db"));
        for setting in settings::all().filter(|setting| set_by_unit(setting.name).is_none()) {
            let shown = &table[&setting.name.to_ascii_lowercase()];
            let text = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
            assert_eq!(text, setting.default.unwrap_or(setting.value), "{}", setting.name);
        }
    }

    #[test]
    fn a_directory_of_the_working_directory_is_set_by_the_unit() {
        let relative =
            settings::all().filter(|setting| setting.default.is_some_and(|value| value.starts_with("./")));
        for setting in relative.filter(|setting| setting.name != "MASTER_KEY_FILE") {
            assert!(
                set_by_unit(setting.name).is_some(),
                "{} would be below /var/lib/shoal/var",
                setting.name
            );
        }
    }
}
