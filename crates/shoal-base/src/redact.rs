//! What is hidden of a text before anything shows or keeps it: secrets in the URLs that operators give.
//!
//! BMCs quote the URLs that they were handed in their errors, whole, decoded or in parts. Pure. Invariants: a secret of a known URL is hidden wherever and
//! however it is spelt; of an unknown URL the userinfo and the values of its query are hidden.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use url::Url;

const HIDDEN: &str = "(hidden)";
/// Shorter words are hidden only where they stand in a URL: they would be found in any text.
const PASSWORD_CHARS_MIN: usize = 4;
const VALUE_CHARS_MIN: usize = 6;
/// What JavaScript's `encodeURIComponent` leaves as it is.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// The secrets of some URLs, in every spelling. It cannot be printed.
#[derive(Clone, Default)]
pub struct UrlSecrets {
    /// The longest first, so that no part of one is left behind.
    words: Vec<String>,
}

impl UrlSecrets {
    /// Of passwords, a user name without a password, and the values of queries.
    pub fn of<'a>(urls: impl IntoIterator<Item = &'a Url>) -> UrlSecrets {
        let mut words: Vec<String> = urls.into_iter().flat_map(words_of).collect();
        words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        words.dedup();
        UrlSecrets { words }
    }

    /// These and others.
    pub fn and(mut self, other: &UrlSecrets) -> UrlSecrets {
        self.words.extend(other.words.iter().cloned());
        self.words.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        self.words.dedup();
        self
    }

    /// `text` fit to be shown.
    pub fn hide(&self, text: &str) -> String {
        hide_url_secrets(&hide_media_tokens(&self.hide_known(text)))
    }

    /// The secrets themselves, the longest first, for texts that are redacted elsewhere.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    fn hide_known(&self, text: &str) -> String {
        let found = self.words().filter(|word| text.contains(word));
        found.fold(text.to_owned(), |shown, word| shown.replace(word, HIDDEN))
    }

    /// Every text within `value`.
    pub fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.hide(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.hide_in(value)),
            Value::Object(object) => object.values_mut().for_each(|value| self.hide_in(value)),
            _ => {}
        }
    }
}

impl fmt::Debug for UrlSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlSecrets({}, hidden)", self.words.len())
    }
}

fn words_of(url: &Url) -> Vec<String> {
    let mut words = Vec::new();
    let (user, password) = (url.username(), url.password().unwrap_or_default());
    // A token is given as a user without a password (GitHub, GitLab, Artifactory).
    let secret = if password.is_empty() { user } else { password };
    words.extend(spellings(secret, PASSWORD_CHARS_MIN));
    if !user.is_empty() {
        let login = format!("{}:{}", decoded(user), decoded(password));
        words.push(STANDARD.encode(login));
    }
    for pair in url.query().unwrap_or_default().split('&') {
        let value = pair.split_once('=').map_or(pair, |(_, value)| value);
        words.extend(spellings(value, VALUE_CHARS_MIN));
    }
    words
}

/// A part of a URL as it stands there, decoded, and encoded otherwise.
fn spellings(part: &str, chars_min: usize) -> Vec<String> {
    let plain = decoded(part);
    if plain.chars().count() < chars_min {
        return Vec::new();
    }
    let mut spellings = vec![part.to_owned(), plain.replace('+', " "), json_escaped(&plain)];
    for set in [CONTROLS, COMPONENT, NON_ALPHANUMERIC] {
        let encoded = utf8_percent_encode(&plain, set).to_string();
        spellings.push(lower_hex(&encoded));
        spellings.push(utf8_percent_encode(&encoded, COMPONENT).to_string());
        spellings.push(encoded);
    }
    spellings.extend([lower_hex(part), plain]);
    spellings
}

