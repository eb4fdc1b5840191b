//! The first contact with a BMC: does it answer, and with which certificate?
//!
//! No credentials are sent here, so the certificate may be looked at before anybody trusts it.
//! Invariants: whether a peer is accepted is decided by the server's own policy alone; the other
//! requests only show what an operator could choose. Each waits for its turn at the BMC, like those of jobs.

use std::time::Duration;

use bytes::Bytes;
use http::header;
use tower::ServiceExt;

use super::Subject;
use super::certificate;
use super::facts::{ReachFacts, TlsFacts};
use shoal_base::hex;
use shoal_base::world::{
    HttpResponse, OnlyTls13, PeerCertificate, ShownChain, TlsPolicy, TransportError, TransportErrorKind,
    World,
};

const TIMEOUT: Duration = Duration::from_secs(15);
/// Tries to get any answer at all; a restarting BMC refuses a connection now and then.
const TRIES: u32 = 2;
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Why there is no answer.
enum Silence {
    TimedOut,
    /// It was not asked.
    Busy,
    Transport(TransportError),
}

impl Silence {
    fn is_untrusted(&self) -> bool {
        matches!(self, Silence::Transport(error) if error.kind == TransportErrorKind::Certificate)
    }

    fn text(&self) -> String {
        match self {
            Silence::TimedOut | Silence::Busy => self.reason(),
            Silence::Transport(error) => error.to_string(),
        }
    }

    /// Without saying that there was no connection.
    fn reason(&self) -> String {
        match self {
            Silence::TimedOut => format!("no answer in {} s", TIMEOUT.as_secs()),
            Silence::Busy => format!(
                "the BMC has not answered another request of this controller for {} s: check again when its job is \
                 further",
                TIMEOUT.as_secs()
            ),
            Silence::Transport(error) => error.reason.clone().unwrap_or_else(|| error.to_string()),
        }
    }
}

/// What is kept of an answer.
struct RootAnswer {
    status: u16,
    date_ahead_secs: Option<i64>,
    /// SHA-256 of the peer's certificate.
    sha256: Option<String>,
}

pub async fn look(world: &World, subject: &Subject<'_>) -> ReachFacts {
    let answer = ask_again(world, subject).await;
    let untrusted = answer.as_ref().is_err_and(Silence::is_untrusted);
    let mut reach = ReachFacts::default();
    match &answer {
        Ok(answer) => {
            (reach.status, reach.date_ahead_secs) = (Some(answer.status), answer.date_ahead_secs);
        }
        // It is there; that it is not trusted is the certificate's story.
        Err(_) if untrusted => {}
        Err(silence) => reach.error = Some(silence.text()),
    }
    if subject.address.scheme() == "https" && (answer.is_ok() || untrusted) {
        reach.tls = Some(look_at_tls(world, subject, &answer).await);
    }
    reach
}

async fn look_at_tls(world: &World, subject: &Subject<'_>, answer: &Result<RootAnswer, Silence>) -> TlsFacts {
    let policy = subject.tls;
    let reason = match (policy, answer) {
        (TlsPolicy::Verify, answer) => answer.as_ref().err().map(Silence::reason),
        _ => ask(world, subject, &TlsPolicy::Verify, RootProbe::Plain)
            .await
            .err()
            .map(|silence| silence.reason()),
    };
    let chain = ShownChain::default();
    let shown = ask(world, subject, &TlsPolicy::Insecure, RootProbe::Chain(&chain)).await;
    let shown = answer.as_ref().ok().or(shown.as_ref().ok());
    let is_13 = ask(world, subject, &TlsPolicy::Insecure, RootProbe::OnlyTls13).await.is_ok();
    let now = world.clock.now();
    TlsFacts {
        policy: policy.to_string().split(':').next().unwrap_or_default().to_owned(),
        accepted: answer.is_ok(),
        verified: reason.is_none(),
        reason,
        sha256: shown.and_then(|answer| answer.sha256.clone()),
        version: Some(if is_13 { "TLS 1.3" } else { "TLS 1.2" }.to_owned()),
        chain: chain.certificates().iter().filter_map(|der| certificate::read(der, now)).collect(),
    }
}

async fn ask_again(world: &World, subject: &Subject<'_>) -> Result<RootAnswer, Silence> {
    let mut answer = ask(world, subject, subject.tls, RootProbe::Plain).await;
    for _ in 1..TRIES {
        if answer.as_ref().err().is_none_or(Silence::is_untrusted) {
            break;
        }
        tokio::time::sleep(TRY_AGAIN).await;
        answer = ask(world, subject, subject.tls, RootProbe::Plain).await;
    }
    answer
}

/// What a request is to find out, besides whether it is answered.
enum RootProbe<'a> {
    Plain,
    OnlyTls13,
    Chain(&'a ShownChain),
}

/// Reads the service root, which needs no authentication; any HTTP status counts as an answer.
async fn ask(
    world: &World,
    subject: &Subject<'_>,
    policy: &TlsPolicy,
    look: RootProbe<'_>,
) -> Result<RootAnswer, Silence> {
    let address = subject.address;
    let root = address.join("/redfish/v1/").unwrap_or_else(|_| address.clone());
    let mut request = http::Request::get(root.as_str())
        .header(header::ACCEPT, "application/json")
        .header("OData-Version", "4.0")
        .extension(policy.clone());
    request = match look {
        RootProbe::Plain => request,
        RootProbe::OnlyTls13 => request.extension(OnlyTls13),
        RootProbe::Chain(shown) => request.extension(shown.clone()),
    };
    let request = request.body(Bytes::new()).expect("a URL and fixed headers make a request");
    let Ok(_pass) = tokio::time::timeout(TIMEOUT, subject.bmc.pass()).await else {
        return Err(Silence::Busy);
    };
    match tokio::time::timeout(TIMEOUT, world.transport.clone().oneshot(request)).await {
        Ok(Ok(response)) => Ok(RootAnswer {
            status: response.status().as_u16(),
            date_ahead_secs: date_ahead(world, &response),
            sha256: response.extensions().get::<PeerCertificate>().map(|certificate| hex(&certificate.0)),
        }),
        Ok(Err(error)) => Err(Silence::Transport(error)),
        Err(_) => Err(Silence::TimedOut),
    }
}

fn date_ahead(world: &World, response: &HttpResponse) -> Option<i64> {
    let text = response.headers().get(header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.duration_since(world.clock.wall()).as_secs())
}
