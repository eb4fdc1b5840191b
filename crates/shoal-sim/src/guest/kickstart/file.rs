//! A kickstart as lines: commands, sections, and the files that it includes.
//!
//! Commands come before the first section. A section's header may be indented; a section ends only at
//! an unindented keyword, and not at one on the file's last line. `%pre` runs before the includes of
//! its file, which may be what it has written. Invariant: at most [`INCLUDES_MAX`] files are read.

use super::options::{Options, is_unknown, shown};
use super::words::words;
use super::{Command, Findings, Source};
use crate::guest::shell::{FileContent, UNKNOWN, failure, write_files, write_python_files};

/// Words that begin a section.
const SECTIONS: [&str; 5] = ["%pre", "%post", "%firstboot", "%packages", "%vmlicense_text"];
const INCLUDES: [&str; 2] = ["%include", "include"];
/// Files in files, themselves included.
const INCLUDES_MAX: usize = 64;
/// Where the medium of the kickstart is mounted, and its device or label below it.
const VOLUMES: &str = "/vmfs/volumes/";

/// Why no more is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Dialog(String),
    Wants(String),
}

impl From<String> for Stop {
    fn from(dialog: String) -> Stop {
        Stop::Dialog(dialog)
    }
}

/// A section that runs after the installation.
#[derive(Debug)]
pub struct Section {
    pub text: String,
    pub is_busybox: bool,
    pub ignores_failure: bool,
}

/// What has been read so far, of all files.
pub struct Reading<'a> {
    source: &'a Source<'a>,
    pub commands: Vec<Command>,
    pub posts: Vec<Section>,
    /// What every `%pre` has written.
    written: FileContent,
    /// The text of every `%pre`.
    pres: String,
    files: usize,
    /// A file was included of which not everything is known.
    pub is_opaque: bool,
}

impl<'a> Reading<'a> {
    pub fn new(source: &'a Source<'a>) -> Reading<'a> {
        Reading {
            source,
            commands: vec![],
            posts: vec![],
            written: FileContent::new(),
            pres: String::new(),
            files: 0,
            is_opaque: false,
        }
    }
}

/// A piece of a file.
enum Piece {
    Command(Command),
    Section { header: Vec<String>, text: String },
}

/// Reads one file, and whatever it includes.
pub fn read_file(
    reading: &mut Reading<'_>,
    bytes: &[u8],
    path: &str,
    findings: &mut Findings,
) -> Result<(), Stop> {
    reading.files += 1;
    if reading.files > INCLUDES_MAX {
        return Err(Stop::Dialog("include: too many files are included".to_owned()));
    }
    let text = match std::str::from_utf8(bytes) {
        Err(error) if reading.source.strict => {
            let at = error.valid_up_to();
            return Err(Stop::Dialog(format!("{path} cannot be decoded as UTF-8 at byte {at}")));
        }
        _ => String::from_utf8_lossy(bytes),
    };
    let mut commands = Vec::new();
    for piece in pieces(reading, &text.replace("\r\n", "\n"), findings)? {
        match piece {
            Piece::Command(command) => commands.push(command),
            Piece::Section { header, text } => take_section(reading, &header, text, findings)?,
        }
    }
    for command in commands {
        if INCLUDES.contains(&command.name()) {
            include(reading, &command, path, findings)?;
        } else {
            reading.commands.push(command);
        }
    }
    Ok(())
}

fn pieces(reading: &mut Reading<'_>, text: &str, findings: &mut Findings) -> Result<Vec<Piece>, Stop> {
    let mut pieces = Vec::new();
    let mut section: Option<(Vec<String>, String)> = None;
    let count = text.lines().count();
    for (index, line) in text.lines().enumerate() {
        let ends_section = || SECTIONS.iter().chain(&INCLUDES).any(|keyword| line.starts_with(keyword));
        match &mut section {
            Some((_, body)) if index + 1 == count || !ends_section() => {
                body.push_str(line);
                body.push('\n');
                continue;
            }
            section => pieces.extend(section.take().map(|(header, text)| Piece::Section { header, text })),
        }
        if line.trim_start().starts_with(UNKNOWN) {
            reading.is_opaque = true;
            continue;
        }
        let words = match words(line) {
            Err(reason) if reading.source.strict => {
                return Err(Stop::Dialog(format!("line {}: {reason}", index + 1)));
            }
            Err(_) => line.split_whitespace().map(str::to_owned).collect(),
            Ok(words) => words,
        };
        let Some(first) = words.first() else { continue };
        if !line.replace(UNKNOWN, "").is_ascii() {
            findings.warn(format!("line {}: it has characters that are not ASCII", index + 1));
        }
        if SECTIONS.contains(&first.as_str()) {
            section = Some((words, String::new()));
        } else {
            pieces.push(Piece::Command(Command { words }));
        }
    }
    pieces.extend(section.map(|(header, text)| Piece::Section { header, text }));
    Ok(pieces)
}

