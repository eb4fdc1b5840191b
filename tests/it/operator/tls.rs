//! A BMC that does not trust the controller's certificate: the handshake is all that is ever seen of it,
//! and the job's reason tells of that.

use shoal::sim::Fault;

use super::{Command, assert_untouched, controller, installer_dir};
use crate::process::{Sim, recipe, start_command};

/// A certificate that nobody has signed, as files in `dir`.
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
    assert!(reason.contains("its connection ended before it asked for anything"), "{reason}");
    assert!(reason.to_lowercase().contains("alert"), "{reason}");
    assert_untouched(machine).await;
}
