//! argv, the real World, one command. It holds no logic of its own.

use std::process::ExitCode;
use std::time::Duration;

use shoal_base::world::{Clock, Rng, World, real_transport};

/// What a file operation in progress may take after the command has ended.
const LAST_FILES: Duration = Duration::from_secs(1);

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Chosen once, here; an error would mean that one is installed already, and does no harm.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("the system gives threads");
    let code = runtime.block_on(async {
        let world = World { clock: Clock::system(), rng: Rng::from_system(), transport: real_transport(&[]) };
        shoal::cli::run(std::env::args_os().collect(), world).await
    });
    runtime.shutdown_timeout(LAST_FILES);
    code
}
