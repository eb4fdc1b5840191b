//! What each thing that may be seen is judged as: a case a row.

use super::*;
use crate::doctor::{
    CertificateFacts, ClockFacts, LatencyFacts, LayoutFacts, LoginFacts, PlanFacts, Planned, ProbeFacts,
    ReachFacts, SlotFacts, SourceFact, SystemSeen, TlsFacts, Trouble,
};

mod maintenance;
mod probe;

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn how(how: &str) -> Planned {
    Planned { how: text(how), problem: None }
}

fn problem(problem: &str) -> Planned {
    Planned { how: None, problem: text(problem) }
}

fn trouble(kind: &str, what: &str) -> Option<Trouble> {
    Some(Trouble { kind: kind.to_owned(), text: what.to_owned() })
}

/// A server with two drives, of which nothing bad is known.
fn good() -> CheckFacts {
    let slot = |id: &str| SlotFacts {
        id: id.to_owned(),
        media_types: vec!["CD".to_owned()],
        usable_cd: true,
        occupied: false,
    };
    CheckFacts {
        reach: ReachFacts {
            status: Some(200),
            tls: Some(TlsFacts {
                policy: "verify".to_owned(),
                accepted: true,
                verified: true,
                sha256: text("ab12"),
                version: text("TLS 1.3"),
                ..TlsFacts::default()
            }),
            ..ReachFacts::default()
        },
        expected_serial: text("A1"),
        vendor: text("Contoso"),
        login: LoginFacts {
            good: true,
            session_timeout_secs: Some(300),
            sessions: Some(1),
            lockout_threshold: Some(3),
            lockout_secs: Some(30),
            ..LoginFacts::default()
        },
        system: Some(SystemSeen {
            id: "1".to_owned(),
            manufacturer: text("Contoso"),
            model: text("M7"),
            serial: text("A1"),
            power: text("Off"),
            bmc_firmware: text("1.2"),
            ..SystemSeen::default()
        }),
        slots: vec![slot("CD1"), slot("CD2")],
        layout: LayoutFacts {
            allowed: vec!["dual-cd".to_owned(), "single-cd".to_owned()],
            chosen: text("dual-cd"),
            drives: vec!["CD1".to_owned(), "CD2".to_owned()],
            problem: None,
            hint: None,
        },
        plan: PlanFacts {
            insert: how("InsertMedia"),
            boot: how("Once from Cd"),
            reset: how("ForceOff, then On"),
            ..PlanFacts::default()
        },
        sources: vec![SourceFact {
            name: "LastResetTime".to_owned(),
            value: "2026-01-01T00:00:00Z".to_owned(),
        }],
        clock: Some(ClockFacts { source: "Date".to_owned(), ahead_secs: 0 }),
        latency: Some(LatencyFacts { answered: 7, asked: 7, p50_ms: 20.0, p95_ms: 40.0 }),
        ..CheckFacts::default()
    }
}

fn judged(change: impl FnOnce(&mut CheckFacts)) -> CheckReport {
    let mut facts = good();
    change(&mut facts);
    judge("https://10.0.0.5", facts)
}

#[track_caller]
fn line<'a>(report: &'a CheckReport, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).expect("every check has a line")
}

/// The line of that check has this status, finding and remedy (a part of each).
#[track_caller]
fn expect(
    change: impl FnOnce(&mut CheckFacts),
    name: &str,
    status: CheckStatus,
    found: &str,
    remedy: &str,
) -> CheckReport {
    let report = judged(change);
    let check = line(&report, name);
    assert_eq!(check.status, status, "{check:#?}");
    assert!(check.found.contains(found), "{check:#?}");
    assert!(check.remedy.as_deref().unwrap_or_default().contains(remedy), "{check:#?}");
    report
}

use CheckStatus::{Failed, Ok as Good, Skipped, Warning};

#[test]
fn a_good_server_is_ready_and_its_sentence_says_with_what() {
    let report = judged(|_| {});
    assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
    assert_eq!(
        report.sentence,
        "ready: two virtual CD drives, CD1 and CD2; a success will be probable without a hook"
    );
    assert_eq!((report.serial.as_deref(), report.confidence.as_deref()), (Some("A1"), Some("probable")));
    assert!(report.checks.iter().all(|check| matches!(check.status, Good | Skipped)), "{report:#?}");
}

#[test]
fn one_drive_is_ready_with_single_cd() {
    let report = judged(|facts| {
        facts.layout.chosen = text("single-cd");
        facts.layout.drives.truncate(1);
    });
    assert_eq!(report.verdict, Readiness::ReadySingleCd);
    assert!(report.sentence.starts_with("ready with single-cd: everything on CD1;"), "{}", report.sentence);
}

