//! The steps of a job as a picture over time, and as a table with the same facts. Pure.
//!
//! Invariants: the picture shows nothing that the table does not; a step that waits for the host is hatched, so that
//! it is not taken for work of the BMC; a short step is at least two units wide.

use jiff::Timestamp;
use maud::{Markup, html};

use super::JobView;
use super::read_map::{self, Mark};
use super::verdict::kind_word;
use crate::ui::records::EventRecord;
use crate::ui::text::{Look, badge, clock, data_table, duration, seconds_between, step_word, time};

const LABELS: f64 = 200.0;
const WIDTH: f64 = 620.0;
const TOTAL: f64 = LABELS + WIDTH + 110.0;
const ROW: f64 = 24.0;
const TOP: f64 = 30.0;

/// One run of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub step: String,
    pub from: Timestamp,
    /// `None` while it runs.
    pub to: Option<Timestamp>,
    pub status: String,
    /// When a try failed and another followed.
    pub retries: Vec<Timestamp>,
    pub message: String,
}

/// The steps of the events, in their order.
pub fn spans(events: &[EventRecord]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for event in events.iter().filter(|event| event.op == event.step) {
        let open = spans.iter_mut().rev().find(|span| span.step == event.step && span.to.is_none());
        match (event.status.as_str(), open) {
            ("started", None) => spans.push(Span {
                step: event.step.clone(),
                from: event.time,
                to: None,
                status: "running".to_owned(),
                retries: Vec::new(),
                message: String::new(),
            }),
            ("retrying", Some(span)) => {
                span.retries.push(event.time);
                span.message.clone_from(&event.message);
            }
            ("succeeded" | "failed" | "skipped", Some(span)) => {
                span.to = Some(event.time);
                span.status.clone_from(&event.status);
                span.message.clone_from(&event.message);
            }
            ("skipped" | "failed", None) => spans.push(Span {
                step: event.step.clone(),
                from: event.time,
                to: Some(event.time),
                status: event.status.clone(),
                retries: Vec::new(),
                message: event.message.clone(),
            }),
            _ => {}
        }
    }
    spans
}

/// What is known of the host's progress, in time.
pub fn marks(view: &JobView) -> Vec<Mark> {
    let mut marks = read_map::marks(&view.reads);
    let evidence = view.job.verdict.iter().flat_map(|verdict| &verdict.evidence);
    for evidence in evidence.filter(|evidence| evidence.kind != "kickstart_read") {
        marks.push(Mark { at: evidence.at, name: kind_word(&evidence.kind).to_owned() });
    }
    marks.sort_by_key(|mark| mark.at);
    marks
}

pub fn section(view: &JobView) -> Markup {
    let spans = spans(&view.job.events);
    let marks = marks(view);
    html! {
        section #job-timeline aria-labelledby="timeline-title" {
            h2 #timeline-title { "Steps" }
            @if spans.is_empty() {
                p.faint { "No step has begun." }
            } @else {
                div.picture role="region" aria-label="Timeline" tabindex="0" { (picture(view, &spans, &marks)) }
                (legend(&marks))
                details #steps-table open[spans.len() < 6] {
                    summary { "The steps as a table" }
                    (table(view, &spans))
                }
            }
        }
    }
}

/// From a time to a place in the picture.
struct Scale {
    from: Timestamp,
    span: f64,
}

impl Scale {
    fn x(&self, at: Timestamp) -> f64 {
        let part = (at.as_millisecond() - self.from.as_millisecond()) as f64 / self.span;
        LABELS + part.clamp(0.0, 1.0) * WIDTH
    }
}

fn picture(view: &JobView, spans: &[Span], marks: &[Mark]) -> Markup {
    let from = view.job.state.created_at.min(spans[0].from);
    let end = view.end().max(spans.iter().filter_map(|span| span.to).max().unwrap_or(from));
    let scale = Scale { from, span: ((end.as_millisecond() - from.as_millisecond()) as f64).max(1_000.0) };
    let height = TOP + ROW * spans.len() as f64 + 8.0;
    let name = sentence(view, spans);
    html! {
        svg role="img" aria-label=(name) viewBox={ "0 0 " (TOTAL) " " (height) } width=(TOTAL) height=(height) {
            defs {
                pattern #hatch width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line.hatch x1="0" y1="0" x2="0" y2="6" {}
                }
            }
            text x=(LABELS) y="14" { (from.strftime("%H:%M:%S")) }
            text x=(LABELS + WIDTH) y="14" text-anchor="end" { (end.strftime("%H:%M:%S")) " UTC" }
            @for (number, span) in spans.iter().enumerate() { (bar(view, &scale, span, TOP + ROW * number as f64)) }
            @for (number, mark) in marks.iter().enumerate() {
                @let x = format!("{:.1}", scale.x(mark.at));
                line.mark x1=(x) y1=(TOP - 8.0) x2=(x) y2=(height - 4.0) {}
                text x=(x) y=(TOP - 11.0) text-anchor="middle" { (number + 1) }
            }
            @if view.job.is_active() {
                @let x = format!("{:.1}", scale.x(view.now));
                line.now x1=(x) y1=(TOP - 4.0) x2=(x) y2=(height - 4.0) {}
            }
        }
    }
}