fn decoded(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// As it stands in a JSON text within a text.
fn json_escaped(plain: &str) -> String {
    let quoted = Value::from(plain).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// `%2F` as `%2f`.
fn lower_hex(encoded: &str) -> String {
    let mut shown = String::with_capacity(encoded.len());
    let mut digits = 0;
    for c in encoded.chars() {
        shown.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
        digits = if c == '%' { 2 } else { usize::saturating_sub(digits, 1) };
    }
    shown
}

/// `text` with the userinfo and the query's values of every URL in it hidden. URLs may be written with an
/// encoded (`%3A%2F%2F`) or escaped (`:\/\/`) scheme.
pub fn hide_url_secrets(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = scheme_end(rest) {
        shown.push_str(&rest[..start]);
        shown.push_str(&rest[start..end]);
        let url_len = rest[end..].find(ends_url).unwrap_or(rest.len() - end);
        shown.push_str(&hide_after_scheme(&rest[end..end + url_len]));
        rest = &rest[end + url_len..];
    }
    shown.push_str(rest);
    shown
}

/// `text` with the token of every media URL in it hidden. BMCs quote the URL that they were given in
/// their error messages, and those are shown to operators.
///
/// A media URL names a job's 32 hex digits, a dot, and the token's hex digits, in any case and
/// possibly cut short.
pub fn hide_media_tokens(text: &str) -> String {
    const JOB_DIGITS: usize = 32;
    let mut shown = String::with_capacity(text.len());
    let mut digits = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        shown.push(c);
        let after_job = c == '.' && digits >= JOB_DIGITS;
        digits = if c.is_ascii_hexdigit() { digits + 1 } else { 0 };
        if after_job && chars.peek().is_some_and(char::is_ascii_hexdigit) {
            while chars.next_if(char::is_ascii_hexdigit).is_some() {}
            shown.push_str("(hidden)");
        }
    }
    shown
}

/// Where `://` stands, in any spelling.
fn scheme_end(text: &str) -> Option<(usize, usize)> {
    const SPELLINGS: [&str; 5] = ["://", ":\\/\\/", "%3A%2F%2F", "%3a%2f%2f", "%253A%252F%252F"];
    let found = SPELLINGS.iter().filter_map(|mark| text.find(mark).map(|start| (start, start + mark.len())));
    found.min()
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | '`' | '|' | '^' | '{' | '}')
}

/// What follows the scheme, without userinfo and values.
fn hide_after_scheme(url: &str) -> String {
    let at = ["@", "%40"].into_iter().filter_map(|mark| Some((url.rfind(mark)?, mark))).max();
    let query = ["?", "%3F", "%3f"].into_iter().filter_map(|mark| Some((url.find(mark)?, mark))).min();
    let (mut shown, mut rest) = (String::new(), 0);
    if let Some((start, mark)) = at {
        // An `@` in a value, or a `?` in a password that was decoded: it is unknown which.
        if query.is_some_and(|(query, _)| query < start) {
            return HIDDEN.to_owned();
        }
        (shown, rest) = (HIDDEN.to_owned() + mark, start + mark.len());
    }
    match query {
        Some((start, mark)) => {
            let (path, pairs) = (&url[rest..start], &url[start + mark.len()..]);
            format!("{shown}{path}{mark}{}", hide_values(pairs))
        }
        None => shown + &url[rest..],
    }
}

