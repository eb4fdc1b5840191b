//! `%post` as it is seen from outside: files read of the medium, URLs called, the power switched.
//!
//! It is no shell: what else a script does goes by unseen, but for an end that is known to be an error. The medium that held the kickstart is still
//! mounted then, and its file system keeps the directories that it has read, so a file costs the
//! reads of its own extent. Invariant: the acts of a script happen in its order, each once.

use std::collections::VecDeque;
use std::time::Duration;

use super::fat::{FatError, FatVolume};
use super::kickstart::PostSection;
use super::reader::{DriveReader, ReaderLook};
use super::shell::{ShellCommand, commands};
use super::{GuestNeed, ReadAnswer, ReadRequest, Software};
use crate::machine::{DriveKind, Machine};
use shoal_image::iso::{IsoError, PartialImage, TreeKind, Volume};

/// More than any `%post` has a use for.
const ACTS_MAX: usize = 64;
/// A small file: what is asked for is whether it is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Every mounted volume, as a shell on ESXi names it.
const VOLUMES: &str = "/vmfs/volumes/*/";

/// The file beside a kickstart that its hook reads.
const NONCE: &str = "/NONCE.TXT";

/// A request that the guest sends into its network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookCall {
    /// Of the act in its script, so that a call is not taken for the same one made again.
    pub number: usize,
    pub url: String,
    /// A POST of it; else a GET.
    pub body: Option<String>,
    /// The body says that it is JSON.
    pub is_json: bool,
    /// For the header that holds the secret of a report.
    pub secret: Option<String>,
    /// It is on its way for so long, and its sender goes on.
    pub late: Option<Duration>,
    /// It succeeds if this is the SHA-256 of the answer's body, lower-case hex.
    pub sha256: Option<String>,
}

/// What became of a [`HookCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd {
    Accepted,
    /// By an answer that the same call would get again.
    Refused,
    /// No answer, or that of a server in trouble.
    Lost,
}

/// Something that is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ScriptAct {
    what: What,
    /// Left out unless the act before it failed.
    after_failure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// The path on whatever volume has it.
    Read {
        path: String,
    },
    Call {
        url: String,
        body: Option<String>,
    },
    PowerOff,
    Reboot,
    /// The script is over, with an error that is known of its text.
    Fail {
        why: String,
    },
    /// The script is over; its last command may have failed.
    End,
}

/// The medium that the installer has left mounted.
#[derive(Debug)]
pub struct Mounted {
    pub files: FileSystem,
    pub insertion: u64,
}

/// A drive's medium by its files, and what has been read of it.
#[derive(Debug)]
pub struct FileSystem {
    kind: DriveKind,
    reader: DriveReader,
}

impl FileSystem {
    pub fn new(kind: DriveKind, drive: usize) -> FileSystem {
        let reader = match kind {
            DriveKind::Cd => DriveReader::new(drive),
            DriveKind::Usb => DriveReader::of_disk(drive),
        };
        FileSystem { kind, reader }
    }

    pub fn drive(&self) -> usize {
        self.reader.drive
    }

    /// The file, `None` where it is not there, or why the medium cannot be mounted.
    pub fn read(&mut self, path: &str) -> ReaderLook<Result<Option<Vec<u8>>, String>> {
        match self.kind {
            DriveKind::Cd => self.reader.look(|image| read_of_cd(image, path)),
            DriveKind::Usb => self.reader.look(|image| read_of_stick(image, path)),
        }
    }

    pub fn answer(&mut self, answer: ReadAnswer) {
        self.reader.answer(answer);
    }
}

/// What `%post` wants next.
#[derive(Debug)]
pub enum PostLook {
    Need(GuestNeed),
    PowerOff,
    Reboot,
    /// A script that must not fail has failed.
    Failed(String),
    Over,
}

/// All `%post` sections of a kickstart, on their way.
#[derive(Debug, Default)]
pub struct Post {
    acts: VecDeque<ScriptAct>,
    /// `%pre` copies the medium, and has not done so yet.
    is_copying: bool,
    mounted: Option<Mounted>,
    /// The last act that was tried has failed.
    failed: bool,
    /// Acts that are over.
    done: usize,
}

impl Post {
    /// The sections in the order of the kickstart.
    pub fn new(sections: &[PostSection]) -> Post {
        let acts = sections.iter().flat_map(section_acts).take(ACTS_MAX).collect();
        Post { acts, ..Post::default() }
    }

    /// The medium that holds the kickstart; `copies`: its `%pre` copies that.
    pub fn mount(&mut self, mounted: Option<Mounted>, copies: bool) {
        self.mounted = mounted;
        self.is_copying = copies;
    }

    /// What the copy by `%pre` still reads: the kickstart's own file has been read already.
    pub fn copy_medium(&mut self, machine: &Machine, software: &Software) -> Option<ReadRequest> {
        if std::mem::take(&mut self.is_copying)
            && let ReaderLook::Need(request) = read(&mut self.mounted, NONCE, machine, software)
        {
            self.is_copying = true;
            return Some(request);
        }
        None
    }

