//! Secrets, wherever they must not be: logs, labels of metrics, events, reasons.
//!
//! Every secret of a sweep can be recognised by its form, so that nothing has to be compared with a
//! list. Invariant: [`find`] says which kind it found, and never the text around it alone.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing_subscriber::fmt::MakeWriter;

/// Every BMC password of a sweep begins so.
pub const PASSWORD: &str = "bmcpassword";
/// Every kickstart of a sweep holds a line with this word.
pub const KICKSTART: &str = "kickstartsecret";
/// The account on every BMC.
pub const USER: &str = "admin";

const KEPT_MAX: usize = 20;
const LABEL_CHARS_MAX: usize = 64;

/// How `admin:bmcpassword…` begins as Basic credentials.
static CREDENTIALS: LazyLock<String> = LazyLock::new(|| {
    let text = format!("{USER}:{PASSWORD}");
    base64::engine::general_purpose::STANDARD.encode(&text.as_bytes()[..text.len() / 3 * 3])
});

/// The kind of secret that a text holds.
pub fn find(text: &str) -> Option<&'static str> {
    if text.contains(PASSWORD) || text.contains(CREDENTIALS.as_str()) {
        Some("a BMC's password")
    } else if text.contains(KICKSTART) {
        Some("a part of a kickstart")
    } else if has_media_token(text.as_bytes()) {
        Some("a media token")
    } else if has_hook_token(text) {
        Some("a hook's token")
    } else {
        None
    }
}

/// `{32 hex digits}.{32 hex digits}`, as in the path of a medium.
fn has_media_token(text: &[u8]) -> bool {
    let is_hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
    let dots = text.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
    dots.into_iter().any(|at| {
        let (before, after) = (at.checked_sub(32).map(|from| &text[from..at]), text.get(at + 1..at + 33));
        before.is_some_and(is_hex) && after.is_some_and(is_hex)
    })
}

/// `status-webhook/{serial}/{32 hex digits}`.
fn has_hook_token(text: &str) -> bool {
    let calls = text.split("/status-webhook/").skip(1).filter_map(|rest| rest.split_once('/'));
    calls
        .into_iter()
        .any(|(_, token)| token.len() >= 32 && token.as_bytes()[..32].iter().all(u8::is_ascii_hexdigit))
}

/// Takes log lines and labels of metrics of one world, and keeps what must not be in them.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Vec<String>>>);

impl Watch {
    /// Watches the logs of this thread: all of them, or only what is an error in itself.
    pub fn logs(&self, everything: bool) -> tracing::subscriber::DefaultGuard {
        let level = if everything { tracing::Level::TRACE } else { tracing::Level::ERROR };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_max_level(level)
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn kept(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn keep(&self, line: String) {
        let mut kept = self.0.lock().unwrap();
        if kept.len() < KEPT_MAX {
            kept.push(line);
        }
    }

    fn look_at_labels(&self, key: &Key) {
        for label in key.labels() {
            if let Some(kind) = find(label.value()) {
                self.keep(format!("{kind} in a label of {}: {}", key.name(), label.value()));
            }
            if label.value().len() > LABEL_CHARS_MAX {
                self.keep(format!("a label of {} has no bound: {}", key.name(), label.value()));
            }
        }
    }
}

impl io::Write for Watch {
    /// One line of the log.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        // The simulator is no part of what is sold: its logs may say what it was sent.
        if !line.contains(" shoal_sim") {
            if let Some(kind) = find(&line) {
                self.keep(format!("{kind} in the log: {line}"));
            }
            if line.trim_start().starts_with("ERROR") {
                self.keep(format!("logged as an error: {line}"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Watch {
    type Writer = Watch;

    fn make_writer(&'a self) -> Watch {
        self.clone()
    }
}

impl Recorder for Watch {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.look_at_labels(key);
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.look_at_labels(key);
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.look_at_labels(key);
        Histogram::noop()
    }
}

#[test]
fn every_kind_of_secret_is_found() {
    let token = "0123456789abcdef".repeat(2);
    let secrets = [
        format!("tried {PASSWORD}-17 in vain"),
        format!("Authorization: Basic {}", CREDENTIALS.as_str()),
        format!("rootpw {KICKSTART}-1"),
        format!("GET /media/tasks/{token}.{token}/task.iso"),
        format!("POST http://c.test/api/v1/status-webhook/M1/{token}"),
    ];
    for text in secrets {
        assert!(find(&text).is_some(), "{text}");
    }
    assert_eq!(find(&format!("job {token}.iso of {token}")), None);
    let watch = Watch::default();
    {
        let _guard = watch.logs(true);
        tracing::debug!("a line with {KICKSTART}");
        tracing::error!("a line that says sorry");
        tracing::info!("a line");
    }
    watch.look_at_labels(&Key::from_parts("requests", &[("op", "system"), ("path", "/x")]));
    watch.look_at_labels(&Key::from_parts("requests", vec![metrics::Label::new("path", "x".repeat(200))]));
    assert_eq!(watch.kept().len(), 3, "{:?}", watch.kept());
}