/// `a=(hidden)&b=(hidden)`, whatever follows.
fn hide_values(pairs: &str) -> String {
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    pairs.split('&').map(hide).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_media_urls_are_hidden_wherever_a_bmc_quotes_them() {
        let (job, token) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        let text = format!("cannot fetch 'http://h/media/tasks/{job}.{token}/task.iso', cut: {job}.FEDC");
        let shown =
            format!("cannot fetch 'http://h/media/tasks/{job}.(hidden)/task.iso', cut: {job}.(hidden)");
        assert_eq!(hide_media_tokens(&text), shown);
        for harmless in ["", "1.5 s", "ESXi 8.0.3", job, "deadbeef.cafe"] {
            assert_eq!(hide_media_tokens(harmless), harmless);
        }
    }

    /// Issue 15, kind 25.
    #[test]
    fn a_secret_of_a_known_url_is_hidden_however_a_bmc_spells_it() {
        let url =
            "https://svc:hunter2%2F%40%20%22x@images.example/esxi.iso?sig=c2Vj%2BcmV0&v=8&expires=later1"
                .parse();
        let secrets = UrlSecrets::of([&url.unwrap()]);
        let canaries = ["hunter2", "c2Vj", "later1"];
        for said in [
            "cannot fetch https://svc:hunter2%2F%40%20%22x@images.example/esxi.iso?sig=c2Vj%2BcmV0&v=8&expires=later1",
            "cannot fetch 'https://svc:hunter2/@ \"x@images.example/esxi.iso?sig=c2Vj+cmV0&v=8&expires=later1'",
            "password hunter2/@ \"x is wrong, signature c2Vj+cmV0 expired later1",
            "password hunter2%2f%40%20%22x, signature c2Vj%2bcmV0",
            "password hunter2%252F%2540%2520%2522x, signature c2Vj%252BcmV0",
            r#"{"password":"hunter2/@ \"x","sig":"c2Vj+cmV0","expires":"later1"}"#,
            "GET /esxi.iso?sig=c2Vj cmV0 for svc",
        ] {
            let shown = secrets.hide(said);
            let found: Vec<&str> = canaries.into_iter().filter(|canary| shown.contains(canary)).collect();
            assert!(found.is_empty(), "{found:?} in {shown}");
            assert!(shown.contains(HIDDEN), "{shown}");
        }
        let login = STANDARD.encode("svc:hunter2/@ \"x");
        assert_eq!(secrets.hide(&format!("Basic {login}")), "Basic (hidden)");
        assert_eq!(secrets.hide("ESXi 8 of images.example by svc"), "ESXi 8 of images.example by svc");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn a_token_in_the_place_of_the_user_is_a_secret_and_a_user_is_none() {
        let secrets = |url: &str| UrlSecrets::of([&url.parse().unwrap()]);
        assert_eq!(secrets("https://ghp_0123@h/x").hide("token ghp_0123"), "token (hidden)");
        assert_eq!(secrets("https://root:hunter2@h/x").hide("root logs in"), "root logs in");
        assert_eq!(secrets("https://h/x?v=8").hide("version 8"), "version 8");
    }

    #[test]
    fn userinfo_and_values_of_any_url_are_hidden() {
        for (text, shown) in [
            ("https://u:p@h/x", "https://(hidden)@h/x"),
            ("https://u@h:8443/x.iso, then", "https://(hidden)@h:8443/x.iso, then"),
            ("'nfs://u:p/w@h/x' and ftp://a:b@c", "'nfs://(hidden)@h/x' and ftp://(hidden)@c"),
            ("https://h/x?sig=abc&v=8 ended", "https://h/x?sig=(hidden)&v=(hidden) ended"),
            ("https://h/x?abc", "https://h/x?(hidden)"),
            ("https://u:p@h/x?sig=abc", "https://(hidden)@h/x?sig=(hidden)"),
            ("https://u:p?w@h/x", "https://(hidden)"),
            ("https://h/x?mail=a@b", "https://(hidden)"),
            ("https%3A%2F%2Fu%3Ap%40h%2Fx%3Fsig=abc", "https%3A%2F%2F(hidden)%40h%2Fx%3Fsig=(hidden)"),
            (r"https:\/\/u:p@h\/x?sig=abc", r"https:\/\/(hidden)@h\/x?sig=(hidden)"),
            ("a@b.example has no scheme, nor has x?y=z", "a@b.example has no scheme, nor has x?y=z"),
            ("https://h/x is plain", "https://h/x is plain"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(hide_url_secrets(text), shown);
            assert_eq!(hide_url_secrets(shown), shown, "again");
        }
    }

    #[test]
    fn texts_within_json_are_hidden_too() {
        let secrets = UrlSecrets::of([&"https://u:hunter2@h/".parse().unwrap()]);
        let mut value = serde_json::json!({"a": ["hunter2", 7, {"b": "https://x:y@h"}], "c": null});
        secrets.hide_in(&mut value);
        assert_eq!(value, serde_json::json!({"a": [HIDDEN, 7, {"b": "https://(hidden)@h"}], "c": null}));
    }
}
