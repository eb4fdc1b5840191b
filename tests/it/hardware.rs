//! Inventories of hardware: of simulated BMCs, and of the captures of real ones, most of whose parts are missing.
//!
//! Invariant: a part that a BMC does not show never hides the others.

use axum::body::Body;
use http::StatusCode;
use serde_json::{Value, json};
use shoal_base::Password;
use shoal_base::world::{Clock, HttpRequest, Rng, TlsPolicy, TransportError, TransportErrorKind, World};
use shoal_redfish::{Account, Bmc, BmcPool, Hardware, Limits, RedfishError, RedfishErrorKind, System};
use shoal_sim::Persona;
use tower::util::BoxCloneSyncService;

use crate::{captures, quirks};

async fn hardware(bmc: &Bmc) -> Result<Hardware, RedfishError> {
    let systems = bmc.observe_systems().await.unwrap();
    let host = systems.into_iter().find(System::is_host).unwrap();
    bmc.observe_hardware(&host).await
}

#[tokio::test(start_paused = true)]
async fn every_persona_reports_its_hardware() {
    for persona in Persona::all() {
        let site = quirks::site(quirks::config(persona), vec![]).await;
        let found = hardware(&quirks::client(&site, vec![])).await.unwrap();
        let name = persona.name;
        assert_eq!(found.unread, Vec::<String>::new(), "{name}");
        assert_eq!(found.model.as_deref(), Some(persona.model), "{name}");
        assert_eq!((found.processors.count, found.processors.cores), (Some(2), Some(32)), "{name}");
        assert_eq!((found.memory_mib, found.nics.len()), (Some(512 * 1024), 2), "{name}");
        assert_ne!(found.nics[0].mac, found.nics[1].mac);
        assert_eq!(found.bmc_version.as_deref(), Some(persona.firmware), "{name}");
        assert_eq!(found.firmware.len(), 2, "{name}: {:?}", found.firmware);
        let units = persona.storage.iter();
        let parts: usize = units.map(|unit| unit.drives.len() + unit.volumes.len()).sum();
        assert_eq!(found.drives.len(), parts, "{name}: also what a RAID controller hides");
    }
}

/// Of each capture: what its System says, and which parts could not be read, because nothing below was captured.
#[tokio::test(start_paused = true)]
async fn what_a_capture_lacks_is_named_and_the_rest_is_read() {
    let mut with_processors = 0;
    for capture in captures::captures().unwrap_or_default() {
        let found = hardware(&captures::connect(&capture, Default::default())).await;
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", capture.display()));
        let name = capture.file_name().unwrap().to_string_lossy().into_owned();
        assert!(found.unread.iter().all(|why| why.contains("404")), "{name}: {:?}", found.unread);
        assert!(name.contains("gb200") || found.model.is_some(), "{name}: {found:?}");
        with_processors += usize::from(found.processors.count.is_some() && found.memory_mib.is_some());
        if name == "hpe-dl385gen10plusv2-ilo5-2.72" {
            assert_eq!(found.model.as_deref(), Some("ProLiant DL385 Gen10 Plus v2"));
            assert_eq!(found.processors.model.as_deref(), Some("AMD EPYC 7763 64-Core Processor"));
            assert_eq!(found.memory_mib, Some(1024 * 1024));
            let unread = found.unread.join("\n");
            assert!(
                unread.contains("EthernetInterfaces") && unread.contains("FirmwareInventory"),
                "{unread}"
            );
        }
    }
    assert!(with_processors == 0 || with_processors >= 12, "{with_processors}");
}

/// What is missing then would look like hardware that is not there.
#[tokio::test(start_paused = true)]
async fn a_bmc_that_stops_answering_is_an_error_and_no_empty_inventory() {
    let (refused, gone) = (Some(StatusCode::FORBIDDEN), None);
    let found = hardware(&bmc_whose_interfaces_are(refused)).await.unwrap();
    assert_eq!((found.model.as_deref(), found.unread.len()), (Some("R1"), 1), "{found:?}");
    assert!(
        found.unread[0].contains("/redfish/v1/Systems/1/EthernetInterfaces: the BMC answered 403"),
        "{found:?}"
    );
    let error = hardware(&bmc_whose_interfaces_are(gone)).await.unwrap_err();
    assert_eq!(error.kind, RedfishErrorKind::Unreachable);
}

/// A BMC that answers for its network interfaces with this status, or not at all.
fn bmc_whose_interfaces_are(status: Option<StatusCode>) -> Bmc {
    let link = |path: &str| json!({ "@odata.id": path });
    let answers = [
        ("/redfish/v1/", json!({ "RedfishVersion": "1.6.0", "Systems": link("/redfish/v1/Systems") })),
        ("/redfish/v1/Systems", json!({ "Members": [link("/redfish/v1/Systems/1")] })),
        (
            "/redfish/v1/Systems/1",
            json!({ "@odata.id": "/redfish/v1/Systems/1", "Id": "1", "Model": "R1", "Boot": { "BootSourceOverrideTarget": "None",
                "BootSourceOverrideTarget@Redfish.AllowableValues": ["Cd"] },
                "Actions": { "#ComputerSystem.Reset": { "target": "/redfish/v1/Systems/1/Actions/ComputerSystem.Reset" } },
                "SerialNumber": "A1",
                "EthernetInterfaces": link("/redfish/v1/Systems/1/EthernetInterfaces") }),
        ),
    ];
    let answer = move |path: &str| {
        let known =
            answers.iter().find(|(known, _)| known.trim_end_matches('/') == path.trim_end_matches('/'));
        let (status, body) = match (known, path.contains("EthernetInterfaces")) {
            (_, true) => (status?, Value::Null),
            (Some((_, body)), _) => (StatusCode::OK, body.clone()),
            (None, _) => (StatusCode::NOT_FOUND, Value::Null),
        };
        let response = http::Response::builder().status(status).header("content-type", "application/json");
        Some(response.body(Body::from(body.to_string())).unwrap())
    };
    let transport = tower::service_fn(move |request: HttpRequest| {
        let answered = answer(request.uri().path()).ok_or(TransportError::new(TransportErrorKind::Connect));
        async move { answered }
    });
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let world = World { clock, rng: Rng::from_seed(1), transport: BoxCloneSyncService::new(transport) };
    let account = Account {
        address: "https://bmc.test".parse().unwrap(),
        username: "root".into(),
        password: Password::new("calvin".into()),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    BmcPool::new(world, Limits { retries: 0, ..Limits::default() }).bmc(&account)
}
