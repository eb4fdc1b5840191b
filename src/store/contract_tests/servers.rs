//! Promises about the inventory and about the store as a whole.

use std::collections::BTreeMap;

use std::sync::{Arc, Mutex};

use super::{Bench, act, at, ended, id, new_job, serial, server};
use crate::domain::{Phase, Server, Status, Variables};
use crate::store::{LastJob, ServerFilter, ServerPut, Side, StoreError, StoreErrorKind, StoredJob, Tap};
use shoal_base::world::TlsPolicy;
use shoal_redfish::{BmcMemory, Hardware};

promises! {
    servers_read_back_as_written,
    a_serial_number_stands_for_one_server,
    a_change_of_a_record_that_has_changed_is_refused,
    records_are_put_only_where_they_are_as_they_were_read,
    a_record_leads_to_no_other_host_while_a_job_is_active,
    an_unknown_server_is_an_error,
    a_server_with_an_active_job_stays,
    past_jobs_outlive_their_server,
    a_sound_store_passes_its_checks,
    serial_numbers_that_are_alike_stand_for_one_server,
    records_are_put_together_or_not_at_all,
    an_inventory_is_read_page_by_page,
    a_page_is_filtered_by_serial_number_label_and_last_job,
    a_record_shows_its_changes_and_its_last_job,
    a_management_address_is_found_whatever_its_case,
    what_a_bmc_agreed_to_belongs_to_its_address,
    hardware_belongs_to_the_address_that_it_was_read_at,
    a_tap_is_called_on_both_sides_of_a_write,
}

async fn servers_read_back_as_written(bench: Bench) {
    let mut written = server("A");
    written.labels = BTreeMap::from([("rack".into(), "7".into())]);
    written.system_id = Some("1".into());
    written.system_uuid = Some("4c4c4544".into());
    written.management_address = Some("fd00::5".into());
    written.tls = TlsPolicy::Pin([9; 32]);
    written.variables = variables("ip", "10.0.0.9");
    bench.store.insert_server(&written).await.unwrap();
    written.protected = true;
    bench.store.update_server(&written, None).await.unwrap();
    let bench = bench.with(&["C", "B"]).await.restarted().await;
    let read = bench.store.server(&serial("A")).await.unwrap().unwrap();
    assert_eq!(read.bmc_password.expose(), "calvin-A");
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
    assert_eq!(read.variables, written.variables);
    let all = bench.store.servers().await.unwrap();
    assert_eq!(all.iter().map(|server| server.serial.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
}

async fn a_serial_number_stands_for_one_server(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let error = bench.store.insert_server(&server("A")).await.unwrap_err();
    assert!(matches!(error, StoreError::ServerExists { .. }), "{error}");
    assert_eq!(error.kind(), StoreErrorKind::Refused);
}

fn variables(name: &str, value: &str) -> Variables {
    Variables::default().merged([(name.to_owned(), Some(value.into()))].into()).unwrap()
}

async fn serial_numbers_that_are_alike_stand_for_one_server(bench: Bench) {
    let bench = bench.with(&["Cz 30-A"]).await;
    for alike in ["CZ 30-A", "cz30-a", "Cz  30-A"] {
        let error = bench.store.insert_server(&server(alike)).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::SimilarServer { existing, .. } if existing.as_str() == "Cz 30-A")
        );
        assert_eq!(error.kind(), StoreErrorKind::Refused);
        assert_eq!(bench.store.server_like(alike).await.unwrap(), Some(serial("Cz 30-A")));
    }
    assert_eq!(bench.store.server_like(" cz 30-a\t").await.unwrap(), Some(serial("Cz 30-A")));
    assert_eq!(bench.store.server_like("CZ30A").await.unwrap(), None);
    bench.store.insert_server(&server("CZ30A")).await.unwrap();
}

async fn records_are_put_together_or_not_at_all(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let put = async |records: Vec<(Server, Option<u64>)>| bench.store.put_servers(puts(records)).await;
    let changed = Server { protected: true, ..server("A") };
    let rows = vec![(changed.clone(), Some(1)), (server("B"), None), (server("b"), None)];
    let error = put(rows).await.unwrap_err();
    assert!(matches!(error, StoreError::SimilarServer { .. }), "{error}");
    assert_eq!(bench.store.servers().await.unwrap().len(), 1);
    assert!(!bench.store.server(&serial("A")).await.unwrap().unwrap().protected);
    put(vec![(changed, Some(1)), (server("B"), None)]).await.unwrap();
    let record = bench.store.server_record(&serial("A")).await.unwrap().unwrap();
    assert_eq!((record.server.protected, record.revision, record.updated_at), (true, 2, Some(at(1))));
    assert!(bench.store.server(&serial("B")).await.unwrap().is_some());
    let entries =
        bench.store.audit(&crate::store::AuditFilter { limit: 9, ..Default::default() }).await.unwrap();
    let servers: Vec<_> = entries.iter().map(|entry| entry.server.as_deref()).collect();
    assert_eq!(servers, [Some("B"), Some("A")]);
    assert!(bench.store.verify_audit().await.unwrap().fault.is_none());
}

