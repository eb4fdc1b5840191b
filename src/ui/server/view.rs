//! The page of a server, the report of a check, and the result of a release. Pure.

use jiff::Timestamp;
use maud::{Markup, html};

use crate::access::Role;
use crate::ui::job::{drives, identity, present_state};
use crate::ui::records::{CheckRecord, HardwareRecord, JobRecord, ReleaseRecord, ServerDetail};
use crate::ui::text::{Look, badge, brief, data_table, duration, foreign, job_word, seconds_between, time};
use crate::ui::viewer::Viewer;

pub fn page(server: &ServerDetail, history: &[JobRecord], viewer: &Viewer) -> Markup {
    let serial = &server.row.serial;
    html! {
        p.crumbs { a href="/" { "Fleet" } " / server" }
        h1 { "Server " (serial) }
        @if server.row.protected {
            p.warning { "This server is protected: the controller rejects jobs for it." }
        }
        (identity(serial, Some(server)))
        (actions(server, viewer))
        (past_jobs(history))
        @match &server.hardware {
            Some(hardware) => { (inventory(hardware)) }
            None => {
                h2 { "Inventory" }
                p.faint { "The hardware was not read yet." @if viewer.may(Role::Operator) { " Use “Read the hardware”." } }
            }
        }
        (record(server))
    }
}

fn actions(server: &ServerDetail, viewer: &Viewer) -> Markup {
    let path = format!("/servers/{}", server.row.serial);
    let (act, name) = if server.row.protected { ("unprotect", "Unprotect") } else { ("protect", "Protect") };
    html! {
        @if viewer.may(Role::Operator) {
            h2 { "Check" }
            form.stack method="post" action={ (path) "/check" } {
                (viewer.form_fields())
                label.check {
                    input type="checkbox" name="probe_media" value="yes";
                    " Also insert a small test image for a moment, to see how the BMC fetches it"
                }
                button { "Run the doctor" }
            }
            div.actions {
                form method="post" action={ (path) "/inspect" } { (viewer.form_fields()) button.quiet { "Read the hardware" } }
                form method="post" action={ (path) "/" (act) } { (viewer.form_fields()) button.quiet { (name) } }
                a.button.danger href={ (path) "/release" } { "Release…" }
            }
        }
    }
}

fn past_jobs(history: &[JobRecord]) -> Markup {
    html! {
        h2 { "History" }
        @if history.is_empty() { p.faint { "No job yet." } } @else {
            (data_table("Jobs of this server", &["Created (UTC)", "State", "Duration", "Reason"], &html! {
                @for job in history {
                    @let (look, word) = job_word(&job.state.status, job.confidence(), &job.state.cleanup);
                    tr {
                        th scope="row" { a href={ "/jobs/" (job.state.job_id) } { (time(job.state.created_at)) } }
                        td { (badge(look, &word)) }
                        td.number {
                            @if let Some(end) = job.state.finished_at { (duration(seconds_between(job.state.created_at, end))) }
                        }
                        td.reason { @if let Some(reason) = &job.state.reason { (brief(reason)) } }
                    }
                }
            }))
        }
    }
}

