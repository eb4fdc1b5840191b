//! What a probe of a drive showed.

use super::*;

#[test]
fn probes() {
    let base = || ProbeFacts {
        slot: text("CD1"),
        base: text("http://10.0.0.1:8080"),
        shown: true,
        restored: true,
        ..ProbeFacts::default()
    };
    let with = |probe: ProbeFacts| move |facts: &mut CheckFacts| facts.probe = Some(probe);
    expect(|_| {}, "probe", Skipped, "--probe-media", "");
    let refused = ProbeFacts { refused: text("CD1 holds an image"), ..ProbeFacts::default() };
    expect(with(refused), "probe", Warning, "CD1 holds an image", "look again");
    expect(with(base()), "probe", Warning, "not known whether the BMC can reach us", "IPv4 address 10.0.0.1");
    let named = ProbeFacts { base: text("https://media.example"), ..base() };
    expect(
        with(named.clone()),
        "probe",
        Warning,
        "no request of https://media.example:",
        "resolves media.example",
    );
    let broken_off = ProbeFacts { refused_connections: 2, refused_why: text("UnknownCA"), ..named };
    expect(with(broken_off), "probe", Warning, "UnknownCA", "does not trust the certificate");
    let unread = ProbeFacts { requests_unknown: text("the database is away"), ..base() };
    expect(with(unread), "probe", Warning, "not known: the database is away", "once the database answers");
    let ranges = ProbeFacts { requests: 2, heads: 1, ranges: 1, ..base() };
    expect(with(ranges), "probe", Good, "1 HEAD, 1 by Range, 0 whole; it streams", "");
    let whole = ProbeFacts { requests: 1, wholes: 1, agent: text("curl/8"), ..base() };
    expect(with(whole), "probe", Good, "by curl/8: 0 HEAD, 0 by Range, 1 whole; it downloads", "");
    let failing = |base: &str, kind: &str| ProbeFacts {
        base: text(base),
        insert_error: trouble(kind, "it said no"),
        ..ProbeFacts::default()
    };
    expect(with(failing("https://h", "other")), "probe", Failed, "it said no", "MEDIA_ADDR");
    expect(with(failing("http://h", "other")), "probe", Failed, "it said no", "MEDIA_BASE_URL");
    expect(with(failing("http://h", "licence")), "probe", Failed, "it said no", "licence");
    expect(
        with(failing("http://h", "unauthorised")),
        "probe",
        Failed,
        "it said no",
        "right to use virtual media",
    );
    expect(with(failing("https://h", "protocol")), "probe", Failed, "it said no", "over plain HTTP");
    expect(with(failing("http://h", "protocol")), "probe", Failed, "it said no", "HTTPS (MEDIA_TLS=true)");
    let fetched = ProbeFacts { requests: 3, ranges: 3, ..failing("http://h", "other") };
    expect(with(fetched), "probe", Failed, "3 requests", "own log");
    let untrusted = ProbeFacts {
        refused_connections: 2,
        refused_why: text("UnknownCA"),
        ..failing("https://h", "other")
    };
    expect(with(untrusted), "probe", Failed, "2 connections without one (UnknownCA)", "certificate");
    let stuck = ProbeFacts { restored: false, eject_error: text("500"), ..base() };
    expect(with(stuck), "probe", Failed, "could not be emptied again (500)", "eject it");
    expect(
        with(ProbeFacts { shown: false, ..base() }),
        "probe",
        Failed,
        "never showed",
        "restarting the BMC",
    );
    let errors = ProbeFacts { requests: 2, errors: 2, ..base() };
    expect(with(errors), "probe", Failed, "could not fetch", "MEDIA_BASE_URL");
}
