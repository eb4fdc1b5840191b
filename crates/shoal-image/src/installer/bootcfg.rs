//! BOOT.CFG as ESXi's boot loader reads it, and the one change that we make to it.
//!
//! The grammar is that of vmware/esx-boot (`bootlib/parse.c` and `mboot/config.c`, the same from
//! 7.0.3 to 9.0): lines end with LF; runs of white space count as one blank, at the ends as none;
//! a line that starts with `#` is a comment; the first `=` splits; a NUL ends a line; a key may be
//! shortened and has no case; the first option in the loader's table that fits is meant; a later
//! line takes the place of an earlier one, and an empty value unsets. Invariant: the changed file
//! means to the loader what the original meant, but for `kernelopt` and, if it must, `title`.

use super::KickstartOn;

/// The loader's options, in the order of its table. Those left out stand behind these, so a
/// shortened key that fits one of these never means one of them.
const OPTIONS: [(&str, Key); 5] = [
    ("kernel", Key::Kernel),
    ("kernelopt", Key::KernelOpt),
    ("modules", Key::Modules),
    ("title", Key::Title),
    ("prefix", Key::Prefix),
];
/// `ESXBOOTINFO_MAXCMDLINE` of mboot/esxbootinfo.c: kernel path, options and the final NUL.
const COMMAND_LINE_BYTES_MAX: usize = 4096;
/// What a title may be cut down to.
const SHORT_TITLE: &[u8] = b"ESXi";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Kernel,
    KernelOpt,
    Modules,
    Title,
    Prefix,
    /// Not the loader's, but ESXi's own: the version and build of the image.
    Build,
}

/// The settings of a boot file. `None` is a key that is not there, or that was unset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootConfig {
    pub kernel: Option<String>,
    /// `Some("")` where a line has the key but no value.
    pub kernelopt: Option<String>,
    /// File names, without their options.
    pub modules: Option<Vec<String>>,
    pub title: Option<String>,
    pub prefix: Option<String>,
    pub build: Option<String>,
}

/// Why a boot file cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootConfigError {
    #[error("it has no kernelopt= line")]
    NoOptions,
    #[error("a quote in its kernelopt= is not closed")]
    OpenQuote,
    #[error(
        "with the kickstart option the kernel's command line has {bytes} bytes; the boot loader takes {COMMAND_LINE_BYTES_MAX}"
    )]
    CommandLine { bytes: usize },
    #[error("the change would alter another of its settings")]
    OtherSetting,
}

/// What the boot loader makes of these bytes.
pub fn parse_boot_config(bytes: &[u8]) -> BootConfig {
    let mut config = BootConfig::default();
    for line in lines(bytes) {
        let Some((key, value)) = setting(line.text) else { continue };
        let value = String::from_utf8_lossy(&value).into_owned();
        let text = Some(value.clone()).filter(|value| !value.is_empty());
        match key {
            Key::Kernel => config.kernel = text,
            Key::KernelOpt => config.kernelopt = Some(value),
            Key::Modules => config.modules = text.map(|list| module_names(&list)),
            Key::Title => config.title = text,
            Key::Prefix => config.prefix = text,
            Key::Build => config.build = text,
        }
    }
    config
}

/// The value of the last `ks=` option, which is the one that the installer obeys.
pub fn kickstart_of(kernelopt: &str) -> Option<String> {
    let tokens = split_options(kernelopt.as_bytes())?;
    let last = tokens.into_iter().rfind(|token| token.meaning.starts_with(b"ks="))?;
    Some(String::from_utf8_lossy(&last.meaning[3..]).into_owned())
}

/// Whether `cdromBoot` is among the options.
pub fn has_cdrom_boot(kernelopt: &str) -> bool {
    split_options(kernelopt.as_bytes()).is_some_and(|tokens| tokens.iter().any(Token::is_cdrom_boot))
}

/// The boot file with the option that finds the kickstart there as its only `ks=`, and without
/// `cdromBoot`.
pub fn set_kickstart(bytes: &[u8], on: KickstartOn) -> Result<Vec<u8>, BootConfigError> {
    let (line, value) = last_setting(bytes, Key::KernelOpt).ok_or(BootConfigError::NoOptions)?;
    let options = kickstart_options(&value, on).ok_or(BootConfigError::OpenQuote)?;
    let edited = replace_value(bytes, line, &options);
    check_edit(bytes, &edited, &options)?;
    Ok(edited)
}

/// The same settings in exactly `len` bytes: padded with blanks, the title cut down if need be.
/// `None` where that is not enough.
pub fn fit(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let missing = |bytes: &[u8]| len.checked_sub(bytes.len());
    if missing(bytes) == Some(0) {
        return Some(bytes.to_vec());
    }
    let Some((line, value)) = last_setting(bytes, Key::Title) else {
        let mut padded = bytes.to_vec();
        padded.resize(padded.len() + missing(bytes)?, b' ');
        return Some(padded);
    };
    let shortest =
        if missing(bytes).is_none() && value.len() > SHORT_TITLE.len() { SHORT_TITLE } else { &value };
    let unpadded = replace_value(bytes, line, shortest);
    let padding = missing(&unpadded)?;
    let mut title = shortest.to_vec();
    title.resize(title.len() + padding, b' ');
    Some(replace_value(bytes, line, &title))
}

