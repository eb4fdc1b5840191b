//! TLS of a real controller: a certificate of its own making, and which versions of the protocol it
//! speaks.
//!
//! The old versions are tried byte by byte, since no library of ours speaks them any more. Invariant:
//! each refusal has a control beside it, the same greeting with what is accepted.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use crate::process::{BOUND, shoal, start, text};

async fn init(dir: &Path, more: &[&str]) -> Output {
    let mut command = shoal();
    command.current_dir(dir).args([
        "tls",
        "init",
        "--host",
        "127.0.0.1",
        "--host",
        "localhost",
        "--dir",
        ".",
    ]);
    command.args(more).output().await.unwrap()
}

const TLS: [&str; 3] = ["--tls-cert=tls.crt", "--tls-key=tls.key", "--drain-timeout=1s"];

#[tokio::test]
async fn a_certificate_of_its_own_is_made_once_and_clients_can_trust_it() {
    let dir = tempfile::tempdir().unwrap();
    let made = init(dir.path(), &[]).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("tls.key"), mode("tls.crt")), (0o600, 0o644));
    let key = std::fs::read(dir.path().join("tls.key")).unwrap();
    let again = init(dir.path(), &[]).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("already exists"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read(dir.path().join("tls.key")).unwrap(), key);

    let served = start(dir.path(), &TLS).await;
    assert!(served.url.starts_with("https://127.0.0.1:"), "{}", served.url);
    let made = text(&made.stdout);
    let pin = made.lines().find_map(|line| line.strip_prefix("SHOAL_TLS=")).unwrap();
    let list = async |variable: (&str, &str)| {
        let mut command = shoal();
        command.current_dir(dir.path()).args(["job", "list"]).env(variable.0, variable.1);
        command.env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", &served.token);
        tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap()
    };
    for variable in [("SHOAL_TLS", pin), ("CA_FILE", "tls.crt")] {
        let output = list(variable).await;
        assert_eq!(output.status.code(), Some(0), "{variable:?}: {}", text(&output.stderr));
    }
    let untrusted = list(("SHOAL_TLS", "verify")).await;
    assert!(text(&untrusted.stderr).contains("is not trusted"), "{}", text(&untrusted.stderr));

    let mut request = http::Request::get(format!("{}/healthz", served.url));
    request = request.extension(shoal_base::world::TlsPolicy::Insecure);
    let request = request.body(bytes::Bytes::new()).unwrap();
    let answer = tower::ServiceExt::oneshot(shoal_base::world::real_transport(&[]), request).await.unwrap();
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn the_key_that_replaces_another_has_its_owner_and_mode() {
    let dir = tempfile::tempdir().unwrap();
    init(dir.path(), &[]).await;
    let path = dir.path().join("tls.key");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let before = std::fs::metadata(&path).unwrap();
    // Only root can give a file to a group that it is not in.
    let group = if before.uid() == 0 { 61_184 } else { before.gid() };
    std::os::unix::fs::chown(&path, None, Some(group)).unwrap();
    let (key, again) = (std::fs::read(&path).unwrap(), init(dir.path(), &["--force"]).await);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert_ne!(std::fs::read(&path).unwrap(), key);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.permissions().mode() & 0o777, after.gid(), after.uid()), (0o640, group, before.uid()));
}

/// What an operator reads when nothing answers: the reason of the system or of the peer, once, without the layers
/// of libraries between them.
#[tokio::test]
async fn a_request_without_an_answer_says_why() {
    use shoal_base::world::TlsPolicy::{Insecure, Pin, Verify};
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(init(dir.path(), &[]).await.status.code(), Some(0));
    let served = start(dir.path(), &TLS).await;
    let listens = served.url.strip_prefix("https://").unwrap().to_owned();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, policy, kind, reason) in [
        (format!("http://{closed}/"), Insecure, "cannot connect", "Connection refused (os error 111)"),
        (format!("https://{listens}/"), Verify, "the TLS certificate is not trusted", "UnknownIssuer"),
        (
            format!("https://{listens}/"),
            Pin([7; 32]),
            "the TLS certificate is not trusted",
            "is not the pinned one",
        ),
        ("http://no-such-host.invalid/".to_owned(), Insecure, "cannot connect", "failed to lookup address"),
    ] {
        let request = http::Request::get(&url).extension(policy).body(bytes::Bytes::new()).unwrap();
        let error =
            tower::ServiceExt::oneshot(shoal_base::world::real_transport(&[]), request).await.unwrap_err();
        let text = shoal_base::with_causes(&error);
        assert_eq!(text, error.to_string());
        assert!(text.starts_with(&format!("{kind}: ")) && text.contains(reason), "{url}: {text}");
        assert!(!text.contains("error sending") && !text.contains("client error"), "{url}: {text}");
    }
}

