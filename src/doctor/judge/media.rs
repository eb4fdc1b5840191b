//! Judges the virtual media: drives, how an image goes in, licence, and what a probe showed. Pure.

use super::{Check, CheckFacts, CheckStatus, check, failed, ok, warning};
use crate::doctor::{ProbeFacts, Trouble};
use crate::flow::media_base::{protocol_remedy, what_reaching_needs};

pub fn drives(facts: &CheckFacts) -> Check {
    let shown: Vec<String> =
        facts.slots.iter().map(|slot| format!("{} ({})", slot.id, slot.media_types.join(", "))).collect();
    let shown = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    let Some(layout) = &facts.layout.chosen else {
        if !facts.plan.switch_on.is_empty() {
            let found = format!("there are no virtual CD drives yet: a job would {}", switch_on(facts));
            return warning(
                "media",
                found,
                "nothing: a job does so; or do it on the BMC's own pages, and look again",
            );
        }
        let problem = facts.layout.problem.clone();
        return failed(
            "media",
            problem.unwrap_or_else(|| "no virtual CD drive accepts an image".to_owned()),
            facts.layout.hint.clone().unwrap_or_else(|| remedy_without_drives(facts).to_owned()),
        );
    };
    let drives = facts.layout.drives.join(" and ");
    let found = format!("virtual drives {shown}; layout {layout} on {drives}{}", others(facts, layout));
    let occupied: Vec<&str> = facts
        .slots
        .iter()
        .filter(|slot| (slot.usable_cd || facts.layout.drives.contains(&slot.id)) && slot.occupied)
        .map(|slot| slot.id.as_str())
        .collect();
    if occupied.is_empty() {
        return ok("media", found);
    }
    warning(
        "media",
        format!("{found}; {} not empty", are(&occupied)),
        "a job ejects what the drives that it uses hold: make sure that it is not in use; `shoal server release SERIAL` \
         ejects it now",
    )
}

/// The layouts that could be requested instead.
fn others(facts: &CheckFacts, chosen: &str) -> String {
    let others: Vec<&str> =
        facts.layout.allowed.iter().map(String::as_str).filter(|layout| *layout != chosen).collect();
    if others.is_empty() { String::new() } else { format!(", and {} on request", others.join(" or ")) }
}

/// What a job would do before there are drives.
pub fn switch_on(facts: &CheckFacts) -> String {
    facts.plan.switch_on.join(" and ")
}

fn are(names: &[&str]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "is" } else { "are" })
}

fn remedy_without_drives(facts: &CheckFacts) -> &'static str {
    match (facts.layout.allowed.iter().any(|layout| layout == "single-cd"), facts.slots.is_empty()) {
        (true, _) => "set MEDIA_LAYOUT to auto or single-cd",
        (false, true) => {
            "switch virtual (remote) media on in the BMC's own pages, and look at its licence and the account's rights"
        }
        (false, false) => "update the BMC's firmware: its virtual drives take no CD image from a URL",
    }
}

pub fn insert(facts: &CheckFacts) -> Check {
    match (&facts.plan.insert.how, &facts.plan.insert.problem) {
        (Some(how), _) => {
            let mut found = how.clone();
            if !facts.plan.quirks.is_empty() {
                found.push_str(&format!("; quirks: {}", facts.plan.quirks.join(", ")));
            }
            if !facts.plan.learned.is_empty() {
                found.push_str(&format!("; worked before: {}", facts.plan.learned.join("; ")));
            }
            if facts.plan.http_is_doubtful {
                let remedy = "many of these BMCs (Huawei, H3C, xFusion) take images by HTTPS, NFS or CIFS and none by \
                              http: find out with --probe-media before the first job";
                return warning("insert", found, remedy);
            }
            ok("insert", found)
        }
        // The drives' own line says what to do.
        (None, _) if facts.layout.chosen.is_none() => {
            check("insert", CheckStatus::Skipped, "no drive to insert an image into")
        }
        (None, problem) => failed(
            "insert",
            problem.clone().unwrap_or_else(|| "how an image goes in is not known".to_owned()),
            facts.plan.insert_remedy.clone().unwrap_or_else(|| "update the BMC's firmware".to_owned()),
        ),
    }
}

/// Which licence includes virtual media by URL, where the maker sells that apart.
struct Needed {
    vendor: &'static str,
    /// Parts of the names of those that do.
    words: &'static [&'static str],
    name: &'static str,
}

/// HPE: the message registry's LicenseKeyRequired and documents of iLO. Dell and Lenovo: vendors'
/// scripts.
const NEEDED: [Needed; 3] = [
    Needed { vendor: "hpe", words: &["advanced"], name: "iLO Advanced" },
    Needed {
        vendor: "dell",
        words: &["enterprise", "datacenter", "secure"],
        name: "iDRAC Enterprise or Datacenter",
    },
    Needed {
        vendor: "lenovo",
        words: &["enterprise", "platinum", "advanced"],
        name: "XCC Enterprise or Platinum",
    },
];