    pub fn look(&mut self, machine: &Machine, software: &Software) -> PostLook {
        if software.post_skipped {
            return PostLook::Over;
        }
        while let Some(act) = self.acts.front() {
            if act.after_failure && !self.failed {
                self.acts.pop_front();
                continue;
            }
            let succeeded = match &act.what {
                What::Read { path } => match read(&mut self.mounted, path, machine, software) {
                    ReaderLook::Need(request) => return PostLook::Need(GuestNeed::Read(request)),
                    ReaderLook::Done(found) => found,
                },
                What::Call { url, body } if !software.no_network => {
                    let (url, body) = (url.clone(), body.clone());
                    let number = self.done;
                    let call = HookCall {
                        number,
                        url,
                        body,
                        is_json: false,
                        secret: None,
                        late: None,
                        sha256: None,
                    };
                    return PostLook::Need(GuestNeed::Call(call));
                }
                What::Fail { why } => return PostLook::Failed(why.clone()),
                What::End if self.failed => {
                    return PostLook::Failed("its last command has failed".to_owned());
                }
                What::End => true,
                What::PowerOff if !software.hook_fails => return PostLook::PowerOff,
                What::Reboot => return PostLook::Reboot,
                What::Call { .. } | What::PowerOff => false,
            };
            self.end_act(succeeded);
        }
        PostLook::Over
    }

    /// What the drive said to the last [`GuestNeed::Read`].
    pub fn answer(&mut self, answer: ReadAnswer) {
        if let Some(mounted) = &mut self.mounted {
            mounted.files.answer(answer);
        }
    }

    /// What became of the last [`GuestNeed::Call`].
    pub fn end_call(&mut self, end: CallEnd) {
        if matches!(self.acts.front(), Some(ScriptAct { what: What::Call { .. }, .. })) {
            self.end_act(end == CallEnd::Accepted);
        }
    }

    fn end_act(&mut self, succeeded: bool) {
        self.failed = !succeeded;
        self.done += 1;
        self.acts.pop_front();
    }
}

/// Whether the mounted medium gives the whole file.
fn read(
    mounted: &mut Option<Mounted>,
    path: &str,
    machine: &Machine,
    software: &Software,
) -> ReaderLook<bool> {
    let Some(Mounted { files, insertion }) = mounted.as_mut().filter(|_| !software.post_cannot_read) else {
        return ReaderLook::Done(false);
    };
    if machine.medium(files.drive()).map(|medium| medium.insertion) != Some(*insertion) {
        return ReaderLook::Done(false);
    }
    match files.read(path) {
        ReaderLook::Need(request) => ReaderLook::Need(request),
        ReaderLook::Done(result) => ReaderLook::Done(result.is_ok_and(|file| file.is_some())),
    }
}

/// A file by its exact plain ISO 9660 name, as the vmkernel's CD file system sees it.
fn read_of_cd(image: &PartialImage, path: &str) -> Result<Option<Vec<u8>>, IsoError> {
    let volume = Volume::open(image)?;
    let found = volume.find_exact(image, TreeKind::Primary, path)?.filter(|entry| !entry.is_dir);
    found.map(|entry| volume.read(image, &entry, FILE_BYTES_MAX)).transpose()
}

fn read_of_stick(image: &PartialImage, path: &str) -> Result<Option<Vec<u8>>, FatError> {
    FatVolume::open(image)?.read(image, path)
}

/// What of a section is seen from outside, its end included where it must not fail.
fn section_acts(section: &PostSection) -> Vec<ScriptAct> {
    let mut acts = acts(&section.text);
    let always = |what| ScriptAct { what, after_failure: false };
    let last = commands(&section.text).pop();
    let ends_with_act = last.is_some_and(|command| command.depth == 0 && !seen(&command).is_empty());
    match &section.failure {
        Some(why) => acts.push(always(What::Fail { why: why.clone() })),
        None if section.must_succeed && ends_with_act => acts.push(always(What::End)),
        None => {}
    }
    acts
}

fn acts(section: &str) -> Vec<ScriptAct> {
    let mut acts = vec![];
    // Whether the command before this one was an act, so that its failure is known.
    let mut known = false;
    for command in commands(section) {
        let before = acts.len();
        let whats = seen(&command);
        let after_failure = command.after_failure && known;
        acts.extend(whats.into_iter().map(|what| ScriptAct { what, after_failure }));
        known = acts.len() > before;
    }
    acts
}

