//! Promises about the inventory and about the store as a whole.

use std::collections::BTreeMap;

use std::sync::{Arc, Mutex};

use super::{Bench, act, at, ended, id, new_job, serial, server};
use crate::domain::{Phase, Server};
use crate::store::{Side, StoreError, StoreErrorKind, StoredJob, Tap};
use shoal_base::world::TlsPolicy;
use shoal_redfish::BmcMemory;

promises! {
    servers_read_back_as_written,
    a_serial_number_stands_for_one_server,
    an_unknown_server_is_an_error,
    a_server_with_an_active_job_stays,
    past_jobs_outlive_their_server,
    a_sound_store_passes_its_checks,
    an_inventory_is_read_page_by_page,
    a_record_shows_its_changes_and_its_last_job,
    a_management_address_is_found_whatever_its_case,
    what_a_bmc_agreed_to_belongs_to_its_address,
    a_tap_is_called_on_both_sides_of_a_write,
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
    let bench = bench.with(&["C", "B"]).await.restarted().await;
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

async fn an_unknown_server_is_an_error(bench: Bench) {
    assert!(bench.store.server(&serial("A")).await.unwrap().is_none());
    for error in [
        bench.store.update_server(&server("A")).await.unwrap_err(),
        bench.store.delete_server(&serial("A")).await.unwrap_err(),
        bench.store.insert_job(new_job("A", 1), None).await.unwrap_err(),
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

async fn an_inventory_is_read_page_by_page(bench: Bench) {
    let bench = bench.with(&["D", "B", "E", "A", "C"]).await;
    let page = async |after: Option<&str>| -> Vec<String> {
        let after = after.map(serial);
        let servers = bench.store.servers_after(after.as_ref(), 2).await.unwrap();
        servers.into_iter().map(|server| server.serial.to_string()).collect()
    };
    assert_eq!(page(None).await, ["A", "B"]);
    assert_eq!(page(Some("B")).await, ["C", "D"]);
    assert_eq!(page(Some("BB")).await, ["C", "D"], "a server that is gone since");
    assert_eq!(page(Some("D")).await, ["E"]);
    assert!(page(Some("E")).await.is_empty());
}

async fn a_record_shows_its_changes_and_its_last_job(bench: Bench) {
    let store = &bench.store;
    store.with_audit(act(1)).insert_server(&server("A")).await.unwrap();
    let record = store.server_record(&serial("A")).await.unwrap().unwrap();
    assert_eq!((record.created_at, record.updated_at, record.revision), (Some(at(1)), Some(at(1)), 1));
    assert!(record.last_job.is_none());
    let changed = Server { protected: true, ..server("A") };
    store.with_audit(act(2)).update_server(&changed).await.unwrap();
    bench.add_job("A", 3).await;
    let record = store.server_record(&serial("A")).await.unwrap().unwrap();
    assert_eq!((record.created_at, record.updated_at, record.revision), (Some(at(1)), Some(at(2)), 2));
    assert!(record.server.protected);
    assert!(matches!(record.last_job, Some(StoredJob::Readable(job)) if job.id == id(3)));
    assert!(store.server_record(&serial("B")).await.unwrap().is_none());
}

async fn a_management_address_is_found_whatever_its_case(bench: Bench) {
    let with = |serial, address: &str| Server { management_address: Some(address.into()), ..server(serial) };
    let store = &bench.store;
    store.insert_server(&with("A", "esx1.Example.com")).await.unwrap();
    store.insert_server(&with("B", "esx2.example.com")).await.unwrap();
    let found =
        async |address: &str, than: &str| store.other_server_at(address, &serial(than)).await.unwrap();
    assert_eq!(found("ESX1.example.com", "B").await, Some(serial("A")));
    assert_eq!(found("esx1.example.com", "A").await, None, "it is its own");
    assert_eq!(found("esx3.example.com", "A").await, None);
}

async fn what_a_bmc_agreed_to_belongs_to_its_address(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let memory = BmcMemory { boot_target: Some("UsbCd".to_owned()), ..BmcMemory::default() };
    bench.store.save_bmc_memory(&server("A"), memory.clone()).await.unwrap();
    let bench = bench.restarted().await;
    let store = &bench.store;
    assert_eq!(store.load_bmc_memory(&server("A")).await.unwrap(), memory);
    // A change of anything else leaves it, and another address does not.
    store.update_server(&Server { protected: true, ..server("A") }).await.unwrap();
    assert_eq!(store.load_bmc_memory(&server("A")).await.unwrap(), memory);
    let moved = Server { bmc_address: "https://10.0.0.6".parse().unwrap(), ..server("A") };
    assert!(store.load_bmc_memory(&moved).await.unwrap().is_empty());
    store.update_server(&moved).await.unwrap();
    store.save_bmc_memory(&server("A"), memory.clone()).await.unwrap();
    store.update_server(&server("A")).await.unwrap();
    assert!(store.load_bmc_memory(&server("A")).await.unwrap().is_empty(), "it came from the old address");
    store.save_bmc_memory(&server("A"), memory.clone()).await.unwrap();
    store.delete_server(&serial("A")).await.unwrap();
    store.save_bmc_memory(&server("A"), memory).await.unwrap();
    store.insert_server(&server("A")).await.unwrap();
    assert!(store.load_bmc_memory(&server("A")).await.unwrap().is_empty(), "the server was another one");
}

async fn a_tap_is_called_on_both_sides_of_a_write(bench: Bench) {
    let refused_at = Arc::new(Mutex::new(None));
    let (refusing, seen) = (refused_at.clone(), Arc::new(Mutex::new(Vec::new())));
    let noting = seen.clone();
    let tap: Tap = Arc::new(move |doing, side| {
        noting.lock().unwrap().push((doing, side));
        let is_refused = *refusing.lock().unwrap() == Some(side);
        Box::pin(async move { if is_refused { Err(StoreError::Closed) } else { Ok(()) } })
    });
    let tapped = bench.store.tapped(tap);
    tapped.insert_server(&server("A")).await.unwrap();
    let doing = seen.lock().unwrap()[0].0;
    assert_eq!(*seen.lock().unwrap(), [(doing, Side::Before), (doing, Side::After)]);
    tapped.servers().await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2, "a read is not tapped");
    *refused_at.lock().unwrap() = Some(Side::Before);
    assert!(matches!(tapped.insert_server(&server("B")).await, Err(StoreError::Closed)));
    *refused_at.lock().unwrap() = Some(Side::After);
    assert!(matches!(tapped.insert_server(&server("C")).await, Err(StoreError::Closed)));
    let kept = bench.store.servers().await.unwrap();
    assert_eq!(kept.iter().map(|server| server.serial.as_str()).collect::<Vec<_>>(), ["A", "C"]);
}
