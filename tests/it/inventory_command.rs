//! The inventory from the command line: the real binary, files of several tools, a controller.
//!
//! What each row may be is proved beside the API. Invariant: no output holds a password.

use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::process::{BOUND, Machine, Served, Sim, shoal, start, text};

const PASSWORD: &str = "hunter2-of-all";

struct InventoryDesk {
    dir: TempDir,
    served: Served,
}

impl InventoryDesk {
    async fn open() -> InventoryDesk {
        let dir = tempfile::tempdir().unwrap();
        let served = start(dir.path(), &["--drain-timeout=1s"]).await;
        InventoryDesk { dir, served }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = shoal();
        command.args(arguments).current_dir(self.dir.path());
        command.env("SHOAL_URL", &self.served.url).env("SHOAL_TOKEN", &self.served.token);
        command
    }

    /// Runs a command that reads `input`, and checks that it shows no password.
    async fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without having read all of it.
        let _closed = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(BOUND, child.wait_with_output()).await.unwrap().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(!shown.contains("hunter2"), "{shown}");
        output
    }

    async fn ok(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    async fn fails(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input).await;
        assert_eq!(output.status.code(), Some(1), "{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout) + &text(&output.stderr)
    }

    fn file(&self, name: &str, content: &str) -> String {
        std::fs::write(self.dir.path().join(name), content).unwrap();
        name.to_owned()
    }

    async fn server(&self, serial: &str) -> Value {
        self.served.get(&format!("/api/v1/servers/{serial}")).await.1
    }

    async fn count(&self) -> usize {
        self.served.get("/api/v1/servers").await.1["servers"].as_array().unwrap().len()
    }
}

const FLEET: &str = "serial,bmc_address,bmc_username,tls,protected,labels.rack,variables.ip\n\
    A1,https://10.0.0.1,root,insecure,true,7,10.1.0.1\nB2,https://10.0.0.2,,,,8,10.1.0.2\n";

#[tokio::test]
async fn a_file_is_checked_imported_exported_and_imported_again() {
    let desk = InventoryDesk::open().await;
    let file = desk.file("fleet.csv", FLEET);
    let import = ["server", "import", &file, "--user", "admin", "--password-stdin"];
    let dry = desk.ok(&[&import[..], &["--dry-run"]].concat(), PASSWORD).await;
    assert!(dry.contains("2 added") && dry.contains("nothing was written"), "{dry}");
    assert_eq!(desk.count().await, 0);
    let done = desk.ok(&import, PASSWORD).await;
    assert!(done.contains("1 (line 2)  A1") && done.contains("2 added, 0 changed"), "{done}");
    let server = desk.server("A1").await;
    assert_eq!((&server["bmc_username"], &server["tls"]), (&json!("root"), &json!("insecure")));
    assert_eq!((&server["protected"], &server["labels"]["rack"]), (&json!(true), &json!("7")));
    assert_eq!(server["variable_names"], json!(["ip"]));
    assert_eq!(desk.server("B2").await["bmc_username"], "admin");

    for format in ["csv", "json", "yaml"] {
        let exported = desk.ok(&["server", "export", "--format", format], "").await;
        let again = desk.ok(&["server", "import", "-", "--format", format], &exported).await;
        assert!(again.contains("0 added, 0 changed, 2 unchanged, 0 invalid"), "{exported}{again}");
        // Recognised by its content too.
        let again = desk.ok(&["server", "import", "-"], &exported).await;
        assert!(again.contains("2 unchanged"), "{exported}{again}");
    }
    let rack = desk.ok(&["server", "export", "--label", "rack=8", "-o", "json"], "").await;
    let rack: Value = serde_json::from_str(&rack).unwrap();
    assert_eq!((rack.as_array().unwrap().len(), &rack[0]["serial"]), (1, &json!("B2")));
    let list = desk.ok(&["server", "list", "--label", "rack=7", "--status", "none"], "").await;
    assert!(list.contains("A1") && !list.contains("B2"), "{list}");
}

