//! The media server beside nginx with sendfile: ranges of 64 KiB to 64 connections, and a thousand slow readers.
//!
//! Both on loopback with two workers, loaded by the same program with the same requests. The load shares the machine's
//! cores with the server, so only ratios mean anything, and the CPU time of the server most of all.

mod load;
mod nginx;
mod ours;

use std::fs::File;
use std::path::Path;

use rustix::fs::Advice;

use crate::installer::make_installer;
use load::{Load, slow_readers};
use nginx::Nginx;
use ours::Ours;

pub use load::read_slowly;
pub use ours::insert_job;

const ROUNDS: usize = 5;
const WORKERS: usize = 2;

/// For both servers.
struct Certificate {
    pem: String,
    key: String,
}

/// One server's answer to a load.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    /// Of the server alone, in microseconds.
    cpu_per_request: f64,
}

pub fn measure() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    make_installer(folder.path());
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let certificate = Certificate { pem: made.cert.pem(), key: made.signing_key.serialize_pem() };
    let file = folder.path().join("vendor.iso");
    let load = Load::new(folder.path(), file.metadata().expect("just made").len());
    let ours = Ours::start(folder.path(), &certificate);
    let nginx = Nginx::start(folder.path(), &certificate);
    let kept = ours.file(folder.path());

    let plain = compare(&load, [(&nginx.url, nginx.pids()), (&ours.as_is, own())]);
    print("ranges of 64 KiB, as it is", "nginx", &plain, "1.0");
    let patched = compare(&load, [(&ours.as_is, own()), (&ours.patched, own())]);
    print("ranges of 64 KiB, patched", "as it is", &patched, "0.98");
    let tls = compare(&load, [(&nginx.tls_url, nginx.pids()), (&ours.tls, own())]);
    print("ranges of 64 KiB, TLS", "nginx", &tls, "1.0");
    print_cold([(&nginx.url, &file), (&ours.as_is, &kept)]);
    slow_readers("nginx", &nginx.url, &nginx.pids());
    slow_readers("the media server", &ours.as_is, &own());
}

fn own() -> Vec<u32> {
    vec![std::process::id()]
}

/// A peer and ours by turns; who goes first alternates too.
fn compare(load: &Load, sides: [(&String, Vec<u32>); 2]) -> Vec<[Rate; 2]> {
    let [(peer, peer_pids), (ours, our_pids)] = &sides;
    let rounds = (0..ROUNDS).map(|round| {
        if round % 2 == 0 {
            let peer = load.run(peer, peer_pids);
            [peer, load.run(ours, our_pids)]
        } else {
            let ours = load.run(ours, our_pids);
            [load.run(peer, peer_pids), ours]
        }
    });
    rounds.collect()
}

/// The whole file by one reader, with no page of it in memory.
fn print_cold(sides: [(&String, &Path); 2]) {
    let read = |side: usize| {
        let (url, file) = sides[side];
        forget(file);
        let (bytes, took) = load::read_whole(url);
        bytes as f64 / took.as_secs_f64() / 1e6
    };
    let rounds: Vec<[f64; 2]> = (0..ROUNDS).map(|_| [read(0), read(1)]).collect();
    let side = |side: usize| median(rounds.iter().map(|round| round[side]).collect());
    let ratio = median(rounds.iter().map(|round| round[1] / round[0]).collect());
    println!(
        "whole image from the disk: {:.0} MB/s; nginx: {:.0} MB/s; ratio: {ratio:.2} (aim: 1.0)",
        side(1),
        side(0)
    );
}

fn forget(path: &Path) {
    let file = File::open(path).expect("it was just served");
    file.sync_all().expect("a file can be synced");
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("advice on a file");
}

fn print(what: &str, peer_name: &str, rounds: &[[Rate; 2]], aim: &str) {
    let of = |value: fn(&Rate) -> f64| -> [f64; 3] {
        let side = |side: usize| median(rounds.iter().map(|round| value(&round[side])).collect());
        [side(0), side(1), median(rounds.iter().map(|round| value(&round[1]) / value(&round[0])).collect())]
    };
    let [peer, ours, ratio] = of(|rate| rate.per_second);
    println!("{what}: {ours:.0} a second; {peer_name}: {peer:.0} a second; ratio: {ratio:.2} (aim: {aim})");
    let [peer, ours, ratio] = of(|rate| rate.cpu_per_request);
    println!(
        "{what}, CPU: {ours:.1} us a request; {peer_name}: {peer:.1} us; ratio: {ratio:.2} (aim: at most 1.0)"
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