#[test]
fn every_line_is_there_whatever_was_seen() {
    let names =
        |report: &CheckReport| report.checks.iter().map(|check| check.name.clone()).collect::<Vec<_>>();
    let all = names(&judged(|_| {}));
    assert_eq!(all.len(), 15);
    for change in [
        (|facts| *facts = CheckFacts::default()) as fn(&mut CheckFacts),
        |facts| facts.login = LoginFacts { problem: trouble("other", "x"), ..LoginFacts::default() },
        |facts| (facts.system, facts.system_problem) = (None, trouble("identity", "x")),
        |facts| facts.layout = LayoutFacts::default(),
    ] {
        let report = judged(change);
        assert_eq!(names(&report), all);
        assert_eq!(report.verdict, Readiness::NotReady);
    }
}

#[test]
fn every_failure_says_what_to_do_and_the_sentence_begins_with_the_first() {
    let report = judged(|facts| {
        facts.plan.boot = problem("no boot from Cd");
        facts.plan.reset = problem("no reset");
    });
    assert!(report.sentence.starts_with("not ready, because no boot from Cd: "), "{}", report.sentence);
    assert!(report.sentence.ends_with("; and see reset"), "{}", report.sentence);
    let failed = |check: &&Check| check.status == Failed;
    assert!(report.checks.iter().filter(failed).all(|check| check.remedy.is_some()));
}

#[test]
fn the_way_to_the_bmc() {
    let silent = |facts: &mut CheckFacts| {
        facts.reach = ReachFacts { error: text("cannot connect"), ..ReachFacts::default() }
    };
    expect(silent, "reach", Failed, "cannot connect", "look at the address");
    expect(silent, "login", Skipped, "was not asked", "");
    expect(|facts| facts.reach.status = Some(503), "reach", Warning, "503", "look again");
    let tls = |policy: &str, accepted: bool, verified: bool| {
        let policy = policy.to_owned();
        move |facts: &mut CheckFacts| {
            let tls = facts.reach.tls.get_or_insert_default();
            (tls.policy, tls.accepted, tls.verified) = (policy, accepted, verified);
            tls.reason = text("UnknownIssuer");
        }
    };
    expect(tls("insecure", true, false), "tls", Warning, "UnknownIssuer", "pin:ab12");
    expect(tls("insecure", true, true), "tls", Good, "chain and name are good", "");
    expect(tls("pin", true, false), "tls", Good, "pinned", "");
    expect(tls("pin", false, false), "tls", Failed, "another certificate", "pin:ab12");
    let report = expect(tls("verify", false, false), "tls", Failed, "not trusted (UnknownIssuer)", "CA_FILE");
    assert_eq!(line(&report, "login").status, Skipped, "no credentials go to a peer that is not trusted");
    let plain =
        judge("http://10.0.0.5", CheckFacts { reach: ReachFacts { tls: None, ..good().reach }, ..good() });
    assert_eq!((line(&plain, "tls").status, plain.verdict), (Warning, Readiness::Ready));
}

#[test]
fn a_certificate_is_named_with_who_signed_it_and_its_end() {
    let certificate = |subject: &str, issuer: &str, days_left: i64| CertificateFacts {
        subject: subject.to_owned(),
        issuer: issuer.to_owned(),
        not_after: "2031-05-01T00:00:00Z".to_owned(),
        days_left,
        ..CertificateFacts::default()
    };
    let shows = |policy: &str, good: bool, chain: Vec<CertificateFacts>| {
        let policy = policy.to_owned();
        move |facts: &mut CheckFacts| {
            let tls = facts.reach.tls.get_or_insert_default();
            (tls.policy, tls.accepted, tls.verified) = (policy, good, good);
            tls.chain = chain;
        }
    };
    let own = certificate("CN=bmc7", "CN=bmc7", 900);
    let text = "CN=bmc7, self-signed, until 2031-05-01";
    expect(
        shows("verify", false, vec![own.clone()]),
        "tls",
        Failed,
        text,
        "of an authority that CA_FILE names",
    );
    expect(shows("pin", true, vec![own]), "tls", Good, text, "");

    let leaf = certificate("CN=bmc7", "CN=Rack", 900);
    let alone = shows("verify", false, vec![leaf.clone()]);
    expect(
        alone,
        "tls",
        Failed,
        "signed by CN=Rack, whose own certificate it does not show",
        "trust CN=Rack by",
    );
    let chain = vec![leaf.clone(), certificate("CN=Rack", "CN=Root", 900)];
    let text = "signed by CN=Rack, 2 shown up to CN=Rack";
    expect(shows("verify", false, chain.clone()), "tls", Failed, text, "trust CN=Root by CA_FILE");
    expect(shows("verify", true, chain), "tls", Good, "chain and name are good", "");

    let ends = vec![certificate("CN=bmc7", "CN=Rack", 29)];
    expect(
        shows("verify", true, ends.clone()),
        "tls",
        Warning,
        "good for 29 more days",
        "renew it before then",
    );
    expect(shows("pin", true, ends), "tls", Good, "pinned", "");
    let ended = vec![certificate("CN=bmc7", "CN=Rack", -1)];
    expect(shows("verify", false, ended), "tls", Failed, "not trusted", "it has expired");
}