#[tokio::test]
async fn bad_rows_write_nothing_unless_partial() {
    let desk = InventoryDesk::open().await;
    let bad = format!(
        "{FLEET}C3,10.0.0.3,root,verify,maybe,,\nD4,10.0.0.4,root,verify,,,\na1,https://h,u,verify,,,\n"
    );
    let file = desk.file("fleet.csv", &bad);
    let import = ["server", "import", &file, "--user", "admin", "--password-stdin"];
    let report = desk.fails(&import, PASSWORD).await;
    for part in
        ["protected: must be true or false", "bmc_address: give a URL", "row 1 has the same", "3 invalid"]
    {
        assert!(report.contains(part), "{part}: {report}");
    }
    assert!(report.contains("nothing was written: mend the invalid rows"), "{report}");
    assert_eq!(desk.count().await, 0);
    let file = desk.file("other.csv", &bad.replace("maybe", "no"));
    let report = desk.fails(&["server", "import", &file, "--password-stdin"], PASSWORD).await;
    assert!(report.contains("2 (line 3)  B2") && report.contains("bmc_username: is missing"), "{report}");
    assert!(report.contains("valid"), "{report}");
    let partial = desk.fails(&[&import[..], &["--partial", "-o", "json"]].concat(), PASSWORD).await;
    let partial: Value = serde_json::from_str(&partial).unwrap();
    assert_eq!(
        (&partial["added"], &partial["invalid"], &partial["written"]),
        (&json!(2), &json!(3), &json!(true))
    );
    assert_eq!((&partial["rows"][2]["line"], &partial["rows"][2]["result"]), (&json!(4), &json!("invalid")));
    assert_eq!(desk.count().await, 2);

    let file = desk.file("columns.csv", "serial,bmc_adress\nE5,https://h\n");
    let refused = desk.fails(&["server", "import", &file], "").await;
    assert!(refused.contains("columns.csv: line 1: unknown column `bmc_adress`"), "{refused}");
    let both = desk.run(&["server", "import", "-", "--password-stdin"], PASSWORD).await;
    assert_eq!(both.status.code(), Some(2));
}

#[tokio::test]
async fn files_of_other_tools_are_read_as_they_are() {
    let desk = InventoryDesk::open().await;
    let omnia = "FUNCTIONAL_GROUP_NAME,GROUP_NAME,SERVICE_TAG,HOSTNAME,ADMIN_MAC,ADMIN_IP,BMC_MAC,BMC_IP\n\
        esx_x86_64,grp1,ABCD34,esx1,00:11:22:33:44:55,10.1.0.5,00:11:22:33:44:56,10.0.0.5\n";
    let netbox = "Name,Status,Role,Serial number,Rack,IP Address,OOB IP\nesx2,Active,esx,CZ2,R7,10.1.0.6/24,10.0.0.6/24\n\
        switch1,Active,switch,,R7,,\n";
    let flags = ["--user", "root", "--password-stdin", "--tls", "insecure"];
    let file = desk.file("pxe_mapping_file.csv", omnia);
    desk.ok(&[&["server", "import", &file][..], &flags].concat(), PASSWORD).await;
    let server = desk.server("ABCD34").await;
    assert_eq!((&server["bmc_address"], &server["tls"]), (&json!("https://10.0.0.5"), &json!("insecure")));
    assert_eq!(
        (&server["labels"]["hostname"], &server["management_address"]),
        (&json!("esx1"), &json!("10.1.0.5"))
    );
    let file = desk.file("netbox_devices.csv", netbox);
    let import = [&["server", "import", &file][..], &flags].concat();
    let refused = desk.fails(&import, PASSWORD).await;
    assert!(refused.contains("oob_ip: is missing"), "{refused}");
    desk.fails(&[&import[..], &["--partial"]].concat(), PASSWORD).await;
    assert_eq!(desk.server("CZ2").await["labels"]["rack"], "R7");
    assert_eq!(desk.count().await, 2);
}

