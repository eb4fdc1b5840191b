//! What was read of CD1 and CD2, as a picture over time: where the installer is, when the kickstart was read, when the
//! firmware came back. Pure.
//!
//! Invariant: of a medium whose reads are not the host's there is no picture, only a sentence that says so; a picture
//! cannot suggest a progress that was not seen.

use jiff::Timestamp;
use maud::{Markup, html};

use super::JobView;
use crate::ui::records::{MediumRecord, ReadsRecord};
use crate::ui::text::{bytes, seconds_between, time};

const LEFT: f64 = 70.0;
const WIDTH: f64 = 820.0;
const TOP: f64 = 24.0;
const HEIGHT: f64 = 192.0;

pub fn section(view: &JobView) -> Markup {
    html! {
        section #job-reads aria-labelledby="reads-title" {
            h2 #reads-title { "What the host has read" }
            @if view.reads.media.is_empty() {
                p.faint { "No medium has been served yet." }
            }
            @for medium in &view.reads.media { (of_medium(view, medium)) }
        }
    }
}

fn name(medium: &str) -> &'static str {
    if medium == "installer" { "CD1, the installer" } else { "CD2, the kickstart" }
}

fn of_medium(view: &JobView, medium: &MediumRecord) -> Markup {
    html! {
        h3 { (name(&medium.medium)) }
        @match (medium.mode.as_str(), medium.first_read_at) {
            ("prefetched", _) => p {
                "The BMC copied the whole image before the host read it, so the controller cannot see how far the host is."
            },
            ("none", _) | (_, None) => p { "Not read since the reset of the host." },
            (_, Some(_)) => { (streamed(view, medium)) }
        }
    }
}

fn streamed(view: &JobView, medium: &MediumRecord) -> Markup {
    html! {
        p { (sentence(medium)) }
        div.picture role="region" aria-label={ "Read map of " (name(&medium.medium)) } tabindex="0" {
            (picture(view, medium))
        }
        details id={ "facts-" (medium.medium) } {
            summary { "The milestones as a list" }
            dl.facts {
                @for (name, at) in milestones(medium) { dt { (name) } dd { (time(at)) } }
            }
        }
    }
}

fn sentence(medium: &MediumRecord) -> String {
    let part = medium.read.saturating_mul(100).checked_div(medium.total).unwrap_or(0);
    let read = format!("{} of {} read ({part} %)", bytes(medium.read), bytes(medium.total));
    let kickstart = match (medium.ks_read_at, &medium.kickstart) {
        (Some(_), _) => "; the kickstart was read",
        (None, Some(_)) => "; the kickstart was not read yet",
        (None, None) => "",
    };
    let again = if medium.reenumerated_at.is_some() { "; the firmware came back after that" } else { "" };
    format!("{read}{kickstart}{again}.")
}

fn milestones(medium: &MediumRecord) -> Vec<(&'static str, Timestamp)> {
    let all = [
        ("First read after the reset", medium.first_read_at),
        ("Installer loaded", medium.loaded_at),
        ("Installer read through", medium.read_through_at),
        ("Kickstart read", medium.ks_read_at),
        ("Second boot: the firmware read the drives again", medium.reenumerated_at),
        ("Last read", medium.last_read_at),
    ];
    all.into_iter().filter_map(|(name, at)| Some((name, at?))).collect()
}

/// A moment that the timeline marks by a number.
pub struct Mark {
    pub at: Timestamp,
    pub name: String,
}

/// The moments that the timeline marks.
pub fn marks(reads: &ReadsRecord) -> Vec<Mark> {
    let mut marks = Vec::new();
    for medium in &reads.media {
        let all = [
            ("First read of CD1", medium.first_read_at.filter(|_| medium.medium == "installer")),
            ("Installer read through", medium.read_through_at),
            ("Kickstart read", medium.ks_read_at),
            ("Firmware read the drives again", medium.reenumerated_at),
        ];
        marks.extend(all.into_iter().filter_map(|(name, at)| Some(Mark { at: at?, name: name.to_owned() })));
    }
    marks
}

/// Both pictures have the same time across: from the first read of any medium to the end of the job.
fn axis(view: &JobView) -> (Timestamp, Timestamp) {
    let first = view.reads.media.iter().filter_map(|medium| medium.first_read_at).min();
    let from = first.unwrap_or(view.job.state.created_at);
    (from, view.end().max(from))
}

fn picture(view: &JobView, medium: &MediumRecord) -> Markup {
    let (from, end) = axis(view);
    let span = seconds_between(from, end).max(1) as f64;
    let x = |at: Timestamp| LEFT + (seconds_between(from, at) as f64 / span).min(1.0) * WIDTH;
    let y = |offset: u64| TOP + offset.min(medium.total) as f64 / medium.total.max(1) as f64 * HEIGHT;
    let bottom = TOP + HEIGHT;
    let place = |value: f64| format!("{value:.1}");
    html! {
        svg role="img" aria-label={ (name(&medium.medium)) ": " (sentence(medium)) }
            viewBox={ "0 0 " (LEFT + WIDTH + 10.0) " " (bottom + 24.0) } width=(LEFT + WIDTH + 10.0) height=(bottom + 24.0) {
            rect.frame x=(LEFT) y=(TOP) width=(WIDTH) height=(HEIGHT) {}
            text x="0" y=(TOP + 10.0) { "start" }
            text x="0" y=(bottom) { (bytes(medium.total)) }
            @if let Some(kickstart) = &medium.kickstart {
                @let height = (y(kickstart.end) - y(kickstart.start)).max(5.0);
                @let top = y(kickstart.start).min(bottom - height);
                rect.extent x=(LEFT) y=(place(top)) width=(WIDTH) height=(place(height)) {}
                text x="0" y=(place(top + 4.0)) { "kickstart" }
            }
            @for part in &medium.parts {
                @let (top, height) = (y(part.start), (y(part.end) - y(part.start)).max(1.0));
                @let middle = place(top + height / 2.0);
                @if part.times > 1 {
                    line.read-line x1=(place(x(part.first_read_at))) y1=(middle) x2=(place(x(part.last_read_at))) y2=(middle) {}
                    rect.read-again x=(place(x(part.last_read_at) - 2.0)) y=(place(top)) width="4" height=(place(height)) {}
                }
                rect.read-once x=(place(x(part.first_read_at) - 1.5)) y=(place(top)) width="3" height=(place(height)) {}
            }
            @for (label, at) in [("kickstart read", medium.ks_read_at), ("second boot", medium.reenumerated_at)] {
                @if let Some(at) = at {
                    @let x = x(at);
                    line.mark x1=(place(x)) y1=(TOP - 4.0) x2=(place(x)) y2=(bottom) {}
                    text x=(place(x.clamp(LEFT + 45.0, LEFT + WIDTH - 45.0))) y="14" text-anchor="middle" { (label) }
                }
            }
            text x=(LEFT) y=(bottom + 16.0) { (from.strftime("%H:%M:%S")) }
            text x=(LEFT + WIDTH) y=(bottom + 16.0) text-anchor="end" { (end.strftime("%H:%M:%S")) " UTC" }
        }
        p.hint {
            "Across: time. Down: the image from its first to its last byte. A mark is the first read of a part; a line \
             leads to the last read of a part that was read again."
        }
    }
}