async fn a_change_of_a_record_that_has_changed_is_refused(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let revision = async || bench.store.server_record(&serial("A")).await.unwrap().unwrap().revision;
    let read = revision().await;
    let other = bench.store.second_handle();
    other.update_server(&Server { protected: true, ..server("A") }, Some(read)).await.unwrap();
    let error = bench.store.update_server(&server("A"), Some(read)).await.unwrap_err();
    assert!(matches!(error, StoreError::ServerChanged { .. }), "{error}");
    assert!(bench.store.server(&serial("A")).await.unwrap().unwrap().protected);
    bench.store.update_server(&server("A"), Some(revision().await)).await.unwrap();
}

fn puts(records: Vec<(Server, Option<u64>)>) -> Vec<ServerPut> {
    let puts = records.into_iter().enumerate().map(|(n, (server, revision))| {
        let act = act(n as u64 + 1).on_server(&server.serial);
        ServerPut { server, revision, act }
    });
    puts.collect()
}

async fn records_are_put_only_where_they_are_as_they_were_read(bench: Bench) {
    let bench = bench.with(&["A"]).await;
    let other = bench.store.second_handle();
    other.update_server(&Server { protected: true, ..server("A") }, Some(1)).await.unwrap();
    other.insert_server(&server("B")).await.unwrap();
    for row in [(server("A"), Some(1)), (server("A"), None), (server("B"), None), (server("C"), Some(1))] {
        let name = row.0.serial.clone();
        let error = bench.store.put_servers(puts(vec![(server("D"), None), row])).await.unwrap_err();
        assert!(matches!(&error, StoreError::ServerChanged { serial } if *serial == name), "{error}");
    }
    let inventory = bench.store.inventory().await.unwrap();
    let found: Vec<_> =
        inventory.iter().map(|(server, revision)| (server.serial.as_str(), *revision)).collect();
    assert_eq!(found, [("A", 2), ("B", 1)], "nothing was written");
    assert!(inventory[0].0.protected);
    let error = bench.store.delete_server(&serial("A"), Some(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::ServerChanged { .. }), "{error}");
    bench.store.delete_server(&serial("A"), Some(2)).await.unwrap();
}

async fn a_record_leads_to_no_other_host_while_a_job_is_active(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    let moved = Server { bmc_address: "https://10.0.0.6".parse().unwrap(), ..server("A") };
    for error in [
        bench.store.update_server(&moved, Some(1)).await.unwrap_err(),
        bench.store.put_servers(puts(vec![(moved.clone(), Some(1))])).await.unwrap_err(),
    ] {
        assert!(matches!(&error, StoreError::Busy { job, .. } if *job == lease.job), "{error}");
    }
    let renamed = Server { bmc_username: "admin".into(), ..server("A") };
    bench.store.update_server(&renamed, Some(1)).await.unwrap();
    bench.finish(&lease).await;
    bench.store.update_server(&moved, Some(2)).await.unwrap();
}

async fn an_unknown_server_is_an_error(bench: Bench) {
    assert!(bench.store.server(&serial("A")).await.unwrap().is_none());
    for error in [
        bench.store.update_server(&server("A"), None).await.unwrap_err(),
        bench.store.delete_server(&serial("A"), None).await.unwrap_err(),
        bench.store.insert_job(new_job("A", 1), None).await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::UnknownServer { .. }), "{error}");
    }
}

async fn a_server_with_an_active_job_stays(bench: Bench) {
    let (bench, lease, job) = bench.with_claimed_job().await;
    bench.store.save(&lease, &ended(&job, Phase::Cleanup), Vec::new()).await.unwrap();
    let error = bench.store.delete_server(&serial("A"), None).await.unwrap_err();
    assert!(matches!(&error, StoreError::Busy { job, .. } if *job == lease.job), "{error}");
    assert!(bench.store.server(&serial("A")).await.unwrap().is_some());
}

async fn past_jobs_outlive_their_server(bench: Bench) {
    let (bench, lease, _) = bench.with_claimed_job().await;
    bench.finish(&lease).await;
    bench.store.delete_server(&serial("A"), None).await.unwrap();
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
        let filter = ServerFilter { after, limit: 2, ..ServerFilter::default() };
        let page = bench.store.server_page(&filter).await.unwrap();
        page.into_iter().map(|record| record.server.serial.to_string()).collect()
    };
    assert_eq!(page(None).await, ["A", "B"]);
    assert_eq!(page(Some("B")).await, ["C", "D"]);
    assert_eq!(page(Some("BB")).await, ["C", "D"], "a server that is gone since");
    assert_eq!(page(Some("D")).await, ["E"]);
    assert!(page(Some("E")).await.is_empty());
}

