//! What goes wrong while machines install: a controller that is killed, a Redfish service that hangs, a
//! media port that is blocked.
//!
//! Invariant: whatever is taken away comes back before the scenario ends.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::controller::Controller;
use super::machine::Machine;
use super::scenario::Scenario;
use super::{home, read};
use crate::process::{Done, capture, command, fail};

const HUNG: Duration = Duration::from_secs(60);
/// Less than the patience of the machines' drives (lab/emulator.py).
const BLOCKED: Duration = Duration::from_secs(40);
/// How long a read is tried again while nobody listens.
const AWAY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);
/// Stages of an installation by what the console shows.
const STAGES: [&str; 5] = [
    "STANDIN: installer starts",
    "STANDIN: installs to",
    "STANDIN: INSTALL COMPLETE",
    "STANDIN: REBOOTING",
    "INSTALLED OK",
];
/// Of the steps in a job's life some are over before anybody can look.
const KILLS_MIN: usize = 10;

#[derive(Clone, Copy)]
pub enum Trouble {
    None,
    /// The controller dies by SIGKILL whenever a job is seen in a step, or a machine in a stage, for the first
    /// time, and is started again.
    Killed,
    /// The Redfish service stands still for a minute in the middle of the installation.
    Hung,
    /// Nothing comes through to the controller's media in the middle of the installer's loading.
    Blocked,
}

impl Trouble {
    /// Makes it, and says what it came to.
    pub fn make(
        self,
        machines: &[(&Scenario, Machine)],
        controller: &Controller,
        gate: &Gate,
        over: &AtomicBool,
    ) -> Done<String> {
        let first = &machines[0].1;
        match self {
            Trouble::None => Ok(String::new()),
            Trouble::Killed => kill_in_every_phase(machines, controller, over),
            Trouble::Hung => {
                first.await_console(STAGES[1])?;
                let service = read(&home().join("run/emulator.pid"))?;
                let signal = |name: &str| capture(&mut command("kill", &[name, &service]));
                signal("-STOP")?;
                std::thread::sleep(HUNG);
                signal("-CONT")?;
                Ok(format!("; hung for {} s", HUNG.as_secs()))
            }
            Trouble::Blocked => {
                first.await_console(STAGES[0])?;
                gate.way.closed.store(true, Ordering::Release);
                std::thread::sleep(BLOCKED);
                gate.way.closed.store(false, Ordering::Release);
                Ok(format!("; blocked for {} s", BLOCKED.as_secs()))
            }
        }
    }
}

fn kill_in_every_phase(
    machines: &[(&Scenario, Machine)],
    controller: &Controller,
    over: &AtomicBool,
) -> Done<String> {
    let mut seen = BTreeSet::new();
    while !over.load(Ordering::Acquire) {
        let mut now: Vec<String> = controller.steps().unwrap_or_default();
        if now.len() < machines.len() {
            // Nobody's request for a job is to be lost: that is another test's matter.
            continue;
        }
        let stages = machines.iter().flat_map(|(_, machine)| STAGES.map(|stage| (machine, stage)));
        now.extend(
            stages
                .filter(|(machine, stage)| machine.count(stage) > 0)
                .map(|(machine, stage)| format!("{} {stage}", machine.number)),
        );
        let known = seen.len();
        seen.extend(now);
        if seen.len() > known {
            controller.kill_and_start_again()?;
        }
        std::thread::sleep(LOOK);
    }
    let kills = controller.kills();
    match kills {
        KILLS_MIN.. => Ok(format!("; killed {kills} times")),
        _ => fail(format!("the controller was killed {kills} times only, in: {seen:?}")),
    }
}

/// The way from BMCs to the controller's media, which can be blocked as a firewall does it: what is under way
/// stands still.
pub struct Gate {
    way: Arc<Way>,
    listener: TcpListener,
    port: u16,
}

#[derive(Default)]
struct Way {
    target: AtomicU16,
    closed: AtomicBool,
}

impl Gate {
    pub fn open() -> Done<Gate> {
        let made = TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            let port = listener.local_addr()?.port();
            Ok(Gate { way: Arc::default(), listener, port })
        });
        made.or_else(|error| fail(format!("the way to the media: {error}")))
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Lets connections through to that port of loopback, until this process ends.
    pub fn lead_to(&self, port: u16) {
        self.way.target.store(port, Ordering::Release);
        let (way, listener) =
            (self.way.clone(), self.listener.try_clone().expect("a listener can be cloned"));
        std::thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let way = way.clone();
                std::thread::spawn(move || way.lead(from));
            }
        });
    }
}

impl Way {
    fn lead(self: Arc<Way>, from: TcpStream) {
        let Some(to) = self.reach() else { return };
        let (Ok(back_from), Ok(back_to)) = (to.try_clone(), from.try_clone()) else { return };
        let back = self.clone();
        std::thread::spawn(move || back.pass(back_from, back_to));
        self.pass(from, to);
    }

    /// A drive tries a read again while its server is away, as long as a controller needs to start.
    fn reach(&self) -> Option<TcpStream> {
        let start = Instant::now();
        while start.elapsed() < AWAY {
            if let Ok(to) = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::Acquire))) {
                return Some(to);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            while self.closed.load(Ordering::Acquire) {
                std::thread::sleep(LOOK);
            }
            if to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}
