//! Prints `dist/shoal.toml`, for `cargo xtask settings`.

fn main() {
    print!("{}", shoal::config::settings_sample());
}
