//! `cargo xtask fuzz`: cargo-fuzz over every target, or some, for so long each.
//!
//! What a target checks is in `src/fuzz/`. Corpora grow in `target/fuzz/corpus`, and a finding is left in
//! `target/fuzz/findings`; what is kept of one for ever, by hand, is in `fuzz/regressions`. Invariant: a
//! finding fails the chore, and the others still get their time.
//!
//! No sanitizer is built in: the project's code is safe Rust but for one mapping, and with one the
//! compiler would have to be a nightly. Sums are checked, memory and time are limited.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use xtask::source::ROOT;

use crate::debian;
use crate::process::{Done, capture, command, fail, has, run};

const CARGO_FUZZ: &str = "cargo-fuzz@0.13.2";
const BUILD: [&str; 4] = ["--sanitizer", "none", "--target-dir", "target/fuzz/build"];
/// Captures of real BMCs lie beside the project, where anybody has them.
const CAPTURES: &str = "../shared/captures";
/// Of one input: more is a finding.
const LIMITS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=512"];

#[derive(Debug, PartialEq, Eq)]
struct Options<'a> {
    targets: Vec<&'a str>,
    seconds: u32,
}

pub fn targets(words: &[&str]) -> Done {
    let options = options(words)?;
    debian::ensure("fuzzing", debian::FOR_FUZZ)?;
    if !has("cargo-fuzz") {
        run(&mut command("cargo", &["install", "--locked", CARGO_FUZZ]))?;
    }
    copy_lock()?;
    let known = capture(&mut command("cargo", &["fuzz", "list"]))?;
    let known: Vec<&str> = known.split_whitespace().collect();
    if let Some(unknown) = options.targets.iter().find(|target| !known.contains(target)) {
        return fail(format!("fuzz: there is no target {unknown}; there are {}", known.join(", ")));
    }
    let targets = if options.targets.is_empty() { known } else { options.targets };
    begin(targets[0])?;
    let mut found = Vec::new();
    for target in targets {
        let start = Instant::now();
        let clean = fuzz(target, options.seconds);
        let word = if clean.is_ok() { "clean" } else { "a finding" };
        println!("fuzz {target}: {word} after {:.0} s", start.elapsed().as_secs_f64());
        found.extend(clean.err().map(|_| target));
    }
    match found.as_slice() {
        [] => Ok(()),
        found => fail(format!("findings in {}: see target/fuzz/findings", found.join(", "))),
    }
}

fn options<'a>(words: &[&'a str]) -> Done<Options<'a>> {
    let mut options = Options { targets: Vec::new(), seconds: 60 };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match (*word, word.starts_with('-')) {
            ("--seconds", _) => match words.next().map(|seconds| seconds.parse()) {
                Some(Ok(seconds @ 1..)) => options.seconds = seconds,
                _ => return fail("fuzz: --seconds wants a number from 1"),
            },
            (flag, true) => return fail(format!("fuzz: what is {flag}?")),
            (target, false) => options.targets.push(target),
        }
    }
    Ok(options)
}

/// The versions that the project is built with; cargo adds what only the targets need.
fn copy_lock() -> Done {
    let (lock, copy) = (Path::new(ROOT).join("Cargo.lock"), Path::new(ROOT).join("fuzz/Cargo.lock"));
    fs::copy(lock, copy).map(drop).or_else(|error| fail(format!("Cargo.lock cannot be copied: {error}")))
}

fn folder(name: &str) -> PathBuf {
    Path::new(ROOT).join("target/fuzz").join(name)
}

fn make(folder: &Path) -> Done {
    fs::create_dir_all(folder).or_else(|error| fail(format!("{} cannot be made: {error}", folder.display())))
}

