//! A BMC that does not trust the controller's certificate: the handshake is all that is ever seen of it,
//! and the job's reason names that.

use shoal_sim::Fault;

use super::{Command, assert_untouched, controller, installer_dir};
use crate::process::{Sim, recipe, start_command};

/// A self-signed certificate, as files in `dir`.
fn certificate(dir: &std::path::Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    [format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display())]
}

#[tokio::test]
async fn a_bmc_that_refuses_the_controllers_certificate_is_named_as_the_cause() {
    let faults = [Fault::VerifiesMediaTls, Fault::InsertChecksUrl].map(|fault| format!("--fault={fault}"));
    let sim = Sim::start(&[&faults[0], &faults[1]]).await;
    let dir = installer_dir();
    let tls = certificate(dir.path());
    let mut command: Command = controller(dir.path(), &[]);
    command.args(tls);
    let served = start_command(dir.path(), command).await;
    let machine = &sim.machines[0];
    let (status, answer) = served.post("/api/v1/servers", machine.record()).await;
    assert_eq!(status, 201, "{answer}");
    let (_, job) = served.post("/api/v1/jobs", recipe(machine.text("serial"))).await;
    let job = served.settled(&super::id(&job)).await;
    assert_eq!(
        (&job["status"], &job["failed_step"]),
        (&"failed".into(), &"mount.maintenance".into()),
        "{job:#}"
    );
    let reason = job["reason"].as_str().unwrap();
    assert!(reason.contains("its connection ended before a request"), "{reason}");
    assert!(reason.to_lowercase().contains("alert"), "{reason}");
    assert_untouched(machine).await;
}

/// A BMC that takes images by HTTPS only, before and after what the reason says is set.
#[tokio::test]
async fn a_bmc_of_https_alone_is_installed_once_media_are_served_so() {
    let sim = Sim::start(&["--persona=irmc", "--install-seconds=2"]).await;
    let machine = &sim.machines[0];
    let dir = installer_dir();
    let tls = certificate(dir.path());
    for (flags, succeeds) in [(vec![], false), (vec!["--media-tls=true", &tls[0], &tls[1]], true)] {
        let mut command: Command = controller(dir.path(), &["--media-addr=127.0.0.1:0"]);
        command.args(flags);
        let mut served = start_command(dir.path(), command).await;
        if !succeeds {
            let (status, answer) = served.post("/api/v1/servers", machine.record()).await;
            assert_eq!(status, 201, "{answer}");
        }
        let mut recipe = recipe(machine.text("serial"));
        recipe["completion_hook"] = "poweroff".into();
        let (_, job) = served.post("/api/v1/jobs", recipe).await;
        let job = served.settled(&super::id(&job)).await;
        if succeeds {
            super::assert_installed(&job, machine).await;
        } else {
            assert_eq!(job["failed_step"], "resolve-server", "{job:#}");
            let reason = job["reason"].as_str().unwrap();
            assert!(reason.contains("serve media over HTTPS (MEDIA_TLS=true)"), "{reason}");
            assert_untouched(machine).await;
        }
        served.child.kill().await.unwrap();
    }
}