/// Suites of TLS 1.2 with forward secrecy and authenticated encryption.
const GOOD: [u16; 2] = [0xc02b, 0xc02f];
/// RSA key exchange, CBC, 3DES, RC4, export and no encryption at all.
const BAD: [u16; 8] = [0x009c, 0x002f, 0x0035, 0xc013, 0x000a, 0x0005, 0x0003, 0x0001];

/// A ClientHello of that version, as a client of its time would send it.
fn hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let pair = |value: u16| value.to_be_bytes();
    let with_length = |bytes: &[u8]| [&pair(bytes.len() as u16)[..], bytes].concat();
    let extension = |kind: u16, body: &[u8]| [&pair(kind)[..], &with_length(body)].concat();
    let groups = extension(0x000a, &with_length(&[pair(0x001d), pair(0x0017)].concat()));
    let points = extension(0x000b, &[1, 0]);
    let schemes = [0x0403, 0x0804, 0x0401, 0x0203, 0x0201].map(pair).concat();
    let schemes = extension(0x000d, &with_length(&schemes));
    let suites: Vec<u8> = suites.iter().flat_map(|suite| pair(*suite)).collect();
    let body = [
        &pair(version)[..],
        &[7; 32],
        &[0],
        &with_length(&suites),
        &[1, 0],
        &with_length(&[groups, points, schemes].concat()),
    ]
    .concat();
    let handshake = [&[1, 0][..], &with_length(&body)].concat();
    [&[22, 3, if version == 0x0300 { 0 } else { 1 }][..], &with_length(&handshake)].concat()
}

/// The first record of the answer: its kind, and for an alert which one.
fn answer(url: &str, hello: &[u8]) -> (u8, Option<u8>) {
    let mut stream = TcpStream::connect(url.strip_prefix("https://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(hello).unwrap();
    let mut head = [0; 7];
    stream.read_exact(&mut head).unwrap();
    (head[0], (head[0] == 21).then_some(head[6]))
}

#[tokio::test]
async fn tls_1_2_is_the_oldest_version_and_weak_suites_are_refused() {
    const HANDSHAKE: u8 = 22;
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(init(dir.path(), &[]).await.status.code(), Some(0));
    let served = start(dir.path(), &TLS).await;
    let url = served.url.clone();
    let tried = tokio::task::spawn_blocking(move || {
        assert_eq!(answer(&url, &hello(0x0303, &GOOD)), (HANDSHAKE, None), "TLS 1.2 is spoken");
        for (name, version) in [("SSL 3.0", 0x0300), ("TLS 1.0", 0x0301), ("TLS 1.1", 0x0302)] {
            let answer = answer(&url, &hello(version, &GOOD));
            assert_eq!(answer, (ALERT, Some(PROTOCOL_VERSION)), "{name}");
        }
        for suite in BAD {
            let answer = answer(&url, &hello(0x0303, &[suite]));
            assert_eq!(answer, (ALERT, Some(HANDSHAKE_FAILURE)), "suite {suite:04x}");
        }
    });
    tried.await.unwrap();
    // And TLS 1.3, asked for alone.
    let mut request = http::Request::get(format!("{}/healthz", served.url));
    request =
        request.extension(shoal_base::world::TlsPolicy::Insecure).extension(shoal_base::world::OnlyTls13);
    let request = request.body(bytes::Bytes::new()).unwrap();
    let answer = tower::ServiceExt::oneshot(shoal_base::world::real_transport(&[]), request).await.unwrap();
    assert_eq!(answer.status(), 200);
}