/// A corpus to begin with, written by whichever target.
fn begin(target: &str) -> Done {
    let images = folder("images");
    make_images(&images)?;
    let images = images.join("made");
    let mut seeds = cargo_fuzz(target);
    seeds.env("SHOAL_FUZZ_SEEDS", folder("corpus")).env("SHOAL_FUZZ_IMAGES", images);
    if std::env::var_os("SHOAL_CAPTURES").is_none() {
        seeds.env("SHOAL_CAPTURES", Path::new(ROOT).join(CAPTURES));
    }
    run(&mut seeds)
}

fn cargo_fuzz(target: &str) -> std::process::Command {
    let mut fuzz = command("cargo", &["fuzz", "run"]);
    fuzz.args(BUILD).arg(target);
    fuzz
}

fn fuzz(target: &str, seconds: u32) -> Done {
    let (corpus, findings) = (folder("corpus").join(target), folder("findings").join(target));
    make(&corpus)?;
    make(&findings)?;
    let kept = Path::new(ROOT).join("fuzz/regressions").join(target);
    let mut fuzz = cargo_fuzz(target);
    fuzz.arg(corpus).args(kept.is_dir().then_some(kept)).arg("--").args(LIMITS);
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", findings.display()));
    run(fuzz.arg("-print_final_stats=1"))
}

/// Small images laid out like the vendor's, by the writers that people use.
fn make_images(folder: &Path) -> Done {
    let tree = folder.join("tree");
    make(&tree.join("EFI/BOOT"))?;
    let boot_cfg = "bootstate=0\ntitle=Loading ESXi installer\nkernel=/b.b00\nkernelopt=runweasel cdromBoot\n\
                    modules=/k.b00 --- /long_name.v00\nbuild=8.0.3-0.0.24022510\n";
    let files: [(&str, &[u8]); 7] = [
        ("BOOT.CFG", boot_cfg.as_bytes()),
        ("EFI/BOOT/BOOT.CFG", boot_cfg.as_bytes()),
        ("B.B00", b"kernel"),
        ("K.B00", b"module"),
        ("LONG_NAM.V00", b"module"),
        ("ISOLINUX.BIN", &[0x15; 100]),
        ("EFIBOOT.IMG", &[0xFA; 100]),
    ];
    for (name, content) in files {
        fs::write(tree.join(name), content)
            .or_else(|error| fail(format!("{name} cannot be written: {error}")))?;
    }
    let made = folder.join("made");
    make(&made)?;
    for (maker, prefix) in [("xorriso", &["-as", "mkisofs"][..]), ("genisoimage", &[])] {
        for (name, flags) in [
            ("plain", &[][..]),
            ("joliet", &["-J"]),
            ("rock-ridge", &["-R"]),
            ("both", &["-J", "-R"]),
            ("relaxed", &["-iso-level", "3", "-J", "-R"]),
        ] {
            let plain = maker == "xorriso" && !flags.contains(&"-R");
            let mut make = command(maker, prefix);
            make.args(plain.then_some("--norock")).args(flags);
            make.args([
                "-quiet",
                "-V",
                "ESXI-8.0U3-24022510",
                "-A",
                "ESXIMAGE",
                "-no-pad",
                "-b",
                "ISOLINUX.BIN",
            ]);
            make.args([
                "-c",
                "BOOT.CAT",
                "-no-emul-boot",
                "-boot-load-size",
                "1",
                "-eltorito-alt-boot",
                "-e",
            ]);
            make.args(["EFIBOOT.IMG", "-no-emul-boot", "-o"]).arg(made.join(format!("{maker}-{name}.iso")));
            capture(make.arg(&tree))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_their_time_come_in_any_order() {
        let wanted = Options { targets: vec!["iso", "range"], seconds: 7 };
        assert_eq!(options(&["iso", "--seconds", "7", "range"]).unwrap(), wanted);
        assert_eq!(options(&[]).unwrap(), Options { targets: vec![], seconds: 60 });
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--forever"]] {
            assert!(options(wrong).is_err(), "{wrong:?}");
        }
    }
}
