//! argv, the real World, one command. It holds no logic of its own.

use std::process::ExitCode;

use shoal::world::{Clock, Rng, World, real_transport};

#[tokio::main]
async fn main() -> ExitCode {
    // Chosen once, here; an error would mean that one is installed already, and does no harm.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let world = World { clock: Clock::system(), rng: Rng::from_system(), transport: real_transport(&[]) };
    shoal::cli::run(std::env::args_os(), world).await
}