fn is_wait(step: &str) -> bool {
    matches!(step, "esxi.await_bmc" | "esxi.poll_power" | "await-webhook")
}

fn bar(view: &JobView, scale: &Scale, span: &Span, y: f64) -> Markup {
    let to = span.to.unwrap_or(view.now);
    let (x, end) = (scale.x(span.from), scale.x(to));
    let width = (end - x).max(2.0);
    let class = match span.status.as_str() {
        "failed" => "step-failed",
        "skipped" => "step-skipped",
        _ if is_wait(&span.step) => "wait",
        "running" => "step-running",
        _ => "step-ok",
    };
    let sign = match span.status.as_str() {
        "failed" => "✗",
        "skipped" => "–",
        "running" => "▶",
        _ => "✓",
    };
    let spent = if span.status == "skipped" {
        "skipped".to_owned()
    } else {
        duration(seconds_between(span.from, to))
    };
    html! {
        text x="0" y=(y + 15.0) { (sign) " " (step_word(&span.step)) }
        rect class=(class) x=(format!("{x:.1}")) y=(y + 3.0) width=(format!("{width:.1}")) height=(ROW - 8.0) {}
        @for retry in &span.retries {
            rect.step-failed x=(format!("{:.1}", scale.x(*retry) - 1.0)) y=(y) width="2" height=(ROW - 2.0) {}
        }
        text x=(LABELS + WIDTH + 10.0) y=(y + 15.0) { (spent) }
    }
}

/// The picture in one sentence.
fn sentence(view: &JobView, spans: &[Span]) -> String {
    let total = duration(seconds_between(view.job.state.created_at, view.end()));
    let longest = spans.iter().max_by_key(|span| seconds_between(span.from, span.to.unwrap_or(view.now)));
    let longest = longest.map_or("", |span| step_word(&span.step));
    format!(
        "Timeline of {} steps over {total}; the longest is: {longest}. The table below has the durations.",
        spans.len()
    )
}

fn legend(marks: &[Mark]) -> Markup {
    html! {
        p.hint {
            "Solid: the controller works with the BMC. Hatched: the controller waits for the host. A thin bar marks a \
             failed try that was repeated."
        }
        @if !marks.is_empty() {
            ol.marks { @for mark in marks { li { (mark.name) ", " (clock(mark.at)) } } }
        }
    }
}

fn table(view: &JobView, spans: &[Span]) -> Markup {
    html! {
        (data_table("Steps", &["Step", "State", "Start (UTC)", "Duration", "Failed tries"], &html! {
            @for span in spans {
                @let look = match span.status.as_str() {
                    "failed" => Look::Failed,
                    "running" => Look::Running,
                    "skipped" => Look::Plain,
                    _ => Look::Good,
                };
                tr {
                    th scope="row" { (step_word(&span.step)) " " code { (span.step) } }
                    td { (badge(look, &span.status)) }
                    td { (time(span.from)) }
                    td.number { (duration(seconds_between(span.from, span.to.unwrap_or(view.now)))) }
                    td.number { (span.retries.len()) }
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, step: &str, op: &str, status: &str) -> EventRecord {
        EventRecord {
            id: 1,
            server_serial: "A1".to_owned(),
            time: Timestamp::from_second(second).unwrap(),
            level: "info".to_owned(),
            step: step.to_owned(),
            op: op.to_owned(),
            status: status.to_owned(),
            attempt: 1,
            duration_ms: None,
            message: format!("{status} {second}"),
        }
    }

    #[test]
    fn a_step_is_one_span_with_its_failed_tries_and_a_second_run_another() {
        let events = [
            event(1, "reset", "reset", "started"),
            event(2, "reset", "reset.force_off", "failed"),
            event(3, "reset", "reset", "retrying"),
            event(4, "reset", "reset", "started"),
            event(5, "reset", "reset", "succeeded"),
            event(6, "boot.override", "boot.override", "skipped"),
            event(7, "reset", "reset", "started"),
        ];
        let spans = spans(&events);
        let shown: Vec<(&str, &str, usize)> =
            spans.iter().map(|span| (span.step.as_str(), span.status.as_str(), span.retries.len())).collect();
        assert_eq!(
            shown,
            [("reset", "succeeded", 1), ("boot.override", "skipped", 0), ("reset", "running", 0)]
        );
        assert_eq!(spans[0].to, Timestamp::from_second(5).ok());
    }
}
