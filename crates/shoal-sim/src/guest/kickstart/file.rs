//! A kickstart as lines: commands, sections, and the files that it includes.
//!
//! Commands come before the first section. A section's header may be indented; a section ends only at
//! an unindented keyword, and not at one on the file's last line. `%pre` runs before the includes of
//! its file, which may be what it has written. Invariant: at most [`INCLUDES_MAX`] files are read.

use super::options::{CommandOptions, is_unknown, shown};
use super::words::words;
use super::{KickstartCommand, KickstartFindings, KickstartSource};
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
pub enum ParseStop {
    Dialog(String),
    Wants(String),
}

impl From<String> for ParseStop {
    fn from(dialog: String) -> ParseStop {
        ParseStop::Dialog(dialog)
    }
}

/// A section that runs after the installation.
#[derive(Debug)]
pub struct FileSection {
    pub text: String,
    pub is_busybox: bool,
    pub ignores_failure: bool,
}

/// What has been read so far, of all files.
pub struct Reading<'a> {
    source: &'a KickstartSource<'a>,
    pub commands: Vec<KickstartCommand>,
    pub posts: Vec<FileSection>,
    /// What every `%pre` has written.
    written: FileContent,
    /// The text of every `%pre`.
    pres: String,
    files: usize,
    /// A file was included of which not everything is known.
    pub is_opaque: bool,
}

impl<'a> Reading<'a> {
    pub fn new(source: &'a KickstartSource<'a>) -> Reading<'a> {
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
enum FilePiece {
    Command(KickstartCommand),
    Section { header: Vec<String>, text: String },
}

/// Reads one file, and whatever it includes.
pub fn read_file(
    reading: &mut Reading<'_>,
    bytes: &[u8],
    path: &str,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    reading.files += 1;
    if reading.files > INCLUDES_MAX {
        return Err(ParseStop::Dialog("include: too many files are included".to_owned()));
    }
    let text = match std::str::from_utf8(bytes) {
        Err(error) if reading.source.strict => {
            let at = error.valid_up_to();
            return Err(ParseStop::Dialog(format!("{path} cannot be decoded as UTF-8 at byte {at}")));
        }
        _ => String::from_utf8_lossy(bytes),
    };
    let mut commands = Vec::new();
    for piece in pieces(reading, &text.replace("\r\n", "\n"), findings)? {
        match piece {
            FilePiece::Command(command) => commands.push(command),
            FilePiece::Section { header, text } => take_section(reading, &header, text, findings)?,
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

/// The commands and sections of one file, in its order.
fn pieces(
    reading: &mut Reading<'_>,
    text: &str,
    findings: &mut KickstartFindings,
) -> Result<Vec<FilePiece>, ParseStop> {
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
            section => {
                pieces.extend(section.take().map(|(header, text)| FilePiece::Section { header, text }))
            }
        }
        if line.trim_start().starts_with(UNKNOWN) {
            reading.is_opaque = true;
            continue;
        }
        let words = match words(line) {
            Err(reason) if reading.source.strict => {
                return Err(ParseStop::Dialog(format!("line {}: {reason}", index + 1)));
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
            pieces.push(FilePiece::Command(KickstartCommand { words }));
        }
    }
    pieces.extend(section.map(|(header, text)| FilePiece::Section { header, text }));
    Ok(pieces)
}

/// Runs a `%pre`, keeps a `%post` for after the install, and warns of sections that 6.7 does not know.
fn take_section(
    reading: &mut Reading<'_>,
    header: &[String],
    text: String,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    let name = header.first().map_or("", String::as_str);
    let known: &[&str] = match name {
        "%post" => &["--interpreter", "--timeout", "--ignorefailure"],
        "%pre" | "%firstboot" => &["--interpreter"],
        _ => {
            findings.warn(format!("{name} is not supported any more"));
            return Ok(());
        }
    };
    let options = CommandOptions::of(header, known, 0, findings);
    let is_busybox = match options.value("--interpreter") {
        Some("busybox") => true,
        Some("python") => false,
        Some(other) if reading.source.strict => {
            return Err(ParseStop::Dialog(format!("{name}: unknown interpreter \"{}\"", shown(other))));
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
            reading.posts.push(FileSection { text, is_busybox, ignores_failure });
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Runs a `%pre` as far as it can be known: the files that it writes, and whether it fails.
fn run_pre(reading: &mut Reading<'_>, text: &str, is_busybox: bool) -> Result<(), ParseStop> {
    reading.pres.push_str(text);
    if !is_busybox {
        write_python_files(text, &mut reading.written);
        return Ok(());
    }
    write_files(text, &mut reading.written);
    match failure(text) {
        Some(why) if reading.source.strict => {
            Err(ParseStop::Dialog(format!("%pre: the script has failed: {why}")))
        }
        _ => Ok(()),
    }
}

/// Reads the file that a command includes: from the medium, or from what a `%pre` has written. A file that a script
/// names and whose content is not known makes the kickstart opaque: nothing can be missing from it then.
fn include(
    reading: &mut Reading<'_>,
    command: &KickstartCommand,
    from: &str,
    findings: &mut KickstartFindings,
) -> Result<(), ParseStop> {
    let [_, target, extra @ ..] = command.words.as_slice() else {
        return Err(ParseStop::Dialog(format!("{}: no file was given", command.name())));
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
        return Err(ParseStop::Dialog(format!("include: cannot fetch {target}: there is no network")));
    }
    if let Some(path) = on_medium(target, from) {
        return match reading.source.files.get(&path) {
            None => Err(ParseStop::Wants(path)),
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

/// The dialog of a file that is not there.
fn cannot_open(target: &str) -> ParseStop {
    ParseStop::Dialog(format!("include: cannot open the file {}", shown(target)))
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
