//! The doctor against simulated BMCs with their faults, in simulated time: what it finds, that it
//! changes nothing, and that a probe leaves the drives as they were.
//!
//! What each finding is judged as is a table beside the judge. Invariant: after every check here the
//! machine is as it was.

mod armed;
mod maintenance;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use shoal::doctor::{
    Check, CheckReport, CheckStatus, MaintenanceIso, ProbePlace, Readiness, Subject, Whose, check,
};
use shoal::domain::{MediaLayout, Server};
use shoal::media::{InstallerSource, IsoFiles, Probes};
use shoal::seal::Sealer;
use shoal::store::Store;
use shoal_base::world::{
    Clock, HttpRequest, PeerCertificate, Rng, TlsPolicy, Transport, TransportError, TransportErrorKind, World,
};
use shoal_base::{Password, hex};
use shoal_redfish::{Account, Bmc, BmcPool, Limits};
use shoal_sim::{Fault, Network, Persona, SimBmc, SimConfig};
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;
use url::Url;

use crate::site::{machine, record};

const MEDIA: &str = "media.test";

/// One simulated server, and its checker.
struct Bench {
    world: World,
    network: Network,
    machine: SimBmc,
    server: Server,
    probes: Probes,
    layout: Option<MediaLayout>,
    /// Of the address that images are served at.
    scheme: &'static str,
    maintenance: Option<InstallerSource>,
    iso_files: IsoFiles,
}

impl Bench {
    fn new(config: SimConfig) -> Bench {
        let network = Network::default();
        let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
        let world = World { clock, rng: Rng::from_seed(1), transport: network.transport() };
        let mut server = record(&config, "bmc.test");
        // A service that reports no serial number, whose record names the system.
        server.system_id = config.persona.boot.lasts.then(|| config.persona.system.to_owned());
        let machine = SimBmc::start(world.clone(), config);
        let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
        let probes = Probes::new([9; 32], store);
        network.add_bmc("bmc.test", &machine);
        network.add(MEDIA, probes.router());
        Bench {
            world,
            network,
            machine,
            server,
            probes,
            layout: None,
            scheme: "http",
            maintenance: None,
            iso_files: IsoFiles::default(),
        }
    }

    fn faulty(faults: Vec<Fault>) -> Bench {
        Bench::new(machine(faults))
    }

    fn bmc(&self) -> Bmc {
        let limits = Limits { timeout: Duration::from_secs(30), retries: 4, ..Limits::default() };
        BmcPool::new(self.world.clone(), limits).bmc(&Account {
            address: self.server.bmc_address.clone(),
            username: self.server.bmc_username.clone(),
            password: self.server.bmc_password.clone(),
            secrets: Default::default(),
            tls: self.server.tls.clone(),
        })
    }

    fn base(&self) -> Url {
        format!("{}://{MEDIA}", self.scheme).parse().unwrap()
    }

    async fn look_as(&self, whose: Whose<'_>, probe: Option<ProbePlace<'_>>) -> CheckReport {
        let bmc = self.bmc();
        let subject = Subject {
            bmc: &bmc,
            address: &self.server.bmc_address,
            tls: &self.server.tls,
            whose,
            layout: self.layout,
            media_base: Some(self.base()),
            maintenance: self
                .maintenance
                .as_ref()
                .map(|source| MaintenanceIso { source, files: &self.iso_files }),
        };
        let before = self.machine.state();
        let report = check(&self.world, &subject, probe).await;
        bmc.close().await;
        let after = self.machine.state();
        assert_eq!((&before.power, &before.media), (&after.power, &after.media));
        assert_eq!((&before.resets, &before.boot_override), (&after.resets, &after.boot_override));
        assert!(!format!("{report:?}").contains(self.server.bmc_password.expose()));
        report
    }

    /// As the controller asks, without a probe.
    async fn look(&self) -> CheckReport {
        self.look_as(Whose::Server(&self.server), None).await
    }

