//! Judges the way to the BMC: reach, TLS, login, clock, latency. Pure.

use super::{Check, CheckFacts, CheckStatus, check, failed, ok, warning};
use crate::doctor::{CertificateFacts, TlsFacts};

/// Beyond it a clock is worth a word. A TLS handshake with our media server can fail by it.
const CLOCK_SECS_MAX: u64 = 300;
/// A certificate that must be good is worth a word so long before its end.
const RENEW_DAYS: i64 = 30;
/// Slower than that, a BMC is worth a word.
const SLOW_MS: f64 = 3_000.0;

pub fn reach(address: &str, facts: &CheckFacts) -> Check {
    let reach = &facts.reach;
    match (reach.status, &reach.error) {
        (Some(200..300 | 401 | 403), _) => ok("reach", format!("{address} answers")),
        // It answers; whether it is a Redfish service is for the next checks.
        (Some(status), _) => warning(
            "reach",
            format!("{address} answers its service root with {status}"),
            "look again in some minutes: a BMC that has just restarted does so",
        ),
        (None, _) if reach.tls.is_some() => ok("reach", format!("{address} can be connected to")),
        (None, error) => failed(
            "reach",
            format!("{address} cannot be reached ({})", error.as_deref().unwrap_or("no answer")),
            "look at the address, at the network between here and there, and whether the BMC has power",
        ),
    }
}

pub fn tls(address: &str, facts: &CheckFacts) -> Check {
    let Some(tls) = &facts.reach.tls else {
        if address.starts_with("http://") && facts.reach.status.is_some() {
            return warning(
                "tls",
                "plain http: the password travels in clear",
                "use https, or keep this to an isolated network",
            );
        }
        return check("tls", CheckStatus::Skipped, "no connection was made");
    };
    let version = format!("{}{}", tls.version.as_deref().unwrap_or("TLS"), shown(&tls.chain));
    let pin =
        tls.sha256.as_deref().map(|sha256| format!("pin:{sha256}")).unwrap_or_else(|| "a pin".to_owned());
    let reason = tls.reason.as_deref().unwrap_or("no reason was given");
    match (tls.accepted, tls.policy.as_str(), tls.verified) {
        (true, "pin", _) => ok("tls", format!("{version}; it is the pinned one")),
        (true, policy, true) => match tls.chain.first() {
            Some(own) if policy == "verify" && own.days_left < RENEW_DAYS => warning(
                "tls",
                format!("{version}; chain and name are good for {} more days", own.days_left),
                "renew it before then: a job does not begin with a BMC whose certificate has expired",
            ),
            _ => ok("tls", format!("{version}; the certificate's chain and name are good")),
        },
        (true, _, false) => warning(
            "tls",
            format!("{version}; any certificate is accepted, and this one is not good ({reason})"),
            format!("set tls to {pin}, to rule out interception"),
        ),
        (false, "pin", _) => failed(
            "tls",
            format!("the BMC shows another certificate than the pinned one{}", shown(&tls.chain)),
            format!("find out why it changed; if it is the BMC's own, set tls to {pin}"),
        ),
        (false, _, _) => failed(
            "tls",
            format!("the BMC's certificate is not trusted ({reason}){}", shown(&tls.chain)),
            format!("compare it with the BMC's own pages and set tls to {pin}; or {}", trust(tls)),
        ),
    }
}

/// Whose certificate it is, who signed it, and how long it lasts; empty where none could be read.
fn shown(chain: &[CertificateFacts]) -> String {
    let Some((own, signers)) = chain.split_first() else { return String::new() };
    let until = own.not_after.split('T').next().unwrap_or_default();
    let signed = match signers {
        _ if own.is_self_signed() => "self-signed".to_owned(),
        [] => format!("signed by {}, whose own certificate it does not show", own.issuer),
        [.., last] => format!("signed by {}, {} shown up to {}", own.issuer, chain.len(), last.subject),
    };
    format!(", {}, {signed}, until {until}", own.subject)
}