#[test]
fn logins() {
    expect(|_| {}, "login", Good, "idle session ends after 300 s; 1 session is open", "");
    expect(|_| {}, "login", Good, "3 wrong passwords lock or delay for 30 s", "");
    expect(|facts| facts.login.uses_basic = true, "login", Good, "every request carries the password", "");
    expect(|facts| facts.login.lockout_threshold = Some(0), "login", Good, "lock nothing", "");
    for (kind, remedy) in [
        ("unauthorised", "tried once"),
        ("password", "set a new password"),
        ("sessions", "end old sessions"),
        ("licence", "install one"),
        ("busy", "some minutes"),
        ("timeout", "restart the BMC"),
        ("unreachable", "network"),
        ("not_redfish", "is it a BMC"),
        ("other", "own pages"),
    ] {
        let change = |facts: &mut CheckFacts| {
            facts.login = LoginFacts { problem: trouble(kind, "it said no"), ..LoginFacts::default() };
        };
        expect(change, "login", Failed, "it said no", remedy);
    }
}

#[test]
fn the_host() {
    expect(|_| {}, "identity", Good, "Contoso M7, serial number A1; BMC 1.2: the one of the record", "");
    let wrong = |facts: &mut CheckFacts| {
        (facts.system, facts.system_problem) = (None, trouble("identity", "it is not that of A1"));
    };
    expect(wrong, "identity", Failed, "not that of A1", "bmc_address");
    expect(wrong, "power", Skipped, "not found", "");
    let nameless = |facts: &mut CheckFacts| {
        facts.expected_serial = None;
        let system = facts.system.get_or_insert_default();
        (system.serial, system.uuid) = (None, text("aa-bb"));
    };
    expect(nameless, "identity", Warning, "serial number unknown", "system_uuid (aa-bb)");
    let seen = |serial: Option<&str>, tag: Option<&str>| {
        let (serial, tag) = (serial.map(str::to_owned), tag.map(str::to_owned));
        move |facts: &mut CheckFacts| {
            let system = facts.system.get_or_insert_default();
            (system.serial, system.service_tag) = (serial, tag);
        }
    };
    let tagged = seen(Some("CN7016"), Some("A1"));
    expect(tagged, "identity", Good, "serial number CN7016, service tag A1; BMC 1.2: its service tag is", "");
    expect(seen(Some("A1"), None), "identity", Good, "serial number A1; BMC 1.2: the one of the record", "");
    expect(seen(None, None), "identity", Good, "matched by system_uuid or system_id", "");
    let power = |state: Option<&str>| {
        let state = state.map(str::to_owned);
        move |facts: &mut CheckFacts| facts.system.get_or_insert_default().power = state
    };
    expect(power(Some("On")), "power", Warning, "shuts down", "ALLOW_POWERED_ON");
    expect(power(Some("PoweringOn")), "power", Warning, "PoweringOn", "look again");
    expect(power(None), "power", Warning, "no PowerState", "firmware");
    expect(
        |facts| facts.plan.reset = problem("no reset"),
        "reset",
        Failed,
        "no reset",
        "right to control power",
    );
}

#[test]
fn what_a_success_can_be_worth() {
    let silent = |facts: &mut CheckFacts| facts.sources.clear();
    let report = expect(silent, "evidence", Warning, "may still show a second boot", "completion_hook");
    assert_eq!(report.confidence.as_deref(), Some("assumed"));
    let whole = |facts: &mut CheckFacts| {
        facts.sources.clear();
        facts.probe =
            Some(ProbeFacts { shown: true, restored: true, requests: 1, wholes: 1, ..ProbeFacts::default() });
    };
    expect(whole, "evidence", Warning, "downloads images whole", "management_address");
    for name in ["BootProgress", "LastResetTime", "PostState", "NumberOfReboots", "LastBootTimeSeconds"] {
        let source = |facts: &mut CheckFacts| facts.sources[0].name = name.to_owned();
        let report = expect(source, "evidence", Good, "proven with a hook", "");
        assert!(!line(&report, "evidence").found.contains("unknown worth"), "{name}");
    }
}