async fn a_page_is_filtered_by_serial_number_label_and_last_job(bench: Bench) {
    let with = |serial, name: &str, value: &str| Server {
        labels: BTreeMap::from([(name.into(), value.into())]),
        ..server(serial)
    };
    for record in [with("A", "rack", "7"), with("B", "rack", "8"), with("C", "a.b/c-d", "7"), server("D 1")] {
        bench.store.insert_server(&record).await.unwrap();
    }
    bench.add_job("A", 1).await;
    bench.add_job("C", 2).await;
    let found = async |filter: ServerFilter| -> Vec<String> {
        let page = bench.store.server_page(&ServerFilter { limit: 9, ..filter }).await.unwrap();
        page.into_iter().map(|record| record.server.serial.to_string()).collect()
    };
    let all = ServerFilter::default;
    let labelled =
        |name: &str, value: &str| ServerFilter { label: Some((name.into(), value.into())), ..all() };
    assert_eq!(found(labelled("rack", "7")).await, ["A"]);
    assert_eq!(found(labelled("a.b/c-d", "7")).await, ["C"]);
    assert!(found(labelled("rack", "9")).await.is_empty());
    assert_eq!(found(ServerFilter { serial: Some("d1".into()), ..all() }).await, ["D 1"]);
    let status = |last_job| ServerFilter { last_job: Some(last_job), ..all() };
    assert_eq!(found(status(LastJob::Absent)).await, ["B", "D 1"]);
    assert_eq!(found(status(LastJob::Is(Status::Queued))).await, ["A", "C"]);
    assert!(found(status(LastJob::Is(Status::Failed))).await.is_empty());
    let both = ServerFilter { last_job: Some(LastJob::Is(Status::Queued)), ..labelled("rack", "7") };
    assert_eq!(found(both).await, ["A"]);
    let page = bench.store.server_page(&ServerFilter { limit: 9, ..all() }).await.unwrap();
    assert_eq!(page[0].last_job.as_ref().map(StoredJob::id), Some(id(1)));
    assert!(page[1].last_job.is_none());
}

async fn a_record_shows_its_changes_and_its_last_job(bench: Bench) {
    let store = &bench.store;
    store.with_audit(act(1)).insert_server(&server("A")).await.unwrap();
    let record = store.server_record(&serial("A")).await.unwrap().unwrap();
    assert_eq!((record.created_at, record.updated_at, record.revision), (Some(at(1)), Some(at(1)), 1));
    assert!(record.last_job.is_none());
    let changed = Server { protected: true, ..server("A") };
    store.with_audit(act(2)).update_server(&changed, None).await.unwrap();
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
    store.update_server(&Server { protected: true, ..server("A") }, None).await.unwrap();
    assert_eq!(store.load_bmc_memory(&server("A")).await.unwrap(), memory);
    let moved = Server { bmc_address: "https://10.0.0.6".parse().unwrap(), ..server("A") };
    assert!(store.load_bmc_memory(&moved).await.unwrap().is_empty());
    store.update_server(&moved, None).await.unwrap();
    store.save_bmc_memory(&server("A"), memory.clone()).await.unwrap();
    store.update_server(&server("A"), None).await.unwrap();
    assert!(store.load_bmc_memory(&server("A")).await.unwrap().is_empty(), "it came from the old address");
    store.save_bmc_memory(&server("A"), memory.clone()).await.unwrap();
    store.delete_server(&serial("A"), None).await.unwrap();
    store.save_bmc_memory(&server("A"), memory).await.unwrap();
    store.insert_server(&server("A")).await.unwrap();
    assert!(store.load_bmc_memory(&server("A")).await.unwrap().is_empty(), "the server was another one");
}

async fn hardware_belongs_to_the_address_that_it_was_read_at(bench: Bench) {
    let bench = bench.with(&["A", "B"]).await;
    let hardware = |model: &str| Hardware { model: Some(model.to_owned()), ..Hardware::default() };
    bench.store.save_hardware(&server("A"), hardware("old"), at(1)).await.unwrap();
    bench.store.save_hardware(&server("A"), hardware("R750"), at(2)).await.unwrap();
    bench.store.save_hardware(&server("C"), hardware("R750"), at(2)).await.unwrap();
    let bench = bench.restarted().await;
    let store = &bench.store;
    let load = async |of: &Server| store.load_hardware(of).await.unwrap();
    assert_eq!(load(&server("A")).await, Some((at(2), hardware("R750"))));
    assert_eq!((load(&server("B")).await, load(&server("C")).await), (None, None));
    store.update_server(&Server { protected: true, ..server("A") }, None).await.unwrap();
    assert!(load(&server("A")).await.is_some(), "it is still the same machine");
    let moved = Server { bmc_address: "https://10.0.0.6".parse().unwrap(), ..server("A") };
    store.update_server(&moved, None).await.unwrap();
    store.save_hardware(&server("A"), hardware("R750"), at(3)).await.unwrap();
    assert_eq!((load(&moved).await, load(&server("A")).await), (None, None));
    store.save_hardware(&moved, hardware("R760"), at(4)).await.unwrap();
    store.delete_server(&serial("A"), None).await.unwrap();
    store.insert_server(&moved).await.unwrap();
    assert_eq!(load(&moved).await, None);
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
