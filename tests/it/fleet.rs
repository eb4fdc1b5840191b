//! Three hundred hosts of several makers, by the command line alone: import, dry run, a batch with limits, hosts that
//! fail, a halt, repairs, three kills of the controller, and retention.
//!
//! Real processes. Invariant: every host that can be installed is installed once, and the batch's report says so.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use shoal_sim::standin_installer;

use crate::process::{Machine, Served, Sim, serve_at, shoal, start_command};

/// Each counts its boots or dates them: of the others a kill may hide the one second boot, which takes seconds here.
const PERSONAS: &str = "--persona=generic,one-cd,xcc";
const GOOD: usize = 285;
const RACKS: usize = 10;
/// Faults of hosts that no repair of the inventory mends, two hosts each.
const BROKEN: [&str; 3] = ["--fault=no-virtual-media", "--fault=wrong-serial", "--fault=no-slots"];
/// Rows of the inventory that are wrong in a way that `server set` mends, three hosts each.
const MISTAKES: [&str; 3] = ["password", "user", "address"];

const FLAGS: [&str; 7] = [
    "--esxi-installer-url=esxi.iso",
    "--esxi-stable-window=2s",
    "--esxi-poll-interval=1s",
    "--esxi-proof-floor=1s",
    // A kill may hide a second boot, and then the power alone is left.
    "--esxi-min-install-time=20s",
    "--redfish-retries=1",
    "--redfish-timeout=20s",
];

struct Fleet {
    dir: tempfile::TempDir,
    served: Served,
    good: Vec<Machine>,
    mistaken: Vec<Machine>,
    broken: Vec<Machine>,
    _sims: Vec<Sim>,
}

impl Fleet {
    async fn open() -> Fleet {
        let dir = tempfile::tempdir().unwrap();
        let installer = std::fs::File::create(dir.path().join("esxi.iso")).unwrap();
        standin_installer().write_to(&installer).unwrap();
        let count = |count: usize| format!("--count={count}");
        let seconds = "--install-seconds=2";
        let good = Sim::start(&[&count(GOOD), PERSONAS, "--serial-prefix=G", seconds]).await;
        let mistaken = Sim::start(&[&count(9), "--serial-prefix=M", seconds]).await;
        let mut sims = Vec::new();
        for (number, fault) in BROKEN.iter().enumerate() {
            let prefix = format!("--serial-prefix=B{number}");
            sims.push(Sim::start(&[&count(2), &prefix, fault, seconds]).await);
        }
        let broken = sims.iter().flat_map(|sim| sim.machines.clone()).collect();
        let served = start(dir.path(), "127.7.2.1:0", &[]).await;
        let (good_machines, mistaken_machines) = (good.machines.clone(), mistaken.machines.clone());
        sims.extend([good, mistaken]);
        Fleet { dir, served, good: good_machines, mistaken: mistaken_machines, broken, _sims: sims }
    }

    /// `kill -9`, and the same controller again.
    async fn kill(&mut self) {
        let address = self.served.url.strip_prefix("http://").unwrap().to_owned();
        self.served.child.kill().await.unwrap();
        self.served = start(self.dir.path(), &address, &[]).await;
    }

    async fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = shoal();
        command.args(arguments).current_dir(self.dir.path());
        command.env("SHOAL_URL", &self.served.url).env("SHOAL_TOKEN", &self.served.token);
        let output = command.output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let (code, out, error) = self.run(&[arguments, &["--output=json"]].concat()).await;
        assert_eq!(code, Some(0), "{arguments:?}: {out}{error}");
        serde_json::from_str(&out).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// The inventory as CSV, with the mistakes in it.
    fn inventory(&self) -> String {
        let mut csv = "serial,bmc_address,bmc_username,bmc_password,labels.rack,labels.hostname\n".to_owned();
        let (canaries, others) = self.good.split_at(2);
        let all = canaries.iter().chain(&self.broken).chain(&self.mistaken).chain(others);
        for (number, machine) in all.enumerate() {
            let text = |key| machine.text(key).to_owned();
            let (mut address, mut user, mut password) =
                (text("bmc_address"), text("username"), text("password"));
            let mistake =
                self.mistaken.iter().position(|other| other.text("serial") == machine.text("serial"));
            match mistake.map(|position| MISTAKES[position / 3]) {
                Some("password") => "wrong".clone_into(&mut password),
                Some("user") => "another".clone_into(&mut user),
                Some(_) => "http://127.7.2.9:9".clone_into(&mut address),
                None => {}
            }
            let serial = machine.text("serial");
            let rack = number % RACKS;
            csv.push_str(&format!("{serial},{address},{user},{password},r{rack},esx{number:03}\n"));
        }
        csv
    }