fn seen(command: &ShellCommand) -> Vec<What> {
    match command.program() {
        "cat" | "head" | "tail" | "cp" | "dd" | "md5sum" | "sha1sum" | "sha256sum" | "wc" => {
            let words = command.words.iter().flat_map(|word| word.split_whitespace());
            let paths = words.filter_map(|word| word.trim_start_matches("if=").strip_prefix(VOLUMES));
            let read = |path: &str| What::Read { path: format!("/{path}") };
            paths.filter(|path| !path.contains('*')).map(read).collect()
        }
        "wget" | "curl" | "python" | "python2" | "python3" => {
            let is_url = |word: &&String| word.starts_with("http://") || word.starts_with("https://");
            let call = |url: &String| What::Call { url: url.clone(), body: body(command) };
            command.words.iter().find(is_url).map(call).into_iter().collect()
        }
        "poweroff" | "halt" => vec![What::PowerOff],
        "reboot" => vec![What::Reboot],
        "esxcli" | "localcli" => system_shutdown(&command.words).into_iter().collect(),
        _ => vec![],
    }
}

/// `esxcli system shutdown poweroff|reboot`, with esxcli's own options before it.
fn system_shutdown(words: &[String]) -> Option<What> {
    let at = words.windows(2).position(|pair| pair == ["system", "shutdown"])?;
    match words.get(at + 2)?.as_str() {
        "poweroff" => Some(What::PowerOff),
        "reboot" => Some(What::Reboot),
        _ => None,
    }
}

/// What a call sends: of Python the first literal of bytes in its code, of the others their option.
fn body(command: &ShellCommand) -> Option<String> {
    let mut words = command.words.iter();
    if command.program().starts_with("python") {
        return words.find_map(|code| bytes_literal(code));
    }
    words
        .find_map(|word| word.strip_prefix("--post-data=").or(word.strip_prefix("--data=")))
        .map(str::to_owned)
}

/// The content of the first `b"…"` or `b'…'`.
fn bytes_literal(code: &str) -> Option<String> {
    let start = code.find("b\"").into_iter().chain(code.find("b'")).min()?;
    let mut chars = code[start + 1..].chars();
    let quote = chars.next()?;
    let mut content = String::new();
    loop {
        match chars.next()? {
            '\\' => content.extend(chars.next()),
            end if end == quote => return Some(content),
            other => content.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(section: &str, expected: &[&str]) {
        let shown = |act: ScriptAct| {
            let fallback = if act.after_failure { "else " } else { "" };
            let what = match act.what {
                What::Read { path } => format!("read {path}"),
                What::Call { url, body: None } => format!("GET {url}"),
                What::Call { url, body: Some(body) } => format!("POST {url} {body}"),
                What::PowerOff => "off".to_owned(),
                What::Reboot => "reboot".to_owned(),
                What::Fail { why } => format!("fail {why}"),
                What::End => "end".to_owned(),
            };
            format!("{fallback}{what}")
        };
        assert_eq!(acts(section).into_iter().map(shown).collect::<Vec<_>>(), expected, "{section}");
    }

    #[test]
    fn a_hook_that_powers_off_reads_its_nonce_first() {
        check(
            "# Added.\nfor nonce in /vmfs/volumes/*/NONCE.TXT; do cat \"$nonce\" >/dev/null 2>&1; done\n\
             /bin/poweroff -n || /bin/poweroff -f || /bin/halt\n",
            &["read /NONCE.TXT", "off", "else off", "else off"],
        );
    }

    #[test]
    fn a_hook_that_calls_does_so_by_python_or_else_by_wget() {
        check(
            "url='http://c.test/api/v1/status-webhook/S/T'\n\
             localcli network firewall set --enabled false >/dev/null 2>&1\n\
             python -c 'import urllib.request as r; r.urlopen(sys.argv[1], b\"{}\", 30)' \"$url\" >/dev/null 2>&1 || \
             wget -q -T 30 -O /dev/null \"$url\" >/dev/null 2>&1\n\
             localcli network firewall set --enabled true >/dev/null 2>&1\n",
            &[
                "POST http://c.test/api/v1/status-webhook/S/T {}",
                "else GET http://c.test/api/v1/status-webhook/S/T",
            ],
        );
    }

    #[test]
    fn the_host_is_shut_down_by_any_of_its_programs() {
        check("esxcli --debug system shutdown poweroff --reason=done", &["off"]);
        check("/bin/localcli system shutdown reboot -r done", &["reboot"]);
        check("esxcli system version get; esxcli system shutdown", &[]);
        check("busybox halt -f", &["off"]);
    }

    #[test]
    fn what_is_not_seen_is_no_act() {
        check("echo poweroff # halt\nls /vmfs/volumes/*/A\ncat /vmfs/volumes/ds/A", &[]);
        check("cat > /etc/rc.local.d/local.sh <<EOF\nreboot\nEOF\n", &[]);
        // Whether `test` fails is not known, so the call is taken to happen.
        check("test -f /x || wget --post-data=a https://c.test/", &["POST https://c.test/ a"]);
    }

    #[test]
    fn a_literal_of_bytes_ends_where_python_ends_it() {
        assert_eq!(bytes_literal(r#"f(b"{\"a\": 1}", b'x')"#).as_deref(), Some(r#"{"a": 1}"#));
        assert_eq!(bytes_literal("f(b'\"')").as_deref(), Some("\""));
        for code in ["f(x)", "b\"", "b'\\"] {
            assert_eq!(bytes_literal(code), None);
        }
    }
}