fn inventory(hardware: &HardwareRecord) -> Markup {
    let text = |value: &Option<String>| value.as_deref().map_or_else(|| "not reported".to_owned(), foreign);
    let processors = &hardware.processors;
    html! {
        h2 { "Inventory" }
        p.hint { "Read from the BMC at " (time(hardware.read_at)) " UTC." }
        dl.facts {
            dt { "Manufacturer" } dd { (text(&hardware.manufacturer)) }
            dt { "Model" } dd { (text(&hardware.model)) @if let Some(sku) = &hardware.sku { " (" (foreign(sku)) ")" } }
            dt { "Processors" }
            dd {
                @if let Some(count) = processors.count { (count) " × " }
                (text(&processors.model))
                @if let Some(cores) = processors.cores { ", " (cores) " cores" }
            }
            dt { "Memory" }
            dd { @match hardware.memory_mib { Some(mib) => { (mib / 1024) " GiB" } None => { "not reported" } } }
            dt { "BIOS" } dd { (text(&hardware.bios_version)) }
            dt { "BMC firmware" } dd { (text(&hardware.bmc_version)) }
            @for nic in &hardware.nics {
                dt { "NIC " (foreign(&nic.id)) }
                dd {
                    code { (nic.mac) }
                    @if let Some(speed) = nic.speed_mbps { ", " (speed) " Mbit/s" }
                    @match nic.has_link { Some(true) => { ", link" } Some(false) => { ", no link" } None => {} }
                }
            }
        }
        @if !hardware.drives.is_empty() { h3 { "Drives" } (drives(&hardware.drives)) }
        @if !hardware.firmware.is_empty() {
            details #firmware {
                summary { "Firmware (" (hardware.firmware.len()) ")" }
                dl.facts {
                    @for part in &hardware.firmware { dt { (foreign(&part.name)) } dd { (foreign(&part.version)) } }
                }
            }
        }
        @if !hardware.unread.is_empty() {
            p.warning { "Not read: " (foreign(&hardware.unread.join("; "))) }
        }
    }
}

fn record(server: &ServerDetail) -> Markup {
    html! {
        h2 { "BMC" }
        dl.facts {
            dt { "Account" } dd { (foreign(&server.bmc_username)) }
            dt { "TLS" } dd { code { (foreign(&server.tls)) } }
            @if let Some(system) = &server.system_id { dt { "System id" } dd { code { (foreign(system)) } } }
        }
        h3 { "Learned behaviour" }
        @if server.learned.is_empty() {
            p.faint { "Nothing was learned about this BMC yet: the controller remembers which requests have worked." }
        } @else {
            ul { @for sentence in &server.learned { li { (foreign(sentence)) } } }
        }
    }
}

/// What the doctor found.
pub fn report(serial: &str, report: &CheckRecord, now: Timestamp) -> Markup {
    html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/servers/" (serial) } { (serial) } " / check" }
        h1 { "Check of " (serial) }
        p class=(if report.verdict == "not_ready" { "problem" } else { "notice" }) { (foreign(&report.sentence)) }
        p.hint { "Checked at " (time(now)) " UTC." }
        (data_table("Checks", &["Check", "Status", "Found", "What to do"], &html! {
            @for line in &report.checks {
                @let look = match line.status.as_str() {
                    "ok" => Look::Good,
                    "failed" => Look::Failed,
                    "warning" => Look::Attention,
                    _ => Look::Plain,
                };
                tr {
                    th scope="row" { (line.name) }
                    td { (badge(look, &line.status)) }
                    td.reason { (foreign(&line.found)) }
                    td.reason { @if let Some(remedy) = &line.remedy { (foreign(remedy)) } }
                }
            }
        }))
        h2 { "What the BMC shows now" }
        (present_state(&report.facts))
        p { a.button.quiet href={ "/servers/" (serial) } { "Back to the server" } }
    }
}

/// What a release has done and left.
pub fn released(serial: &str, report: &ReleaseRecord) -> Markup {
    html! {
        p.crumbs { a href="/" { "Fleet" } " / " a href={ "/servers/" (serial) } { (serial) } " / release" }
        h1 { "Release of " (serial) }
        @if report.released {
            p.notice { "Every drive is empty and no boot override is set." }
        } @else {
            p.problem role="alert" { "Something is left on the BMC: see the list." }
        }
        (data_table("Result", &["Item", "Result", "Detail"], &html! {
            @for item in &report.items {
                @let look = if item.status == "left" { Look::Failed } else { Look::Good };
                tr {
                    th scope="row" { (foreign(&item.name)) }
                    td { (badge(look, &item.status)) }
                    td { (foreign(&item.detail)) }
                }
            }
        }))
        p { a.button.quiet href={ "/servers/" (serial) } { "Back to the server" } }
    }
}
