//! The words and small parts that pages share: states, steps, times, durations, bars. Pure.
//!
//! Invariants: a state is a sign and a word, never a colour alone; times are UTC, written in full for programs and
//! short for people; a text that came from a BMC has no invisible characters left.

use jiff::Timestamp;
use maud::{Markup, html};
use shoal_base::visible;

use super::records::{DeadlineRecord, JobState};

/// What a job, a row or a host is doing, for a person who looks for a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    Failed,
    Attention,
    Running,
    Waiting,
    Good,
    Plain,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Look::Failed => "failed",
            Look::Attention => "attention",
            Look::Running => "running",
            Look::Waiting => "waiting",
            Look::Good => "good",
            Look::Plain => "plain",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Look::Failed => "✗",
            Look::Attention => "!",
            Look::Running => "▶",
            Look::Waiting => "…",
            Look::Good => "✓",
            Look::Plain => "–",
        }
    }
}

/// A table with these headings, which scrolls sideways where the screen is too narrow for it.
pub fn data_table(label: &str, headings: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(label) tabindex="0" {
            // The roles are said because a narrow screen shows some tables as lines, which takes them away.
            table role="table" {
                thead role="rowgroup" {
                    tr role="row" { @for heading in headings { th scope="col" role="columnheader" { (heading) } } }
                }
                tbody role="rowgroup" { (rows) }
            }
        }
    }
}

/// A state as a sign and a word.
pub fn badge(look: Look, word: &str) -> Markup {
    html! { span class={ "badge " (look.class()) } { span.sign aria-hidden="true" { (look.sign()) } " " (word) } }
}

/// How a job stands, in two words at most.
pub fn job_word(status: &str, confidence: Option<&str>, cleanup: &str) -> (Look, String) {
    match (status, confidence) {
        ("queued", _) => (Look::Waiting, "queued".to_owned()),
        ("provisioning", _) => (Look::Running, "installing".to_owned()),
        ("succeeded", Some(confidence @ "assumed")) => (Look::Attention, format!("succeeded, {confidence}")),
        ("succeeded", Some(confidence)) => (Look::Good, format!("succeeded, {confidence}")),
        ("failed", _) => (Look::Failed, "failed".to_owned()),
        ("cancelled", _) if cleanup == "partial" => (Look::Attention, "cancelled".to_owned()),
        ("cancelled", _) => (Look::Plain, "cancelled".to_owned()),
        (other, _) => (Look::Plain, other.to_owned()),
    }
}

/// Whether a person has to do something about this job.
pub fn needs_a_person(job: &JobState) -> bool {
    job.status == "failed" || job.cleanup == "partial"
}

/// A step in words.
pub fn step_word(step: &str) -> &str {
    match step {
        "validate-recipe" => "Check the recipe",
        "resolve-server" => "Identify the server",
        "build-task-iso" => "Build the media",
        "mount.maintenance" => "Insert CD1",
        "mount.task" => "Insert CD2",
        "boot.override" => "Set the one-time boot",
        "reset" => "Reset the host",
        "esxi.await_bmc" => "Wait for the BMC",
        "esxi.poll_power" => "Watch the installation",
        "await-webhook" => "Wait for the result",
        "cleanup.unmount-task" => "Eject CD2",
        "cleanup.unmount-maintenance" => "Eject CD1",
        "cleanup.reset" => "Start the installed system",
        other => other,
    }
}

/// What a deadline ends.
pub fn deadline_word(kind: &str) -> &str {
    match kind {
        "installer_read" => "the host must read the installer",
        "kickstart_read" => "the installer must read the kickstart",
        "installation_end" => "the installation must end",
        "recipe_read" => "the maintenance system must read the recipe",
        "result" => "the maintenance system must report",
        "media_eject" => "the media are ejected at the latest",
        other => other,
    }
}