    /// States of rows by how many are in each.
    async fn states(&self, batch: &str) -> BTreeMap<String, usize> {
        let shown = self.json(&["batch", "show", batch]).await;
        let mut states = BTreeMap::new();
        for row in shown["rows"].as_array().unwrap() {
            *states.entry(row["state"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        states
    }
}

async fn start(dir: &Path, address: &str, flags: &[&str]) -> Served {
    let mut command = serve_at(address, dir, &FLAGS);
    command.args(flags).stderr(std::fs::File::create(dir.join("last.log")).unwrap());
    start_command(dir, command).await
}

const BAD_ROWS: &str = "serial,bmc_address,bmc_username,bmc_password
X1,not a url,root,secret
X2,https://10.0.0.1,root,
X/3,https://10.0.0.1,root,secret
,https://10.0.0.1,root,secret
X5,http://10.0.0.1,root,secret
";

const KICKSTART: &str = "vmaccepteula\nrootpw q7X!mzr0T\ninstall --firstdisk --overwritevmfs\nreboot\n";

#[tokio::test]
async fn three_hundred_hosts_are_installed_once_each() {
    let mut fleet = Fleet::open().await;
    let inventory = import(&fleet).await;
    dry_run(&fleet, &inventory).await;
    let submit = [
        "batch",
        "submit",
        "esxi.ks",
        "--servers=hosts.txt",
        "--yes",
        "--canary=2",
        "--max-parallel=60",
        "--per-label-parallel=rack=8",
        "--max-failures=5",
        "--name=tuesday",
    ];
    let batch = fleet.json(&submit).await["batch_id"].as_str().unwrap().to_owned();
    // It halts at the sixth failure, and what has started goes on to its end.
    let (code, shown, _) = fleet.run(&["batch", "watch", &batch]).await;
    assert_eq!(code, Some(1), "{shown}");
    let halted = fleet.json(&["batch", "show", &batch]).await;
    assert_eq!(halted["status"], "halted", "{}", halted["counts"]);
    assert!(halted["reason"].as_str().unwrap().contains("max_failures is 5"), "{}", halted["reason"]);

    repair(&fleet).await;
    let mut retry = vec!["batch", "retry", &batch];
    let repaired = failed(&halted, "M");
    retry.extend(repaired.iter().flat_map(|serial| ["--server", serial]));
    let retried = fleet.json(&retry).await;
    assert_eq!(retried["status"], "halted");
    fleet.json(&["batch", "resume", &batch]).await;
    for succeeded in [90, 150, 250] {
        until(&fleet, &batch, |states| states.get("succeeded").is_some_and(|count| *count >= succeeded))
            .await;
        fleet.kill().await;
    }
    let (code, shown, _) = fleet.run(&["batch", "watch", &batch]).await;
    assert_eq!(code, Some(1), "six hosts cannot be installed: {shown}");
    let expected = BTreeMap::from([("failed".to_owned(), 6), ("succeeded".to_owned(), 294)]);
    assert_eq!(fleet.states(&batch).await, expected);

    check(&fleet, &batch).await;
    expire(&mut fleet, &batch).await;
}

/// Of five bad rows among the good ones each is named, and nothing is written.
async fn import(fleet: &Fleet) -> String {
    let inventory = fleet.inventory();
    let bad = BAD_ROWS.lines().skip(1).map(|row| format!("{row},r1,\n")).collect::<String>();
    fleet.write("bad.csv", &format!("{inventory}{bad}"));
    let (code, report, error) = fleet.run(&["server", "import", "bad.csv"]).await;
    assert_eq!(code, Some(1), "{report}{error}");
    assert!(report.contains("300 valid, 5 invalid; nothing was written"), "{report}");
    assert!(fleet.json(&["server", "list"]).await["servers"].as_array().unwrap().is_empty());
    fleet.write("fleet.csv", &inventory);
    let (code, report, error) = fleet.run(&["server", "import", "fleet.csv"]).await;
    assert_eq!(code, Some(0), "{report}{error}");
    inventory
}

/// It finds the hosts that cannot be installed, and installs none.
async fn dry_run(fleet: &Fleet, inventory: &str) {
    fleet.write("esxi.ks", KICKSTART);
    let serials: String =
        inventory.lines().skip(1).map(|row| format!("{}\n", row.split(',').next().unwrap())).collect();
    fleet.write("hosts.txt", &serials);
    let sample: String = serials.lines().skip(2).take(15).map(|serial| format!("{serial}\n")).collect();
    fleet.write("sample.txt", &sample);
    let (code, report, _) =
        fleet.run(&["batch", "submit", "esxi.ks", "--servers=sample.txt", "--dry-run"]).await;
    assert_eq!(code, Some(1), "{report}");
    assert!(report.contains("of 15 rows would fail"), "{report}");
}

/// Every host that can be installed was installed once, and is in the list for VCF.
async fn check(fleet: &Fleet, batch: &str) {
    for machine in fleet.good.iter().chain(&fleet.mistaken) {
        let state = machine.state().await;
        assert_eq!((&state["installs"], &state["interrupted_installs"]), (&1.into(), &0.into()), "{state}");
    }
    for machine in &fleet.broken {
        assert_eq!(machine.state().await["installs_begun"], 0);
    }
    let export = [
        "export",
        "vcf",
        "--batch",
        batch,
        "--partial",
        "--domain=lab.example",
        "--storage-type=VSAN",
        "--network-pool-id=8fdb46e1-74a4-4b93-b4ec-4b6e1ee58c3a",
    ];
    let (code, list, error) = fleet.run(&export).await;
    assert_eq!(code, Some(0), "{error}");
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["hosts"].as_array().unwrap().len(), 294);
    let peak = peak_mebibytes(&fleet.served);
    assert!(peak < 256, "{peak} MiB");
}

/// The most memory that the controller has had.
fn peak_mebibytes(served: &Served) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.child.id().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Serial numbers of the failed rows that begin so.
fn failed(batch: &Value, prefix: &str) -> Vec<String> {
    let rows = batch["rows"].as_array().unwrap().iter().filter(|row| row["state"] == "failed");
    let serials = rows.map(|row| row["server_serial"].as_str().unwrap().to_owned());
    serials.filter(|serial| serial.starts_with(prefix)).collect()
}

async fn until(fleet: &Fleet, batch: &str, wanted: impl Fn(&BTreeMap<String, usize>) -> bool) {
    loop {
        let states = fleet.states(batch).await;
        if wanted(&states) {
            return;
        }
        let shown = fleet.json(&["batch", "show", batch]).await;
        let failed: Vec<&Value> =
            shown["rows"].as_array().unwrap().iter().filter(|row| row["state"] == "failed").collect();
        assert_eq!(shown["status"], "running", "{states:?} {}: {failed:?}", shown["reason"]);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// Every record that was wrong, made right by commands.
async fn repair(fleet: &Fleet) {
    for machine in &fleet.mistaken {
        let (serial, password) = (machine.text("serial"), machine.text("password"));
        fleet.write("password.txt", password);
        let mut command = shoal();
        command.args(["server", "set", serial, "--bmc", machine.text("bmc_address")]);
        command.args(["--user", machine.text("username"), "--password-stdin"]);
        command.env("SHOAL_URL", &fleet.served.url).env("SHOAL_TOKEN", &fleet.served.token);
        command.stdin(std::fs::File::open(fleet.dir.path().join("password.txt")).unwrap());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A controller with a short retention forgets the jobs, and keeps the inventory.
async fn expire(fleet: &mut Fleet, batch: &str) {
    let address = fleet.served.url.strip_prefix("http://").unwrap().to_owned();
    fleet.served.child.kill().await.unwrap();
    fleet.served = start(fleet.dir.path(), &address, &["--job-retention=1s"]).await;
    while fleet.run(&["batch", "show", batch]).await.0 == Some(0) {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert!(fleet.json(&["job", "list"]).await["jobs"].as_array().unwrap().is_empty());
    assert_eq!(fleet.json(&["server", "list"]).await["servers"].as_array().unwrap().len(), 300);
}
