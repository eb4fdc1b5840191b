//! Promises about the inventory and about the store as a whole.

use std::collections::BTreeMap;

use shoal::domain::Phase;
use shoal::store::{StoreError, StoreErrorKind};
use shoal_base::world::TlsPolicy;

use super::{Bench, ended, serial, server};

promises! {
    servers_read_back_as_written,
    a_serial_number_stands_for_one_server,
    an_unknown_server_is_said_to_be_unknown,
    a_server_with_an_active_job_stays,
    past_jobs_outlive_their_server,
    a_sound_store_passes_its_checks,
}

async fn servers_read_back_as_written(bench: Bench) {
    let mut written = server("A");
    written.labels = BTreeMap::from([("rack".into(), "7".into())]);
    written.system_id = Some("1".into());
    written.system_uuid = Some("4c4c4544".into());
    written.management_address = Some("fd00::5".into());
    written.tls = TlsPolicy::Pin([9; 32]);
    bench.store.insert_server(&written).await.unwrap();
    written.protected = true;
    bench.store.update_server(&written).await.unwrap();
    let bench = bench.with(&["C", "B"]).await.restarted();
    let read = bench.store.server(&serial("A")).await.unwrap().unwrap();
    assert_eq!(read.bmc_password.expose(), "calvin-A");
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    let all = bench.store.servers().await.unwrap();
    assert_eq!(all.iter().map(|server| server.serial.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
}

async fn a_serial_number_stands_for_one_server(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let error = bench.store.insert_server(&server("A")).await.unwrap_err();
    assert!(matches!(error, StoreError::ServerExists { .. }), "{error}");
    assert_eq!(error.kind(), StoreErrorKind::Refused);
}

async fn an_unknown_server_is_said_to_be_unknown(bench: Bench) {
    assert!(bench.store.server(&serial("A")).await.unwrap().is_none());
    for error in [
        bench.store.update_server(&server("A")).await.unwrap_err(),
        bench.store.delete_server(&serial("A")).await.unwrap_err(),
        bench.store.insert_job(super::new_job("A", 1), None).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::UnknownServer { .. }), "{error}");
    }
}

async fn a_server_with_an_active_job_stays(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    let error = bench.store.delete_server(&serial("A")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Busy { job, .. } if *job == lease.job), "{error}");
    assert!(bench.store.server(&serial("A")).await.unwrap().is_some());
}

async fn past_jobs_outlive_their_server(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    bench.finish(&lease).await;
    bench.store.delete_server(&serial("A")).await.unwrap();
    assert!(bench.store.server(&serial("A")).await.unwrap().is_none());
    assert_eq!(bench.job(1).await.server, serial("A"));
}

async fn a_sound_store_passes_its_checks(bench: Bench) {
    bench.store.check().await.unwrap();
    bench.store.check().await.unwrap();
    bench.store.integrity_check().await.unwrap();
}
