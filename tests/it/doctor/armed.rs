//! A boot override that is armed already, and drives that hold an image.

use super::*;

/// What a job that could not clean up leaves is reported before the host is started.
#[tokio::test(start_paused = true)]
async fn an_armed_override_and_an_inserted_image_are_warnings() {
    let bench = Bench::faulty(vec![Fault::MediaLeft]);
    assert_eq!(line(&bench.look().await, "boot").status, CheckStatus::Ok);
    let bmc = bench.bmc();
    let system = bmc.observe_systems().await.unwrap().remove(0);
    bmc.request_boot_from_cd(&system, None).await.unwrap();
    bmc.close().await;
    let report = bench.look().await;
    let boot = line(&report, "boot");
    assert_eq!(boot.status, CheckStatus::Warning, "{boot:?}");
    assert!(boot.found.contains("Once/Cd") && boot.found.contains("image in CD1"), "{boot:?}");
    assert!(boot.remedy.as_deref().unwrap().contains("shoal server release"), "{boot:?}");
    let media = line(&report, "media");
    assert_eq!(media.status, CheckStatus::Warning, "{media:?}");
    assert!(media.remedy.as_deref().unwrap().contains("shoal server release"), "{media:?}");
    assert_ne!(report.verdict, Readiness::NotReady);
}