/// A line without its LF, and where it starts.
#[derive(Clone, Copy)]
struct Line<'a> {
    start: usize,
    text: &'a [u8],
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    bytes.split(|byte| *byte == b'\n').scan(0, |next, text| {
        let start = *next;
        *next += text.len() + 1;
        Some(Line { start, text })
    })
}

/// The line that decides about this key, and its value.
fn last_setting(bytes: &[u8], wanted: Key) -> Option<(Line<'_>, Vec<u8>)> {
    let settings = lines(bytes).filter_map(|line| {
        setting(line.text).filter(|(key, _)| *key == wanted).map(|(_, value)| (line, value))
    });
    settings.last()
}

/// Key and value of a line, white space merged.
fn setting(line: &[u8]) -> Option<(Key, Vec<u8>)> {
    let merged = merge_blanks(line);
    if merged.first() == Some(&b'#') {
        return None;
    }
    let equals = merged.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&merged[..equals], &merged[equals + 1..]);
    let is_short_for = |option: &str| {
        option.as_bytes().get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name))
    };
    let known = OPTIONS.iter().find(|(option, _)| is_short_for(option)).map(|(_, key)| *key);
    let key = known.or(name.eq_ignore_ascii_case(b"build").then_some(Key::Build))?;
    Some((key, value.trim_ascii_start().to_vec()))
}

fn merge_blanks(line: &[u8]) -> Vec<u8> {
    let text = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let words: Vec<&[u8]> = text.split(|byte| is_space(*byte)).filter(|word| !word.is_empty()).collect();
    words.join(&b' ')
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn module_names(list: &str) -> Vec<String> {
    let names = list.split("---").filter_map(|item| item.split_ascii_whitespace().next());
    names.map(str::to_owned).collect()
}

/// `bytes` with the value of one of its lines replaced. A CR at the line's end stays.
fn replace_value(bytes: &[u8], line: Line<'_>, value: &[u8]) -> Vec<u8> {
    let equals = line.text.iter().position(|byte| *byte == b'=').unwrap_or(line.text.len());
    let end = line.start + line.text.len() - usize::from(line.text.ends_with(b"\r"));
    let mut edited = bytes[..(line.start + equals + 1).min(end)].to_vec();
    edited.extend(value);
    edited.extend(&bytes[end..]);
    edited
}

/// Fails unless the edit means what it should, and the loader takes it.
fn check_edit(before: &[u8], after: &[u8], options: &[u8]) -> Result<(), BootConfigError> {
    let (before, after) = (parse_boot_config(before), parse_boot_config(after));
    let kernel_bytes = before.kernel.as_ref().map_or(0, String::len);
    let bytes = kernel_bytes + 1 + options.len() + 1;
    if bytes > COMMAND_LINE_BYTES_MAX {
        return Err(BootConfigError::CommandLine { bytes });
    }
    let wanted = BootConfig { kernelopt: Some(String::from_utf8_lossy(options).into_owned()), ..before };
    if after == wanted { Ok(()) } else { Err(BootConfigError::OtherSetting) }
}

/// An option as written, and as the installer's `shlex` understands it.
#[derive(Debug, PartialEq, Eq)]
struct Token {
    written: Vec<u8>,
    meaning: Vec<u8>,
}

impl Token {
    /// Installers match tokens with their case, and at their start. Which of them act on `cdromBoot`,
    /// and how strictly they compare it, is not known of every release, so any spelling of it goes.
    fn is_cdrom_boot(&self) -> bool {
        let name = self.meaning.split(|byte| *byte == b'=').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"cdromBoot")
    }
}

/// The options without `cdromBoot` and every `ks=`, and with ours at the end. `None` where a
/// quote is not closed.
fn kickstart_options(value: &[u8], on: KickstartOn) -> Option<Vec<u8>> {
    let is_kept = |token: &Token| !token.is_cdrom_boot() && !token.meaning.starts_with(b"ks=");
    let mut kept: Vec<Vec<u8>> =
        split_options(value)?.into_iter().filter(is_kept).map(|token| token.written).collect();
    kept.push(on.option().as_bytes().to_vec());
    Some(kept.join(&b' '))
}

/// Splits as POSIX shells do, which is how the installer reads its command line.
fn split_options(value: &[u8]) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut current: Option<Token> = None;
    let mut quote = None;
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if quote.is_none() && is_space(byte) {
            tokens.extend(current.take());
            continue;
        }
        let token = current.get_or_insert_with(|| Token { written: Vec::new(), meaning: Vec::new() });
        token.written.push(byte);
        match (byte, quote) {
            (b'\'' | b'"', None) => quote = Some(byte),
            (b'\'' | b'"', Some(open)) if open == byte => quote = None,
            (b'\\', None) => {
                let escaped = bytes.next()?;
                token.written.push(escaped);
                token.meaning.push(escaped);
            }
            (b'\\', Some(b'"')) if matches!(bytes.peek(), Some(b'"' | b'\\')) => {
                let escaped = bytes.next()?;
                token.written.push(escaped);
                token.meaning.push(escaped);
            }
            _ => token.meaning.push(byte),
        }
    }
    tokens.extend(current);
    quote.is_none().then_some(tokens)
}

#[cfg(test)]
mod tests;