fn take_section(
    reading: &mut Reading<'_>,
    header: &[String],
    text: String,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let name = header.first().map_or("", String::as_str);
    let known: &[&str] = match name {
        "%post" => &["--interpreter", "--timeout", "--ignorefailure"],
        "%pre" | "%firstboot" => &["--interpreter"],
        _ => {
            findings.warn(format!("{name} is not supported any more"));
            return Ok(());
        }
    };
    let options = Options::of(header, known, 0, findings);
    let is_busybox = match options.value("--interpreter") {
        Some("busybox") => true,
        Some("python") => false,
        Some(other) if reading.source.strict => {
            return Err(Stop::Dialog(format!("{name}: unknown interpreter \"{}\"", shown(other))));
        }
        Some(_) => true,
        None => {
            findings.warn(format!("{name}: no --interpreter was given, busybox is used"));
            true
        }
    };
    match name {
        "%pre" => run_pre(reading, &text, is_busybox),
        "%post" => {
            let ignores_failure = options.value("--ignorefailure").is_some_and(|value| value == "true");
            reading.posts.push(Section { text, is_busybox, ignores_failure });
            Ok(())
        }
        _ => Ok(()),
    }
}

fn run_pre(reading: &mut Reading<'_>, text: &str, is_busybox: bool) -> Result<(), Stop> {
    reading.pres.push_str(text);
    if !is_busybox {
        write_python_files(text, &mut reading.written);
        return Ok(());
    }
    write_files(text, &mut reading.written);
    match failure(text) {
        Some(why) if reading.source.strict => {
            Err(Stop::Dialog(format!("%pre: the script has failed: {why}")))
        }
        _ => Ok(()),
    }
}

fn include(
    reading: &mut Reading<'_>,
    command: &Command,
    from: &str,
    findings: &mut Findings,
) -> Result<(), Stop> {
    let [_, target, extra @ ..] = command.words.as_slice() else {
        return Err(Stop::Dialog(format!("{}: no file was given", command.name())));
    };
    for word in extra {
        findings.warn(format!("{}: unknown argument \"{}\"", command.name(), shown(word)));
    }
    let target = target.strip_prefix("file://").unwrap_or(target);
    if is_unknown(target) {
        reading.is_opaque = true;
        return Ok(());
    }
    if target.contains("://") {
        return Err(Stop::Dialog(format!("include: cannot fetch {target}: there is no network")));
    }
    if let Some(path) = on_medium(target, from) {
        return match reading.source.files.get(&path) {
            None => Err(Stop::Wants(path)),
            Some(Some(bytes)) => read_file(reading, bytes, &path, findings),
            Some(None) => Err(cannot_open(target)),
        };
    }
    let path = format!("/{}", target.trim_start_matches('/'));
    match reading.written.get(&path).cloned() {
        Some(text) => read_file(reading, text.as_bytes(), &path, findings),
        None if reading.pres.contains(target) => {
            // A script names the file and does not say what it writes.
            reading.is_opaque = true;
            Ok(())
        }
        None => Err(cannot_open(target)),
    }
}

fn cannot_open(target: &str) -> Stop {
    Stop::Dialog(format!("include: cannot open the file {}", shown(target)))
}

/// The path on the kickstart's medium that is meant, if one is.
fn on_medium(target: &str, from: &str) -> Option<String> {
    if let Some(name) = target.strip_prefix("./") {
        let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
        return Some(format!("{directory}/{name}"));
    }
    let (_, path) = target.strip_prefix(VOLUMES)?.split_once('/')?;
    Some(format!("/{path}"))
}
