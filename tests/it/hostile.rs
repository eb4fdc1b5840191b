//! Peers that mean harm, over real sockets: a BMC that answers anything or nothing, and clients that
//! connect and say nothing.
//!
//! What the Redfish client makes of single answers is in `crates/shoal-redfish/src/tests/`, what a listener allows one
//! connection in `src/cli/serve/listen.rs`. Invariant: time is paused where a deadline is waited for, so
//! nothing but a deadline ends the wait.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use shoal_base::Password;
use shoal_base::world::{Clock, Rng, TlsPolicy, World, real_transport};
use shoal_redfish::{Account, Bmc, BmcPool, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::process::{BOUND, Served, start};

const PASSWORD: &str = "s3cret-of-the-BMC";

/// What a hostile BMC says to every request, again and again until the client disconnects.
#[derive(Clone)]
struct Script {
    first: Vec<u8>,
    then: Vec<u8>,
    pause: Duration,
}

fn script(first: &str, then: &str, pause: Duration) -> Script {
    Script { first: first.into(), then: then.into(), pause }
}

/// A listener, how many connections it had, and how many bytes it was asked to take back.
struct Hostile {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    sent: Arc<AtomicU64>,
}

async fn listen(script: Script) -> Hostile {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let hostile = Hostile { address, connections: Arc::default(), sent: Arc::default() };
    let (connections, sent) = (hostile.connections.clone(), hostile.sent.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(say(stream, script.clone(), sent.clone()));
        }
    });
    hostile
}

async fn say(mut stream: TcpStream, script: Script, sent: Arc<AtomicU64>) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let mut words = script.first.as_slice();
    while stream.write_all(words).await.is_ok() {
        sent.fetch_add(words.len() as u64, Ordering::Relaxed);
        words = &script.then;
        if words.is_empty() {
            // Neither a word nor an end.
            return std::future::pending().await;
        }
        tokio::time::sleep(script.pause).await;
    }
}