    async fn probe(&self) -> CheckReport {
        let place = ProbePlace { probes: &self.probes, base: Ok(self.base()), may_touch: None };
        self.look_as(Whose::Server(&self.server), Some(place)).await
    }
}

#[track_caller]
fn line<'a>(report: &'a CheckReport, name: &str) -> &'a Check {
    report.checks.iter().find(|check| check.name == name).unwrap()
}

#[track_caller]
fn assert_failed(report: &CheckReport, name: &str, found: &str) {
    assert_eq!(report.verdict, Readiness::NotReady, "{report:#?}");
    let check = line(report, name);
    assert_eq!(check.status, CheckStatus::Failed, "{report:#?}");
    assert!(check.found.contains(found), "{report:#?}");
    assert!(report.sentence.contains(check.remedy.as_deref().unwrap()), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_good_server_is_ready_and_everything_about_it_is_reported() {
    let bench = Bench::faulty(vec![]);
    let report = bench.look().await;
    assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
    assert_eq!(report.serial.as_deref(), Some("SIM0001"));
    assert_eq!(report.media_layout.as_deref(), Some("dual-cd"));
    assert_eq!(report.confidence.as_deref(), Some("probable"));
    let facts = &report.facts;
    assert_eq!(facts.login.session_timeout_secs, Some(1800));
    assert_eq!((facts.login.sessions, facts.login.lockout_threshold), (Some(1), Some(0)));
    let system = facts.system.as_ref().unwrap();
    assert_eq!((system.model.as_deref(), system.power.as_deref()), (Some("Simulated Server"), Some("Off")));
    assert!(system.bmc_firmware.is_some());
    assert_eq!(facts.slots.len(), 2);
    assert_eq!(facts.plan.boot.how.as_deref().map(|how| how.contains("Cd")), Some(true));
    let sources: Vec<&str> = facts.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(sources, ["BootProgress"], "a host that was never started has no LastResetTime");
    assert_eq!(facts.latency.as_ref().unwrap().answered, 7);
}

#[tokio::test(start_paused = true)]
async fn one_drive_and_no_sign_of_a_boot_are_reported_with_what_they_mean() {
    let bench = Bench::faulty(vec![Fault::OneCd, Fault::NoBootProgress, Fault::NoLastResetTime]);
    let report = bench.look().await;
    assert_eq!(report.verdict, Readiness::ReadySingleCd, "{report:#?}");
    assert_eq!(report.facts.layout.allowed, ["single-cd", "cd-usb"]);
    assert!(line(&report, "media").found.ends_with("layout single-cd on CD1, and cd-usb on request"));
    assert_eq!(report.confidence.as_deref(), Some("assumed"));
    assert!(line(&report, "evidence").remedy.as_deref().unwrap().contains("completion_hook"));
    let mut insistent = Bench::faulty(vec![Fault::OneCd]);
    insistent.layout = Some(MediaLayout::DualCd);
    assert_failed(&insistent.look().await, "media", "two virtual CD drives");
}

#[tokio::test(start_paused = true)]
async fn every_persona_is_judged_by_what_it_offers_and_survives_a_probe() {
    for persona in Persona::all() {
        let (name, media) = (persona.name, &persona.media);
        let scheme = if media.protocols.contains(&"HTTP") { "http" } else { "https" };
        let is_taken = media.protocols.contains(&scheme.to_ascii_uppercase().as_str());
        let mut bench = Bench::new(SimConfig { persona: persona.clone(), ..machine(vec![]) });
        bench.scheme = scheme;
        if (persona.faults)().iter().any(|fault| fault.name() == "insert-task-fails-late") {
            // It fails the first insert of any client.
            let first = bench.probe().await;
            assert_eq!(line(&first, "probe").status, CheckStatus::Failed, "{name} {first:#?}");
        }
        let report = bench.probe().await;
        let wanted = match (is_taken, media.cds()) {
            (false, _) => Readiness::NotReady,
            (true, 1) if !media.drives.iter().any(|drive| drive.refuses) => Readiness::ReadySingleCd,
            _ => Readiness::Ready,
        };
        assert_eq!(report.verdict, wanted, "{name} {report:#?}");
        assert!(line(&report, "identity").found.contains(persona.model), "{name} {report:#?}");
        assert_eq!(report.facts.plan.quirks, persona.quirks, "{name}");
        let probe = line(&report, "probe");
        match (is_taken, media.switched) {
            (false, _) if media.drives.is_empty() => {
                assert!(report.sentence.contains("NFS and SMB shares"), "{name} {report:#?}");
            }
            (false, _) => assert!(report.sentence.contains("protocol"), "{name} {report:#?}"),
            (true, true) => assert!(report.sentence.contains("switch remote media on"), "{name} {report:#?}"),
            (true, false) => {
                let fetched = report.facts.probe.as_ref().is_some_and(|probe| probe.requests > 0);
                let wanted = if fetched { CheckStatus::Ok } else { CheckStatus::Warning };
                assert_eq!(probe.status, wanted, "{name} {report:#?}");
            }
        }
    }
}

/// Each persona, and what the facts say of its family: layout by its slots (A.1, A.2), confidence by its
/// sources (A.8). A verdict in words, a layout, what a success is worth.
const EXPECTED: &[(&str, Readiness, &str, &str)] = {
    use Readiness::{NotReady, Ready, ReadySingleCd};
    &[
        ("generic", Ready, "dual-cd", "probable"),
        ("power-only", Ready, "dual-cd", "assumed"),
        ("one-cd", ReadySingleCd, "single-cd", "probable"),
        ("emulator", Ready, "dual-cd", "assumed"),
        ("sushy", ReadySingleCd, "single-cd", "assumed"),
        ("idrac8", ReadySingleCd, "single-cd", "assumed"),
        ("idrac9", Ready, "dual-cd", "probable"),
        // Which of its two slots takes no image only an insert shows.
        ("idrac10", Ready, "dual-cd", "probable"),
        ("ilo4", ReadySingleCd, "single-cd", "assumed"),
        ("ilo5", ReadySingleCd, "single-cd", "probable"),
        ("ilo6", ReadySingleCd, "single-cd", "probable"),
        ("ilo7", ReadySingleCd, "single-cd", "probable"),
        ("xcc1", ReadySingleCd, "single-cd", "probable"),
        ("xcc", Ready, "dual-cd", "probable"),
        ("xcc2", Ready, "dual-cd", "probable"),
        ("xcc3", Ready, "dual-cd", "probable"),
        ("x10", ReadySingleCd, "single-cd", "assumed"),
        ("x11", ReadySingleCd, "single-cd", "assumed"),
        ("x12", ReadySingleCd, "single-cd", "probable"),
        ("x13", Ready, "dual-cd", "probable"),
        ("x14", Ready, "dual-cd", "probable"),
        ("cimc", ReadySingleCd, "single-cd", "assumed"),
        ("ucsx", Ready, "dual-cd", "assumed"),
        ("irmc4", NotReady, "", "assumed"),
        ("irmc", Ready, "dual-cd", "assumed"),
        // Off until a job switches them on.
        ("megarac", Ready, "", "probable"),
        ("gigabyte", Ready, "", "probable"),
        ("dgx", Ready, "", "probable"),
        // Virtual media from NFS and CIFS alone, which only an insert shows.
        ("ibmc", ReadySingleCd, "single-cd", "assumed"),
        ("xfusion", ReadySingleCd, "single-cd", "assumed"),
        ("hdm", ReadySingleCd, "single-cd", "assumed"),
        ("openbmc", Ready, "dual-cd", "probable"),
        ("gh200", Ready, "dual-cd", "probable"),
        ("gb200", Ready, "dual-cd", "probable"),
        ("gb300", Ready, "dual-cd", "probable"),
    ]
};

#[tokio::test(start_paused = true)]
async fn every_persona_is_judged_as_the_facts_say_of_its_family() {
    let names: Vec<&str> = EXPECTED.iter().map(|row| row.0).collect();
    assert_eq!(names, Persona::names(), "in the order of the personas");
    for (name, verdict, layout, confidence) in EXPECTED {
        let persona: Persona = name.parse().unwrap();
        let scheme = if persona.media.protocols.contains(&"HTTP") { "http" } else { "https" };
        let mut bench = Bench::new(SimConfig { persona, power_on: true, ..machine(vec![]) });
        bench.scheme = scheme;
        // Some answer nothing for minutes after a start.
        tokio::time::sleep(Duration::from_secs(600)).await;
        let report = bench.look().await;
        let found = (report.verdict, report.media_layout.as_deref().unwrap_or_default());
        assert_eq!(found, (*verdict, *layout), "{name} {report:#?}");
        assert_eq!(report.confidence.as_deref(), Some(*confidence), "{name} {report:#?}");
        let good = verdict != &Readiness::NotReady;
        assert_eq!(report.checks.iter().all(|check| check.status != CheckStatus::Failed), good, "{name}");
    }
}

/// As a job compares.
#[tokio::test(start_paused = true)]
async fn dells_service_tag_is_the_serial_number_of_the_record_and_no_other_makers_sku() {
    let bench = |persona: &str| {
        let faults = vec![Fault::BoardSerial];
        Bench::new(SimConfig { persona: persona.parse().unwrap(), ..machine(faults) })
    };
    let report = bench("idrac9").look().await;
    let identity = line(&report, "identity");
    assert_eq!(identity.status, CheckStatus::Ok, "{report:#?}");
    let words = "serial number CN-SIM0001, service tag SIM0001;";
    assert!(identity.found.contains(words), "{identity:?}");
    assert!(identity.found.ends_with("its service tag is the serial number of the record"), "{identity:?}");
    let report = bench("ilo6").look().await;
    assert_failed(&report, "identity", "(serial number CN-SIM0001, SKU SIM0001)");
}

#[tokio::test(start_paused = true)]
async fn what_a_success_is_worth_follows_from_the_signs_that_a_bmc_shows() {
    for (persona, confidence, uses_basic) in
        [("generic", "probable", false), ("power-only", "assumed", false), ("emulator", "assumed", true)]
    {
        let report =
            Bench::new(SimConfig { persona: persona.parse().unwrap(), ..machine(vec![]) }).look().await;
        assert_eq!(report.confidence.as_deref(), Some(confidence), "{report:#?}");
        assert_eq!(report.facts.login.uses_basic, uses_basic, "{report:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_named() {
    assert_failed(&Bench::faulty(vec![Fault::NoSlots]).look().await, "media", "virtual CD drive");
    let without = Bench::faulty(vec![Fault::NoVirtualMedia]).look().await;
    assert_failed(&without, "media", "virtual CD drive");
    assert!(without.sentence.contains("this firmware has no virtual media"), "{}", without.sentence);
    let without = Bench::faulty(vec![Fault::NoOverride]).look().await;
    assert_failed(&without, "boot", "has no BootSourceOverride properties");
    assert_failed(
        &Bench::faulty(vec![Fault::WrongSerial]).look().await,
        "identity",
        "not that of server SIM0001",
    );
    assert_failed(&Bench::faulty(vec![Fault::NoSerial]).look().await, "identity", "reports no serial number");
    let cut_off = Bench::faulty(vec![]);
    cut_off.network.cut_off("bmc.test", true);
    assert_failed(&cut_off.look().await, "reach", "cannot be reached");
    let silent = Bench::faulty(vec![Fault::LostRequest(1000)]);
    assert_failed(&silent.look().await, "reach", "no answer in 15 s");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_password_is_tried_once_and_locks_no_account() {
    let mut bench = Bench::faulty(vec![Fault::Lockout(2)]);
    let good = bench.server.bmc_password.clone();
    bench.server.bmc_password = Password::new("wrong".to_owned());
    let report = bench.look().await;
    assert_failed(&report, "login", "refused the account");
    assert_eq!(line(&report, "media").status, CheckStatus::Skipped);
    // A second wrong try would have locked it.
    bench.server.bmc_password = good;
    assert_eq!(bench.look().await.verdict, Readiness::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_is_busy_or_slow_is_waited_for_within_bounds() {
    let report = Bench::faulty(vec![Fault::Busy503(3)]).look().await;
    assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
    let report = Bench::faulty(vec![Fault::Slow(Duration::from_millis(5_000))]).look().await;
    assert_eq!(report.verdict, Readiness::Ready, "{report:#?}");
    let latency = report.facts.latency.as_ref().unwrap();
    assert!(latency.p50_ms >= 5_000.0 && latency.p95_ms < 6_000.0, "{latency:?}");
    assert_eq!(line(&report, "latency").status, CheckStatus::Warning);
    // Later than any request is waited for: the check ends all the same.
    let report = Bench::faulty(vec![Fault::Busy503(100_000)]).look().await;
    assert_failed(&report, "login", "503");
}

#[tokio::test(start_paused = true)]
async fn without_a_record_the_only_host_is_meant_or_the_one_that_is_named() {
    let bench = Bench::faulty(vec![Fault::NoSerial]);
    let report = bench.look_as(Whose::Anybody { system_id: None }, None).await;
    assert_eq!((report.verdict, report.serial.as_deref()), (Readiness::Ready, None), "{report:#?}");
    assert!(line(&report, "identity").remedy.as_deref().unwrap().contains("system_id (1)"));
    let report = bench.look_as(Whose::Anybody { system_id: Some("2") }, None).await;
    assert_failed(&report, "identity", "no such system");
}

/// The same network, as a BMC with a self-signed certificate.
fn self_signed(inner: Transport, with_password: Arc<AtomicU32>) -> Transport {
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        let (inner, with_password) = (inner.clone(), with_password.clone());
        async move {
            let policy = request.extensions().get::<TlsPolicy>().cloned().unwrap_or_default();
            if policy == TlsPolicy::Verify || matches!(policy, TlsPolicy::Pin(pin) if pin != [7; 32]) {
                return Err(TransportError::new(TransportErrorKind::Certificate));
            }
            let carries =
                request.headers().contains_key("authorization") || request.method() == http::Method::POST;
            with_password.fetch_add(u32::from(carries), Ordering::Relaxed);
            let mut response = inner.oneshot(request).await?;
            response.extensions_mut().insert(PeerCertificate([7; 32]));
            response.headers_mut().insert("date", "Thu, 01 Jan 2026 01:00:00 GMT".parse().unwrap());
            Ok(response)
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn an_untrusted_certificate_is_shown_and_sent_no_password() {
    let mut bench = Bench::faulty(vec![]);
    let with_password = Arc::new(AtomicU32::new(0));
    bench.world.transport = self_signed(bench.world.transport.clone(), with_password.clone());
    let pin = format!("pin:{}", hex(&[7; 32]));
    for tls in [TlsPolicy::Verify, TlsPolicy::Pin([8; 32])] {
        bench.server.tls = tls;
        let report = bench.look().await;
        assert_failed(&report, "tls", "certificate");
        assert!(line(&report, "tls").remedy.as_deref().unwrap().contains(&pin), "{report:#?}");
    }
    assert_eq!(with_password.load(Ordering::Relaxed), 0, "nothing secret was sent");
    bench.server.tls = pin.parse().unwrap();
    let report = bench.look().await;
    assert_eq!(
        (report.verdict, line(&report, "tls").status),
        (Readiness::Ready, CheckStatus::Ok),
        "{report:#?}"
    );
    assert!(with_password.load(Ordering::Relaxed) > 0);
    let clock = report.facts.clock.as_ref().unwrap();
    assert!((3_590..=3_600).contains(&clock.ahead_secs), "{clock:?}");
    assert_eq!(line(&report, "clock").status, CheckStatus::Warning);
}

#[tokio::test(start_paused = true)]
async fn a_probe_shows_how_images_are_fetched_and_leaves_the_drive_empty() {
    for (faults, fetched) in [
        (vec![Fault::InsertChecksUrl], "1 by Range, 0 whole; it streams"),
        (vec![Fault::Prefetch], "1 whole; it downloads images whole"),
        (vec![Fault::InsertTask(Duration::from_secs(20)), Fault::Prefetch], "1 whole"),
        (vec![Fault::StaleInserted(Duration::from_secs(5)), Fault::InsertChecksUrl], "ejected a test image"),
        (vec![Fault::OneCd, Fault::InsertNeedsProtocol, Fault::InsertChecksUrl], "mounted and ejected"),
    ] {
        let report = Bench::faulty(faults.clone()).probe().await;
        let probe = line(&report, "probe");
        assert_eq!(probe.status, CheckStatus::Ok, "{faults:?} {report:#?}");
        assert!(probe.found.contains(fetched), "{faults:?} {probe:#?}");
        assert!(report.facts.probe.as_ref().unwrap().restored);
    }
}

/// Nothing has shown that the BMC reaches the media server, and nothing that it does not.
#[tokio::test(start_paused = true)]
async fn a_probe_without_a_fetch_is_a_warning() {
    let bench = Bench::faulty(vec![]);
    bench.network.cut_off(MEDIA, true);
    for report in [bench.probe().await, Bench::faulty(vec![]).probe().await] {
        let probe = line(&report, "probe");
        assert_eq!((probe.status, report.verdict), (CheckStatus::Warning, Readiness::Ready), "{report:#?}");
        assert!(probe.found.contains("not known whether the BMC can reach us"), "{probe:#?}");
        assert!(probe.remedy.as_deref().unwrap().contains("resolves media.test"), "{probe:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn media_by_an_unsupported_protocol_are_reported_with_what_to_set() {
    let bench = Bench::new(SimConfig { persona: "xfusion".parse().unwrap(), ..machine(vec![]) });
    let report = bench.look().await;
    assert_failed(&report, "insert", "takes images by HTTPS only");
    assert!(report.sentence.contains("serve media over HTTPS (MEDIA_TLS=true)"), "{}", report.sentence);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_with_vmm_control_is_warned_of_while_media_are_served_over_plain_http() {
    for (scheme, status) in [("http", CheckStatus::Warning), ("https", CheckStatus::Ok)] {
        let mut bench = Bench::new(SimConfig { persona: "ibmc".parse().unwrap(), ..machine(vec![]) });
        bench.scheme = scheme;
        assert_eq!(line(&bench.look().await, "insert").status, status, "{scheme}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_says_why_and_still_leaves_the_drive_empty() {
    let unreachable = Bench::faulty(vec![Fault::InsertChecksUrl]);
    unreachable.network.cut_off(MEDIA, true);
    let report = unreachable.probe().await;
    assert_failed(&report, "probe", "did not take an image");
    assert!(report.sentence.contains("MEDIA_BASE_URL"), "{}", report.sentence);
    assert_failed(
        &Bench::faulty(vec![Fault::InsertTaskFails]).probe().await,
        "probe",
        "did not take an image",
    );
    assert_failed(&Bench::faulty(vec![Fault::InsertNotDone(9)]).probe().await, "probe", "never showed it");
}

#[tokio::test(start_paused = true)]
async fn a_drive_that_holds_something_and_a_base_that_leads_nowhere_are_left_alone() {
    let report = Bench::faulty(vec![Fault::MediaLeft]).probe().await;
    assert!(line(&report, "probe").found.contains("holds an image already"), "{report:#?}");
    assert_eq!(report.facts.probe.as_ref().unwrap().insert_ms, 0);
    let bench = Bench::faulty(vec![]);
    for (base, why) in [
        (Ok("http://127.0.0.1:8080".parse().unwrap()), "on loopback"),
        (Err("there is no route".to_owned()), "there is no route"),
    ] {
        let place = ProbePlace { probes: &bench.probes, base, may_touch: None };
        let report = bench.look_as(Whose::Server(&bench.server), Some(place)).await;
        assert!(line(&report, "probe").found.contains(why), "{report:#?}");
        assert_eq!(report.verdict, Readiness::Ready);
    }
}