#[test]
fn drives() {
    expect(|facts| facts.slots[1].occupied = true, "media", Warning, "CD2 is not empty", "ejects");
    let none = |facts: &mut CheckFacts| {
        facts.slots.clear();
        facts.layout = LayoutFacts { problem: text("no drive"), ..LayoutFacts::default() };
        facts.plan.insert = problem("no drive");
    };
    expect(none, "media", Failed, "no drive", "switch virtual (remote) media on");
    expect(none, "insert", Skipped, "no drive", "");
    let one_of_two = |facts: &mut CheckFacts| {
        facts.layout = LayoutFacts {
            allowed: vec!["single-cd".to_owned()],
            problem: text("dual-cd needs two"),
            ..LayoutFacts::default()
        };
    };
    expect(one_of_two, "media", Failed, "dual-cd needs two", "MEDIA_LAYOUT");
    let off = |facts: &mut CheckFacts| {
        facts.slots.clear();
        facts.layout = LayoutFacts { problem: text("no drive"), ..LayoutFacts::default() };
        facts.plan.insert = problem("virtual media are off");
        facts.plan.switch_on = vec!["switch remote media on".to_owned()];
    };
    let report = expect(off, "media", Warning, "switch remote media on", "a job does so");
    assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
    assert!(report.sentence.contains("a job will switch remote media on first"), "{}", report.sentence);
    let quirky = |facts: &mut CheckFacts| facts.plan.quirks = vec!["usb-cd".to_owned()];
    expect(quirky, "insert", Good, "quirks: usb-cd", "");
    let sticks = |facts: &mut CheckFacts| facts.layout = LayoutFacts::default();
    expect(sticks, "media", Failed, "no virtual CD drive", "no CD image");
}

#[test]
fn licences() {
    for (vendor, licences, status, found) in [
        ("Contoso", &[][..], Skipped, "not known to be needed"),
        ("Contoso", &["Gold"], Good, "Gold"),
        ("HPE", &[], Warning, "none reported"),
        ("HPE", &["iLO Advanced"], Good, "iLO Advanced"),
        ("HPE", &["iLO Standard"], Warning, "not known to include"),
        ("Dell", &["iDRAC9 Enterprise License"], Good, "Enterprise"),
        ("Dell", &["iDRAC9 Express License"], Warning, "not known to include"),
        ("Lenovo", &["XCC Platinum"], Good, "Platinum"),
    ] {
        let change = |facts: &mut CheckFacts| {
            facts.vendor = text(vendor);
            facts.licences = licences.iter().map(|name| (*name).to_owned()).collect();
        };
        let report = expect(change, "licence", status, found, "");
        assert_eq!(report.verdict, Readiness::Ready, "a missing licence is only a hint");
    }
}

#[test]
fn clocks_and_latencies() {
    let ahead = |ahead_secs: i64| {
        move |facts: &mut CheckFacts| facts.clock = Some(ClockFacts { source: "Date".to_owned(), ahead_secs })
    };
    expect(ahead(1), "clock", Good, "as ours", "");
    expect(ahead(40), "clock", Good, "40 s ahead", "");
    expect(ahead(-301), "clock", Warning, "301 s behind", "NTP");
    expect(|facts| facts.clock = None, "clock", Skipped, "no time", "");
    let latency = |answered: usize, p95_ms: f64| {
        move |facts: &mut CheckFacts| {
            facts.latency = Some(LatencyFacts { answered, asked: 7, p50_ms: 9.0, p95_ms })
        }
    };
    expect(latency(7, 50.0), "latency", Good, "p50 9 ms, p95 50 ms over 7 reads", "");
    expect(latency(7, 5000.0), "latency", Warning, "5000 ms", "REDFISH_TIMEOUT");
    expect(latency(5, 50.0), "latency", Warning, "2 more failed", "flaky");
    expect(|facts| facts.latency = None, "latency", Warning, "none", "look again");
}

#[test]
fn a_bmc_that_may_take_no_http_is_warned_of() {
    expect(|facts| facts.plan.http_is_doubtful = true, "insert", Warning, "", "--probe-media");
}

#[test]
fn a_stick_beside_the_cd_is_reported_as_a_stick() {
    let mut facts = good();
    facts.layout.allowed = vec!["single-cd".to_owned(), "cd-usb".to_owned()];
    (facts.layout.chosen, facts.layout.drives) = (text("cd-usb"), vec!["CD2".to_owned(), "CD1".to_owned()]);
    let report = judge("https://10.0.0.5", facts);
    assert_eq!(report.verdict, Readiness::Ready);
    assert!(
        report.sentence.contains("a virtual CD drive and a USB stick, CD2 and CD1"),
        "{}",
        report.sentence
    );
    let media = report.checks.iter().find(|check| check.name == "media").unwrap();
    assert!(
        media.found.ends_with("layout cd-usb on CD2 and CD1, and single-cd on request"),
        "{}",
        media.found
    );
}