pub fn licence(facts: &CheckFacts) -> Check {
    let vendor = facts.vendor.as_deref().unwrap_or_default().to_ascii_lowercase();
    let needed = NEEDED.iter().find(|needed| vendor.contains(needed.vendor));
    match (needed, facts.licences.as_slice()) {
        (None, []) => check("licence", CheckStatus::Skipped, "none reported, and not known to be needed"),
        (None, names) => ok("licence", names.join(", ")),
        (Some(needed), []) => warning(
            "licence",
            "none reported",
            format!(
                "virtual media from a URL needs {}; only an insert can show whether it has it",
                needed.name
            ),
        ),
        (Some(needed), names) if names.iter().any(|name| includes(needed, name)) => {
            ok("licence", names.join(", "))
        }
        (Some(needed), names) => warning(
            "licence",
            format!("{} is not known to include virtual media from a URL", names.join(", ")),
            format!("it needs {}; only an insert can show whether it has it", needed.name),
        ),
    }
}

fn includes(needed: &Needed, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    needed.words.iter().any(|word| name.contains(word))
}

pub fn probe(facts: &CheckFacts) -> Check {
    let Some(probe) = &facts.probe else {
        return check(
            "probe",
            CheckStatus::Skipped,
            "not requested: --probe-media mounts a small image to see",
        );
    };
    if let Some(why) = &probe.refused {
        let found = format!("no image was mounted: {why}");
        return warning("probe", found, "see to that and look again");
    }
    let slot = probe.slot.as_deref().unwrap_or("the drive");
    if let Some(trouble) = &probe.insert_error {
        let found = format!("{slot} did not take an image ({}; {})", trouble.text, fetched(probe));
        return failed("probe", found, remedy_of_insert(probe, trouble));
    }
    if !probe.restored {
        let why = probe.eject_error.as_deref().unwrap_or("it still shows the image");
        return failed(
            "probe",
            format!("{slot} could not be emptied again ({why})"),
            "eject it on the BMC's own pages",
        );
    }
    if !probe.shown {
        return failed(
            "probe",
            format!("the BMC accepted an image and {slot} never showed it ({})", fetched(probe)),
            "look at the BMC's own log; restarting the BMC cures a media service that hangs",
        );
    }
    if probe.errors > 0 && probe.errors >= probe.requests {
        return failed(
            "probe",
            format!("{slot} showed an image that it could not fetch ({})", fetched(probe)),
            "see that MEDIA_BASE_URL leads to this controller and to nothing else",
        );
    }
    if probe.requests_unknown.is_some() {
        let found = format!("{slot} accepted the image; {}", fetched(probe));
        return warning("probe", found, "look again once the database answers");
    }
    if probe.requests == 0 {
        let found =
            format!("{slot} accepted the image; {}: not known whether the BMC can reach us", fetched(probe));
        return warning("probe", found, remedy_without_fetch(probe));
    }
    ok(
        "probe",
        format!(
            "{slot} mounted and ejected a test image (insert took {} ms); {}",
            probe.insert_ms,
            fetched(probe)
        ),
    )
}

/// How the BMC fetched, and what that means.
fn fetched(probe: &ProbeFacts) -> String {
    if let Some(why) = &probe.requests_unknown {
        return format!("what was requested of it is not known: {why}");
    }
    let base = probe.base.as_deref().unwrap_or("the media server");
    let by = probe.agent.as_ref().map(|agent| format!(" by {agent}")).unwrap_or_default();
    let parts = format!(
        "{} of {base}{by}: {} HEAD, {} by Range, {} whole",
        if probe.requests == 1 { "1 request".to_owned() } else { format!("{} requests", probe.requests) },
        probe.heads,
        probe.ranges,
        probe.wholes
    );
    match (probe.requests, probe.wholes, probe.ranges) {
        (0, ..) if probe.refused_connections > 0 => {
            let why = probe.refused_why.as_deref().unwrap_or("no reason was given");
            format!("no request of {base}, but {} connections without one ({why})", probe.refused_connections)
        }
        (0, ..) => format!("no request of {base}"),
        (_, 1.., _) => format!("{parts}; it downloads images whole, so reads show nothing of the host"),
        (_, 0, 1..) => format!("{parts}; it streams"),
        _ => format!("{parts}; it looks first, and streams when the host reads"),
    }
}

/// A BMC that streams asks when the host reads, so that nothing need be wrong.
fn remedy_without_fetch(probe: &ProbeFacts) -> String {
    let base = probe.base.as_deref().unwrap_or_default();
    if probe.refused_connections > 0 {
        return "the BMC connects and sends no request, most likely because it does not trust the certificate of the \
                media server: serve media over plain HTTP (MEDIA_ADDR), or install the certificate's issuer on the BMC"
            .to_owned();
    }
    format!("nothing if this BMC fetches only when the host reads; otherwise {}", what_reaching_needs(base))
}

fn remedy_of_insert(probe: &ProbeFacts, trouble: &Trouble) -> &'static str {
    let is_https = probe.base.as_deref().is_some_and(|base| base.starts_with("https:"));
    match (trouble.kind.as_str(), probe.requests) {
        ("licence", _) => "install a licence that includes virtual media",
        // Which others it supports it does not report.
        ("protocol", _) => protocol_remedy(if is_https { "https" } else { "http" }, "HTTP, HTTPS"),
        ("unauthorised", _) => "give the account the right to use virtual media",
        (_, 0) if is_https => {
            "it never requested the image: most BMCs do not trust our certificate, so serve media by plain HTTP (MEDIA_ADDR)"
        }
        (_, 0) => {
            "it never requested the image: check that it reaches MEDIA_BASE_URL, its port too (address family, name \
             server, firewall); some want port 80"
        }
        _ => "look at the BMC's own log for why it would not take the image",
    }
}
