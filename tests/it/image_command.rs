//! `shoal image` as an admin handles it: the real binary, a controller, sockets.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::process::{BOUND, Served, shoal, start, text};

async fn run(served: &Served, dir: &Path, arguments: &[&str]) -> Output {
    let mut command = shoal();
    command.current_dir(dir).args(["image"]).args(arguments);
    command.env("SHOAL_URL", &served.url).env("SHOAL_TOKEN", &served.token);
    tokio::time::timeout(BOUND, command.output()).await.unwrap().unwrap()
}

async fn ok(served: &Served, dir: &Path, arguments: &[&str]) -> String {
    let output = run(served, dir, arguments).await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

async fn refused(served: &Served, dir: &Path, arguments: &[&str]) -> String {
    let output = run(served, dir, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("var/shoal/images")).unwrap().count()
}

#[tokio::test]
async fn an_image_is_uploaded_kept_over_a_restart_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let bytes: Vec<u8> = (0..5_000_001_u32).map(|index| (index >> 5) as u8).collect();
    std::fs::write(dir.join("debian.raw"), &bytes).unwrap();
    let digest = shoal_base::hex(&Sha256::digest(&bytes));
    let served = start(dir, &["--drain-timeout=1s"]).await;

    let wrong = refused(&served, dir, &["add", "debian.raw", "--sha256", &"ab".repeat(32)]).await;
    assert!(wrong.contains(&digest), "{wrong}");
    assert!(refused(&served, dir, &["add", "missing.raw"]).await.contains("missing.raw cannot be read"));
    assert!(refused(&served, dir, &["add", "https://files.example/a"]).await.contains("IMAGES_ALLOW"));
    assert_eq!(files(dir), 0);
    let added = ok(&served, dir, &["add", "debian.raw"]).await;
    assert!(added.contains(&digest) && added.contains("debian.raw") && added.contains("4.8 MiB"), "{added}");
    ok(&served, dir, &["add", "debian.raw", "--sha256", &digest]).await;
    ok(&served, dir, &["add", "debian.raw", "--name", "other"]).await;
    assert_eq!(files(dir), 2);

    served.stop("-TERM").await;
    let served = start(dir, &["--drain-timeout=1s"]).await;
    let list = ok(&served, dir, &["list"]).await;
    assert!(list.contains(&digest) && list.contains("debian.raw") && list.lines().count() == 2, "{list}");
    ok(&served, dir, &["rm", "debian.raw"]).await;
    assert!(refused(&served, dir, &["rm", "debian.raw"]).await.contains("404"));
    assert_eq!(files(dir), 0);
}

/// The client goes away in the middle, and later the controller does.
#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let served = start(dir, &["--drain-timeout=1s"]).await;
    let stream = half_an_upload(&served, dir).await;
    drop(stream);
    until_files(dir, 0).await;
    let _stream = half_an_upload(&served, dir).await;
    served.stop("-KILL").await;
    assert_eq!(files(dir), 1, "as a crash leaves it");
    let _served = start(dir, &["--drain-timeout=1s"]).await;
    assert_eq!(files(dir), 0);
}

#[expect(clippy::disallowed_methods, reason = "a peer that goes away in the middle")]
async fn half_an_upload(served: &Served, dir: &Path) -> tokio::net::TcpStream {
    let address = served.url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/images?name=a HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/octet-stream\r\nContent-Length: 9000000\r\n\r\n",
        served.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; 3_000_000]).await.unwrap();
    until_files(dir, 1).await;
    stream
}

async fn until_files(dir: &Path, wanted: usize) {
    let waited = async {
        while files(dir) != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, waited).await.unwrap();
}
