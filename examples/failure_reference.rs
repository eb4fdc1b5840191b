//! Prints `docs/failures.md`, for `cargo xtask failures`.

fn main() {
    print!("{}", shoal::domain::failure_reference());
}