#[tokio::test]
async fn every_field_is_set_from_the_command_line() {
    let desk = InventoryDesk::open().await;
    let add = [
        "server",
        "add",
        "A1",
        "--bmc",
        "https://10.0.0.1",
        "--user",
        "root",
        "--password-stdin",
        "--protected",
    ];
    desk.ok(&add, PASSWORD).await;
    std::fs::write(desk.dir.path().join("v.json"), r#"{"vlan": 7, "root_password": "hunter2"}"#).unwrap();
    let set = [
        "server",
        "set",
        "A1",
        "--label",
        "rack=7",
        "--variables",
        "v.json",
        "--variable",
        "ip=10.1.0.1",
        "--management-address",
        "esx1",
        "--user",
        "admin",
    ];
    let done = desk.ok(&set, "").await;
    assert_eq!(done, "server A1: bmc_username, labels, management_address, variables set\n");
    let server = desk.server("A1").await;
    assert_eq!(server["variable_names"], json!(["ip", "root_password", "vlan"]));

    let (status, refused) = desk.served.post("/api/v1/jobs", crate::process::recipe("A1")).await;
    let detail = refused["detail"].as_str().unwrap();
    assert!(status == 409 && detail.contains("`shoal server set 'A1' --no-protected`"), "{refused}");
    desk.ok(
        &["server", "set", "A1", "--no-protected", "--unset-label", "rack", "--no-management-address"],
        "",
    )
    .await;
    let server = desk.server("A1").await;
    assert_eq!((&server["protected"], &server["labels"]), (&json!(false), &json!({})));
    assert_eq!(server["management_address"], Value::Null);
    let moved = desk.fails(&["server", "set", "A1", "--bmc", "https://10.0.0.2"], "").await;
    assert!(moved.contains("/bmc_password: is needed in the same request"), "{moved}");
    desk.ok(&["server", "set", "A1", "--bmc", "https://10.0.0.2", "--password-stdin"], "hunter2-new").await;
    assert_eq!(desk.run(&["server", "set", "A1"], "").await.status.code(), Some(2));
    let unknown = desk.fails(&["server", "set", "a1", "--protected"], "").await;
    assert!(unknown.contains("A1 differs from it in case or blanks only"), "{unknown}");
}

#[tokio::test]
async fn hardware_is_read_of_one_server_and_of_many() {
    let desk = InventoryDesk::open().await;
    let sim = Sim::start(&["--count", "3", "--persona", "idrac9,ilo6"]).await;
    let rows: Vec<Value> = sim.machines.iter().map(Machine::record).collect();
    let (status, answer) = desk.served.post("/api/v1/import/servers", json!({ "servers": rows })).await;
    assert_eq!(status, 200, "{answer}");
    let one = desk.ok(&["server", "inspect", "SIM0001"], "").await;
    for part in ["2 × Simulated Processor, cores 32, threads 64", "512 GiB", "25000 Mb/s link up", "PERC"] {
        assert!(one.contains(part), "{part}: {one}");
    }
    let show = desk.ok(&["server", "show", "SIM0001"], "").await;
    assert!(show.contains("hardware") && show.contains("512 GiB"), "{show}");
    desk.served
        .patch("/api/v1/servers/SIM0003", json!({ "bmc_address": "http://127.0.0.1:1", "bmc_password": "x" }))
        .await;
    let many = desk.run(&["server", "inspect", "SIM0002", "SIM0003", "-o", "json"], "").await;
    let lines: Vec<Value> =
        text(&many.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((many.status.code(), lines.len()), (Some(1), 2));
    assert_eq!(
        (&lines[0]["serial"], &lines[0]["hardware"]["memory_mib"]),
        (&json!("SIM0002"), &json!(524_288))
    );
    assert!(lines[1]["error"].as_str().unwrap().contains("cannot be reached"), "{}", lines[1]);
}

#[tokio::test]
async fn services_are_found_without_credentials_and_feed_an_import() {
    let desk = InventoryDesk::open().await;
    let sim = Sim::start(&["--persona", "idrac9", "--tls"]).await;
    let machine = &sim.machines[0];
    let port = machine.text("bmc_address").rsplit(':').next().unwrap().to_owned();
    let discover = ["server", "discover", "--range", "127.0.0.0/30", "--port", &port];
    let found = desk.run(&discover, "").await;
    assert!(text(&found.stderr).contains("1 of 2 addresses answered"), "{}", text(&found.stderr));
    let table = text(&found.stdout);
    assert!(table.contains(&format!("https://127.0.0.1:{port}")) && table.contains("Dell"), "{table}");
    let plain = desk.run(&[&discover[..], &["--http"]].concat(), "").await;
    assert!(text(&plain.stderr).contains("0 of 2"), "it speaks TLS");
    let state = machine.state().await;
    assert_eq!(state["redfish_requests"], 1, "one request for the root: {state}");

    let rows = desk.ok(&[&discover[..], &["--format", "csv"]].concat(), "").await;
    let with_serial = rows.replace("\n,https", "\nSIM0001,https");
    let import =
        ["server", "import", "-", "--user", "admin", "--password-from", "env:SHOAL_SECRET_X", "--dry-run"];
    let report = desk.fails(&import, &with_serial).await;
    assert!(report.contains("SHOAL_SECRET_X is not set") && !report.contains("bmc_address:"), "{report}");
    let too_many = desk.run(&["server", "discover", "--range", "10.0.0.0/16"], "").await;
    assert_eq!(too_many.status.code(), Some(2));
}

/// On a terminal of its own, which `script` makes and copies to its standard output; what is typed there would be
/// echoed otherwise.
#[tokio::test]
async fn a_password_that_is_typed_is_not_shown() {
    let desk = InventoryDesk::open().await;
    let line = format!(
        "{} server add A1 --bmc https://10.0.0.1 --user root --password-stdin",
        env!("CARGO_BIN_EXE_shoal")
    );
    let mut command = Command::new("script");
    command.args(["--quiet", "--flush", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    command.env("SHOAL_URL", &desk.served.url).env("SHOAL_TOKEN", &desk.served.token).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let typing = async {
        let (mut shown, mut part) = (String::new(), [0; 512]);
        let mut has_typed = false;
        loop {
            let read = stdout.read(&mut part).await.unwrap();
            if read == 0 {
                return shown;
            }
            shown.push_str(&String::from_utf8_lossy(&part[..read]));
            if !has_typed && shown.contains("Password: ") {
                stdin.write_all(b"hunter2-typed\n").await.unwrap();
                has_typed = true;
            }
        }
    };
    let shown = tokio::time::timeout(BOUND, typing).await.unwrap();
    assert!(shown.contains("server A1 added") && !shown.contains("hunter2"), "{shown}");
}
