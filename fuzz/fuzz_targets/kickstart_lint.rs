//! Any bytes for the target of this name; what must hold of them is in `src/fuzz/`.

#![no_main]

libfuzzer_sys::fuzz_target!(init: shoal_fuzz::write_seeds_if_asked(), |data: &[u8]| shoal::fuzz::run("kickstart_lint", data));