/// How the chain could be made good instead.
fn trust(tls: &TlsFacts) -> String {
    match tls.chain.as_slice() {
        [own, ..] if own.days_left < 0 => "renew it, since it has expired".to_owned(),
        [own, ..] if own.is_self_signed() => {
            "give the BMC a certificate of an authority that CA_FILE names".to_owned()
        }
        [.., last] => format!("trust {} by CA_FILE", last.issuer),
        [] => "trust its root by CA_FILE".to_owned(),
    }
}

pub fn login(facts: &CheckFacts) -> Check {
    let login = &facts.login;
    if let Some(trouble) = &login.problem {
        return failed("login", trouble.text.clone(), remedy_of(&trouble.kind, login.lockout_threshold));
    }
    let mut found = vec![if login.uses_basic {
        "the account is good; the BMC gives no session, so every request carries the password".to_owned()
    } else {
        "the account is good".to_owned()
    }];
    if let Some(secs) = login.session_timeout_secs.filter(|_| !login.uses_basic) {
        found.push(format!("an idle session ends after {secs} s"));
    }
    if let Some(sessions) = login.sessions {
        let are = if sessions == 1 { "1 session is".to_owned() } else { format!("{sessions} sessions are") };
        found.push(format!("{are} open; session limit not reported"));
    }
    match (login.lockout_threshold, login.lockout_secs) {
        (Some(0), _) => found.push("wrong passwords lock nothing".to_owned()),
        (Some(threshold), Some(secs)) => {
            found.push(format!("{threshold} wrong passwords lock or delay for {secs} s"))
        }
        (Some(threshold), None) => found.push(format!("{threshold} wrong passwords lock or delay")),
        (None, _) => found.push("lockout policy not reported".to_owned()),
    }
    ok("login", found.join("; "))
}

fn remedy_of(kind: &str, lockout_threshold: Option<u64>) -> String {
    let text = match kind {
        "unauthorised" => {
            let lock = lockout_threshold.filter(|threshold| *threshold > 0);
            let lock = lock.map(|threshold| format!("; {threshold} wrong ones lock it")).unwrap_or_default();
            return format!(
                "correct user name or password, and see that the account may use Redfish; it was tried once{lock}"
            );
        }
        "password" => "log in to the BMC's own pages once and set a new password",
        "sessions" => "end old sessions on the BMC's own pages, or wait until they time out",
        "licence" => "the BMC wants a licence for this: install one",
        "busy" => "the BMC asks to be left alone: look again in some minutes (AMI: twenty after a start)",
        "timeout" => "the BMC is too slow or hangs: look again, and restart the BMC if it stays so",
        "unreachable" => "the connection broke: look again, and at the network",
        "not_redfish" => "is it a BMC, and is Redfish switched on and its firmware not too old?",
        _ => "look at the BMC's own pages for what it says",
    };
    text.to_owned()
}

pub fn clock(facts: &CheckFacts) -> Check {
    let Some(clock) = &facts.clock else {
        return check("clock", CheckStatus::Skipped, "the BMC reports no time");
    };
    let by = &clock.source;
    let found = match clock.ahead_secs {
        -2..=2 => format!("as ours ({by})"),
        ahead @ 1.. => format!("{ahead} s ahead of ours ({by})"),
        behind => format!("{} s behind ours ({by})", behind.unsigned_abs()),
    };
    if clock.ahead_secs.unsigned_abs() > CLOCK_SECS_MAX {
        let remedy = "give the BMC an NTP server: certificates are judged, and logs compared, by its clock; verdicts are not";
        return warning("clock", found, remedy);
    }
    ok("clock", found)
}

pub fn latency(facts: &CheckFacts) -> Check {
    let Some(latency) = &facts.latency else {
        return warning(
            "latency",
            "none of the timed reads was answered",
            "look again: the BMC was there a moment ago",
        );
    };
    let found = format!(
        "p50 {:.0} ms, p95 {:.0} ms over {} reads of the System",
        latency.p50_ms, latency.p95_ms, latency.answered
    );
    if latency.answered < latency.asked {
        let found = format!("{found}; {} more failed", latency.asked - latency.answered);
        return warning("latency", found, "the BMC is flaky: reads are repeated, and jobs take longer");
    }
    if latency.p95_ms > SLOW_MS {
        return warning("latency", found, "raise REDFISH_TIMEOUT and ESXI_POLL_INTERVAL, or restart the BMC");
    }
    ok("latency", found)
}