/// How far a job is, in percent, and in words. An estimate over the steps: the bytes of the installer are the larger
/// part of it.
pub fn progress(job: &JobState) -> (u32, String) {
    let step = job.step.as_deref().unwrap_or_default();
    let share = |read: u64, total: u64, width: u64| {
        let share = read.min(total).checked_mul(width).and_then(|part| part.checked_div(total));
        u32::try_from(share.unwrap_or(0)).unwrap_or(0)
    };
    let is_watched = matches!(step, "esxi.await_bmc" | "esxi.poll_power");
    let read = &job.progress;
    match (&read.image, step) {
        (Some(image), "await-webhook") => {
            let (bytes, total) = (image.bytes.unwrap_or(0), image.total.unwrap_or(0));
            let word = image.step.clone().unwrap_or_else(|| "running".to_owned());
            let part = share(bytes, total, 100);
            (30 + share(bytes, total, 55), if total > 0 { format!("{word}, {part} %") } else { word })
        }
        _ if is_watched && read.ks_read => (80, "kickstart read".to_owned()),
        _ if is_watched && read.installer_bytes_total > 0 && read.installer_bytes_read > 0 => {
            let (bytes, total) = (read.installer_bytes_read, read.installer_bytes_total);
            (25 + share(bytes, total, 50), format!("{} % of CD1 read", share(bytes, total, 100)))
        }
        _ => (before_reads(step), step_word(step).to_owned()),
    }
}

fn before_reads(step: &str) -> u32 {
    let order = [
        ("validate-recipe", 1),
        ("resolve-server", 3),
        ("build-task-iso", 6),
        ("mount.maintenance", 10),
        ("mount.task", 14),
        ("boot.override", 18),
        ("reset", 21),
        ("esxi.await_bmc", 25),
        ("esxi.poll_power", 25),
        ("await-webhook", 25),
        ("cleanup.unmount-task", 92),
        ("cleanup.unmount-maintenance", 95),
        ("cleanup.reset", 98),
    ];
    order.iter().find(|(name, _)| *name == step).map_or(0, |(_, percent)| *percent)
}

/// Time as people read it, with the whole of it for programs.
pub fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime("%Y-%m-%d %H:%M:%S")) } }
}

/// The same without the date, where that is known from around it.
pub fn clock(at: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime("%H:%M:%S")) } }
}

/// `45 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) if minutes < 10 => format!("{minutes} min {} s", seconds % 60),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

pub fn seconds_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.as_second() - from.as_second()).unwrap_or(0)
}

/// The time that is left, counted on by the script.
pub fn time_left(deadline: &DeadlineRecord, now: Timestamp) -> Markup {
    let until = deadline.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let left = seconds_between(now, deadline.at);
    html! {
        time datetime=(until) data-until=(until) title=(deadline_word(&deadline.kind)) {
            @if left == 0 { "due" } @else { (duration(left - left % 60 * u64::from(left >= 600))) " left" }
        }
    }
}

/// `1.5 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A text that a BMC, a host or a file gave.
pub fn foreign(text: &str) -> String {
    visible(text).into_owned()
}

/// The first sentence or so of a long reason.
pub fn brief(text: &str) -> String {
    const CHARS_MAX: usize = 140;
    let text = foreign(text);
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_exact_enough() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (65, "1 min 5 s"),
            (600, "10 min"),
            (3_599, "59 min"),
            (7_300, "2 h 1 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!((bytes(512).as_str(), bytes(1_610_612_736).as_str()), ("512 B", "1.5 GiB"));
    }

    #[test]
    fn an_invisible_character_of_a_bmc_is_shown() {
        assert_eq!(foreign("iDRAC9"), "iDRAC9");
        assert!(!foreign("a\u{202e}b\u{1b}[2J").contains(['\u{202e}', '\u{1b}']));
        assert_eq!(brief(&"x".repeat(200)).chars().count(), 141);
    }

    #[test]
    fn a_state_is_a_word_and_only_a_weak_success_asks_for_a_look() {
        assert_eq!(job_word("succeeded", Some("proven"), "done").0, Look::Good);
        assert_eq!(job_word("succeeded", Some("assumed"), "done").0, Look::Attention);
        assert_eq!(job_word("failed", None, "done"), (Look::Failed, "failed".to_owned()));
    }
}
