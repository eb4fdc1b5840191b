//! Instructions that pure parts execute, by callgrind: a count that depends on no other load of the machine.
//!
//! Each part runs in a program of its own for two numbers of rounds; the difference is free of what starting costs.

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use shoal::api;
use shoal::domain::{Drive, Medium};
use shoal::media::{Image, Media, MediumLandmarks, Watched};
use shoal::seal::Sealer;
use shoal::store::Store;
use shoal_base::world::Clock;
use shoal_image::installer::Landmarks;
use shoal_image::iso::{Overlay, build_task_iso};
use tower::ServiceExt as _;

use crate::serving::insert_job;
use crate::task_iso::kickstart;

const ROUNDS: [u64; 2] = [50, 150];
const IMAGE_BYTES: usize = 8 << 20;
const RANGE_BYTES: usize = 64 << 10;

type Part = (&'static str, fn(u64));

const PARTS: [Part; 3] = [
    ("task ISO, 4 KiB of kickstart", task_iso),
    ("kickstart checked, 4 KiB", lint),
    ("a range of 64 KiB answered, without the connection", range),
];

pub fn measure() {
    for (number, (what, _)) in PARTS.iter().enumerate() {
        let [few, many] = ROUNDS.map(|rounds| collected(number, rounds));
        println!("{what}: {} instructions", (many - few) / (ROUNDS[1] - ROUNDS[0]));
    }
}

/// The program that callgrind watches.
pub fn run(part: &str, rounds: &str) {
    let number: usize = part.parse().expect("a number of a part");
    PARTS[number].1(rounds.parse().expect("a number of rounds"));
}

fn collected(part: usize, rounds: u64) -> u64 {
    let program = std::env::current_exe().expect("this program has a path");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    let output = valgrind.args(["instructions-of", &part.to_string(), &rounds.to_string()]).output();
    let output = output.unwrap_or_else(|error| panic!("valgrind: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the part ended with {}: {said}", output.status);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    count.unwrap_or_else(|| panic!("callgrind counted nothing: {said}"))
}

fn task_iso(rounds: u64) {
    let text = kickstart();
    for _ in 0..rounds {
        black_box(build_task_iso(black_box(&text), b"{}", None));
    }
}

fn lint(rounds: u64) {
    let text = kickstart();
    for _ in 0..rounds {
        black_box(shoal_kickstart::lint(black_box(&text), shoal_kickstart::Options::default()));
    }
}

fn range(rounds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = Store::in_memory(Sealer::new([1; 32])).expect("a database in memory");
        // The machine's own is read through the vDSO, which valgrind hides.
        let clock = Clock::virtual_from("2026-11-22T12:00:00Z".parse().expect("a time"));
        let media = Media::new(clock, [2; 32], store.clone());
        let job = insert_job(&store, 1).await;
        let unchanged = Overlay { size: IMAGE_BYTES as u64, patches: Vec::new() };
        let image = Arc::new(Image::in_memory(Bytes::from(vec![1; IMAGE_BYTES]), "", unchanged));
        let marks = Landmarks { descriptors: 0..1, boot_catalog: None, payload: Vec::new() };
        let landmarks = MediumLandmarks::installer(marks);
        let watched = Watched { image, drive: Drive::Cd, landmarks };
        media.publish(job, Medium::Boot, watched, None).await.expect("published");
        let service = api::media_first(&media, false, axum::Router::new());
        let path = media.path(job, Medium::Boot, Drive::Cd, 1);
        for round in 0..rounds as usize {
            let first = round * RANGE_BYTES % IMAGE_BYTES;
            let range = format!("bytes={first}-{}", first + RANGE_BYTES - 1);
            let request = Request::get(&path).header("range", range).body(Body::empty()).expect("a request");
            let response = service.clone().oneshot(request).await.expect("it never fails");
            assert_eq!(response.status(), 206);
            black_box(response.into_body().collect().await.expect("a body"));
        }
    });
}