fn bmc(address: SocketAddr) -> Bmc {
    let world = World {
        clock: Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap()),
        rng: Rng::from_seed(1),
        transport: real_transport(&[]),
    };
    let account = Account {
        address: Url::parse(&format!("http://{address}")).unwrap(),
        username: "root".into(),
        password: Password::new(PASSWORD.into()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    BmcPool::new(world, Limits { retries: 1, ..Limits::default() }).bmc(&account)
}

/// Asks such a BMC what it is: the error, within ten minutes of its time.
async fn ask(script: Script) -> (String, Hostile) {
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let hostile = listen(script).await;
    let begin = tokio::time::Instant::now();
    let error = bmc(hostile.address).observe_service().await.unwrap_err().to_string();
    assert!(begin.elapsed() < Duration::from_secs(600), "{:?}: {error}", begin.elapsed());
    assert!(!error.contains(PASSWORD), "{error}");
    (error, hostile)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
const SLOWLY: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_bmc_that_never_comes_to_an_end_is_left_at_the_deadline() {
    for script in [
        script("", "", SLOWLY),
        script("HTTP/1.1 200", "", SLOWLY),
        script(OK, "x: y\r\n", SLOWLY),
        script(&format!("{OK}content-length: 1000\r\n\r\n{{"), " ", SLOWLY),
        script(&format!("{OK}transfer-encoding: chunked\r\n\r\n"), "1\r\n \r\n", SLOWLY),
        script("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", SLOWLY),
    ] {
        let (_, hostile) = ask(script).await;
        assert!(hostile.connections.load(Ordering::Relaxed) <= 8);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_floods_is_cut_off() {
    let blanks = " ".repeat(64 << 10);
    let headers = format!("x: {blanks}\r\n");
    for script in [
        script(OK, &headers, Duration::ZERO),
        script(&format!("{OK}\r\n"), &blanks, Duration::ZERO),
        script(&format!("{OK}content-length: 9999999999\r\n\r\n"), &blanks, Duration::ZERO),
    ] {
        let (_, hostile) = ask(script).await;
        // A little over 4 MiB a response, with what the system's sockets hold; four answers at most.
        assert!(hostile.sent.load(Ordering::Relaxed) < 64 << 20);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_points_elsewhere_is_not_followed_and_no_password_goes_there() {
    let elsewhere = listen(script("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "", SLOWLY)).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nlocation: http://{}/redfish/v1/\r\ncontent-length: 0\r\n\r\n",
            elsewhere.address
        );
        let (error, _) = ask(script(&answer, "", SLOWLY)).await;
        assert!(error.contains(&elsewhere.address.to_string()), "{error}");
    }
    assert_eq!(elsewhere.connections.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_nests_without_end_or_lists_without_end_is_refused() {
    let deep = "[".repeat(100_000);
    let wide = format!("{{\"a\":[{}0]}}", "0,".repeat(1_500_000));
    for body in [deep, wide] {
        let answer = format!("{OK}content-length: {}\r\n\r\n{body}", body.len());
        ask(script(&answer, "", SLOWLY)).await;
    }
}

/// Resident memory of a process, in KiB.
fn resident_kib(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
}

const IDLE: u64 = 10_000;
/// What an idle connection may cost the controller, as docs/operations.md says.
const KIB_EACH_MAX: u64 = 16;

#[tokio::test]
async fn ten_thousand_idle_connections_cost_little_and_hinder_no_client() {
    let files = rlimit::increase_nofile_limit(IDLE + 1_000).unwrap();
    assert!(files >= IDLE + 500, "this test opens {IDLE} sockets, and the system allows it {files} files");
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &[]).await;
    assert_eq!(served.get("/readyz").await.0, 200);
    let address = served.url.strip_prefix("http://").unwrap().to_owned();
    let before = resident_kib(&served);
    let mut idle = Vec::new();
    for n in 0..IDLE {
        let mut stream = connect(&address).await;
        // Every other one has begun to say something.
        if n % 2 == 0 {
            stream.write_all(b"GET /api/v1/jobs HTTP/1.1\r\nhost: x\r\nx: ").await.unwrap();
        }
        idle.push(stream);
    }
    assert_eq!(served.get("/readyz").await.0, 200, "the controller answers others");
    let (status, server) = served.post("/api/v1/servers", server_json()).await;
    assert_eq!(status, 201, "and writes its database: {server}");
    let cost = resident_kib(&served).saturating_sub(before);
    println!("{IDLE} idle connections: {before} KiB before, {cost} KiB more");
    assert!(cost < IDLE * KIB_EACH_MAX, "{cost} KiB for {IDLE} connections");
    drop(idle);
    assert_eq!(served.stop("-TERM").await.0, Some(0));
}

#[expect(clippy::disallowed_methods, reason = "a peer that speaks no proper HTTP")]
async fn connect(address: &str) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a BMC that speaks no proper HTTP")]
async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// The status of what a path is answered with, sent as it stands.
async fn status_of(served: &Served, path: &str) -> u16 {
    let mut stream = connect(served.url.strip_prefix("http://").unwrap()).await;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        served.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(!answer.contains(&served.token) && !answer.contains("root:"), "{path}: {answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Names in paths are names of jobs or nothing: none of them becomes a part of a file's name.
#[tokio::test]
async fn paths_that_lead_out_of_a_directory_lead_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let served = start(dir.path(), &[]).await;
    let id = "0123456789abcdef0123456789abcdef";
    for path in [
        "/media/tasks/../../admin.token",
        "/media/tasks/..%2f..%2fadmin.token/task.iso",
        "/media/tasks/%2e%2e/%2e%2e/admin.token",
        "/media/tasks/..\\..\\admin.token/task.iso",
        "/media/tasks//etc/passwd",
        "/media/tasks/%2fetc%2fpasswd/task.iso",
        "/media/tasks/%00/task.iso",
        &format!("/media/tasks/{id}%00/task.iso"),
        &format!("/media/tasks/{id}/../../admin.token"),
        &format!("/media/tasks/{id}/task.iso/../../../admin.token"),
        &format!("/media/tasks/{}/task.iso", "a".repeat(20_000)),
        &format!("/media/installers/{id}.../esxi.iso"),
        &format!("/media/installers/{id}.%2e%2e%2f/esxi.iso"),
        "/media/installers/../../../../etc/passwd",
        "/api/v1/jobs/..%2f..%2fadmin.token",
        "/api/v1/servers/..%2f..%2fadmin.token",
        "//admin.token",
        "/../../../../etc/passwd",
    ] {
        let status = status_of(&served, path).await;
        assert!((400..=404).contains(&status), "{path}: {status}");
    }
    let tasks = std::fs::metadata(dir.path().join("var/shoal/task-isos")).unwrap();
    assert_eq!(tasks.permissions().mode() & 0o777, 0o700, "for the controller alone");
    assert_eq!(served.stop("-TERM").await.0, Some(0));
}

fn server_json() -> serde_json::Value {
    serde_json::json!({"serial": "A1", "bmc_address": "https://127.0.0.1:9", "bmc_username": "root", "bmc_password": "x"})
}
