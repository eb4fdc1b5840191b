//! Nothing that a controller says or writes down holds a kickstart, a password or a media token.
//!
//! Canaries are planted where secrets go in, and everything that came out is searched for them: all
//! answers and events, the log at its most talkative, and every file that a finished job leaves.

use std::path::{Path, PathBuf};

use http::header;
use serde_json::json;

use super::failures::Shelf;
use super::{Desk, SHORT, controller};
use crate::process::{Sim, output, recipe, serve, shoal, start_command};

const KICKSTART: &str = "rootpw canary-kickstart-9f3a";
const PASSWORD: &str = "canary-password-5e1c";

/// What must not be found, by what it is.
type Canaries = Vec<(&'static str, String)>;

#[tokio::test]
async fn no_answer_event_log_or_file_holds_a_secret() {
    let desk = Desk::open(&[], &["--count=2", "--install-seconds=1"]).await;
    let [machine, other] = &desk.sim.machines[..] else { panic!("two machines") };
    let wrong = json!({ "bmc_password": PASSWORD });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0002", wrong).await.0, 200);
    send_what_is_refused(&desk).await;
    let secret = |serial: &str| {
        let mut recipe = recipe(serial);
        recipe["ks_cfg"] = json!(format!("vmaccepteula\n{KICKSTART}\ninstall --firstdisk\nreboot\n"));
        recipe
    };
    let (installing, failing) = (desk.submit(secret("SIM0001")).await, desk.submit(secret("SIM0002")).await);
    let mounted = machine.until(|state| state["media"]["CD2"]["inserted"] == true).await;
    let mut canaries: Canaries = vec![
        ("the kickstart", KICKSTART.to_owned()),
        ("a wrong password", PASSWORD.to_owned()),
        ("a BMC's password", machine.text("password").to_owned()),
        ("a BMC's password", other.text("password").to_owned()),
        ("the admin token", desk.served.token.clone()),
    ];
    for drive in ["CD1", "CD2"] {
        let url = mounted["media"][drive]["image"].as_str().unwrap();
        canaries.push(("a media token", media_token(url).to_owned()));
    }
    assert_eq!(desk.served.settled(&installing).await["status"], "succeeded");
    assert_eq!(desk.served.settled(&failing).await["status"], "failed");
    let (_, refused) = desk.served.get("/api/v1/jobs?status=failed&refused=true").await;
    assert_eq!(refused["jobs"].as_array().unwrap().len(), 2, "{refused:#}");
    for path in ["/api/v1/servers", "/api/v1/jobs", "/api/v1/events?limit=500", "/metrics", "/readyz"] {
        assert_eq!(desk.served.get(path).await.0, 200, "{path}");
    }
    let answers = desk.served.answers().clone();
    assert!(answers.contains("ks_cfg") && answers.contains("sha256"), "what is no secret is shown");
    search("the answers", answers.as_bytes(), &canaries);
    let Desk { dir, served, sim: _sim } = desk;
    let mut backup = shoal();
    backup.current_dir(dir.path()).args(["backup", "all.backup"]);
    assert!(output(backup).await.status.success());
    served.stop("-KILL").await;
    assert!(dir.path().join("all.backup").exists(), "it is searched too");
    search_files(dir.path(), &canaries);
    let served = start_command(dir.path(), controller(dir.path(), &[])).await;
    assert_eq!(served.get(&format!("/api/v1/jobs/{installing}")).await.0, 200);
    search("the answers after the restart", served.answers().as_bytes(), &canaries);
    assert_eq!(served.stop("-TERM").await.0, Some(0));
    search_files(dir.path(), &canaries);
}

/// Issue 15, kind 25: what a BMC says of the URL that it was given, in `direct` delivery the installer's own.
#[tokio::test]
async fn no_secret_of_the_installers_url_is_kept_whatever_a_bmc_quotes() {
    let shelf = Shelf::default();
    shelf.put("esxi.iso", &shoal_sim::standin_installer());
    let host = shelf.serve().replace("http://", "");
    let url = format!("http://svc:canary-url-pass%2F7@{host}/esxi.iso?sig=canary-url-query%2B1&v=8");
    let sim = Sim::start(&["--fault=insert-quotes-url"]).await;
    let dir = tempfile::tempdir().unwrap();
    let flags = [&["--esxi-installer-delivery=direct", "--esxi-installer-url", &url], &SHORT[1..]].concat();
    let mut command = serve(dir.path(), &flags);
    command.stderr(super::log(dir.path()));
    let served = start_command(dir.path(), command).await;
    assert_eq!(served.post("/api/v1/servers", sim.machines[0].record()).await.0, 201);
    let (_, job) = served.post("/api/v1/jobs", recipe(sim.machines[0].text("serial"))).await;
    let job = super::id(&job);
    // The first insert was refused, with the URL in the refusal.
    let mounted = sim.machines[0].until(|state| state["media"]["CD1"]["inserted"] == true).await;
    assert!(mounted["media"]["CD1"]["image"].as_str().unwrap().contains("canary-url-query"), "{mounted}");
    assert_eq!(served.post(&format!("/api/v1/jobs/{job}/cancel"), json!({"force": true})).await.0, 202);
    assert_eq!(served.settled(&job).await["status"], "cancelled");
    for path in ["/api/v1/servers", "/api/v1/events?limit=500", "/api/v1/audit", "/metrics", "/readyz"] {
        assert_eq!(served.get(path).await.0, 200, "{path}");
    }
    let answers = served.answers().clone();
    assert!(answers.contains("CouldNotEstablishConnection") && answers.contains("(hidden)"), "{answers}");
    let canaries: Canaries = vec![("a secret of the installer's URL", "canary-url".to_owned())];
    search("the answers", answers.as_bytes(), &canaries);
    let mut backup = shoal();
    backup.current_dir(dir.path()).args(["backup", "all.backup"]);
    assert!(output(backup).await.status.success());
    assert!(dir.path().join("var/shoal/shoal.db-wal").exists(), "it is searched too");
    served.stop("-KILL").await;
    search_files(dir.path(), &canaries);
}

/// Invalid job requests, with a kickstart where none is looked for.
async fn send_what_is_refused(desk: &Desk) {
    let refused = json!({"server_serial": "SIM0001", "task_target": "install-esxi.target", "kscfg": KICKSTART,
        "ks_cfg": [KICKSTART]});
    assert_eq!(desk.served.post("/api/v1/jobs", refused).await.0, 422);
    let server = json!({"serial": "SIM0003", "bmc_pasword": PASSWORD});
    assert_eq!(desk.served.post("/api/v1/servers", server).await.0, 422);
    for broken in [format!("{{\"ks_cfg\": \"{KICKSTART}\\n\", "), format!("\"{KICKSTART}\"")] {
        let request = desk.served.request("POST", "/api/v1/jobs");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        assert_eq!(desk.served.send(request, broken.into()).await.0, 400);
    }
}

/// The secret part of `…/media/tasks/{job_id}.{token}/task.iso`.
fn media_token(url: &str) -> &str {
    let token = url.split('/').rev().nth(1).unwrap().split_once('.').unwrap().1;
    assert_eq!(token.len(), 32, "{url}");
    token
}

fn search(place: &str, bytes: &[u8], canaries: &Canaries) {
    for (what, canary) in canaries {
        let at = bytes.windows(canary.len()).position(|window| window == canary.as_bytes());
        if let Some(at) = at {
            let around = &bytes[at.saturating_sub(300)..(at + 300).min(bytes.len())];
            panic!("{place} hold {what}: {}", String::from_utf8_lossy(around));
        }
    }
}

/// Every file but the two that hold a secret by design.
fn search_files(dir: &Path, canaries: &Canaries) {
    let mut searched: Vec<PathBuf> = vec![];
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            match path.is_dir() {
                true => open.push(path),
                false if name == "admin.token" || name == "master.key" => {}
                false => {
                    search(&path.display().to_string(), &std::fs::read(&path).unwrap(), canaries);
                    searched.push(path);
                }
            }
        }
    }
    for name in ["shoal.db", "controller.log"] {
        assert!(searched.iter().any(|path| path.ends_with(name)), "{name}: {searched:?}");
    }
}
