//! `shoal-agent`: `/init` of the maintenance system, or a program that its service starts.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use shoal_agent::init::{self, Drivers};
use shoal_agent::{Client, Log, Machine, Web, panic_text, run};

const HELP: &str = "\
shoal-agent: writes a disk image to this machine's disk, as the task medium says, and reports

As the first process of a system it needs no arguments: it powers the machine off after a success and waits after a
failure.

Options, for a system that starts it as a service:
  --no-poweroff   leave the machine on after a success
  --root DIR      use the devices below DIR in place of this machine's, for tests
  --version       show the version
";

struct Options {
    power_off: bool,
    root: PathBuf,
}

fn main() -> ExitCode {
    let mut args = std::env::args();
    if init::is_first_process(&args.next().unwrap_or_default()) {
        first_process();
    }
    let mut options = Options { power_off: true, root: PathBuf::from("/") };
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.size_hint().0) {
            ("--no-poweroff", _) => options.power_off = false,
            ("--root", 1..) => options.root = args.next().map(PathBuf::from).unwrap_or_default(),
            ("--version", _) => {
                println!("shoal-agent {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            ("--help" | "-h", _) => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            _ => {
                eprintln!("unknown option {arg}; --help shows the options");
                return ExitCode::from(2);
            }
        }
    }
    service(&options)
}

/// A kernel passes what it does not know of its command line, so arguments mean nothing here.
fn first_process() -> ! {
    init::mount_all();
    let machine = Machine::real();
    let log = Log::new(init::consoles());
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
        log.line(&format!("shoal-agent {}", env!("CARGO_PKG_VERSION")));
        let mut drivers = Drivers::default();
        drivers.load(&machine);
        init::mount_efivars();
        let installed = install(&machine, &log, &mut || drivers.load(&machine));
        if installed {
            log.line("powering off");
            let error = init::power_off(&machine);
            log.line(&format!("the machine cannot be powered off: {error}"));
        }
    }));
    if let Err(panic) = outcome {
        log.line(&panic_text(&*panic));
    }
    log.line("waiting; the machine may be powered off");
    init::wait(&machine)
}

fn service(options: &Options) -> ExitCode {
    let is_real = options.root == Path::new("/");
    let machine = Machine::below(&options.root);
    let stderr: Box<dyn Write + Send> = Box::new(std::io::stderr());
    let consoles = if is_real { init::consoles() } else { Vec::new() };
    let log = Log::new(std::iter::once(stderr).chain(consoles).collect());
    if !install(&machine, &log, &mut || {}) {
        return ExitCode::FAILURE;
    }
    if is_real && options.power_off {
        let error = init::power_off(&machine);
        log.line(&format!("the machine cannot be powered off: {error}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn install(machine: &Machine, log: &Log, on_wait: &mut dyn FnMut()) -> bool {
    let make_web = |job: &_| -> Box<dyn Web> { Box::new(Client::new(job)) };
    run(machine, log, &make_web, on_wait).is_ok()
}
