//! The maintenance ISO of Linux and Windows jobs, as a file and at a URL.

use shoal_sim::standin_maintenance;

use super::*;

#[tokio::test(start_paused = true)]
async fn the_maintenance_iso_is_read_where_jobs_take_it_from() {
    let dir = tempfile::tempdir().unwrap();
    let (path, bytes) = (dir.path().join("m.iso"), standin_maintenance("quiet").to_vec());
    std::fs::write(&path, &bytes).unwrap();
    let mut bench = Bench::faulty(vec![]);
    let found = async |bench: &Bench| {
        let report = bench.look().await;
        assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
        let check = line(&report, "maintenance").clone();
        (check.status, check.found)
    };
    assert_eq!(found(&bench).await.0, CheckStatus::Skipped);
    bench.maintenance = Some(InstallerSource::File(path.clone()));
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Ok && text.contains("BIOS and UEFI, served by the controller"), "{text}");
    std::fs::write(&path, b"text").unwrap();
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Warning && text.contains("is not a readable ISO image"), "{text}");
    std::fs::remove_file(&path).unwrap();
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Warning && text.contains("check that it exists"), "{text}");
    bench.maintenance = Some(InstallerSource::Url("http://web.test/m.iso?sig=planted".parse().unwrap()));
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Warning && text.contains("cannot be read from here"), "{text}");
    assert!(!text.contains("planted"), "{text}");
    bench.network.add("web.test", axum::Router::new().fallback(async || bytes));
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Ok && text.contains("fetched by the BMC"), "{text}");
    bench.network.add("web.test", axum::Router::new().fallback(async || "text"));
    let (status, text) = found(&bench).await;
    assert!(status == CheckStatus::Warning && text.contains("not an ISO image"), "{text}");
}
