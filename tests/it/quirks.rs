//! Quirks by name: the code, their rows in docs/quirks.md, and the personas that behave so are one set;
//! and each quirk is needed: without it the persona that has it is not installed as it should be.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use shoal::domain::{Confidence, Evidence, EvidenceKind, Job, MediaLayout, Status, Step};
use shoal::flow::policy::FinalReset;
use shoal_base::Password;
use shoal_base::world::TlsPolicy;
use shoal_redfish::{Account, Bmc, BmcPool, Limits, Quirk, ResetType, System};
use shoal_sim::{Fault, Persona, SimConfig, Sources, Timings};

use crate::site::{Site, https_only, machine};
use crate::struck::{answered, struck};

#[test]
fn the_document_has_a_row_for_each_quirk_and_no_other() {
    let document = include_str!("../../docs/quirks.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows, Quirk::all().map(Quirk::name).collect::<Vec<_>>(), "in the order of the code");
}

#[test]
fn every_quirk_has_a_persona_and_no_persona_has_another() {
    let shown: BTreeSet<&str> = Persona::all().flat_map(|persona| persona.quirks).copied().collect();
    assert_eq!(shown, Quirk::all().map(Quirk::name).collect());
}

/// A machine of this persona, with a system on its disk that boots unless something else is asked for.
pub fn config(persona: &Persona) -> SimConfig {
    let previous = Some("8.0.2-0.0.22380479".parse().unwrap());
    // A self test as long as real ones: who looks every half minute sees it.
    let secs = Duration::from_secs;
    let timings = Timings { post: secs(120), boot_load: secs(20), install: secs(300), ..Timings::default() };
    SimConfig { persona: persona.clone(), previous, timings, ..machine(vec![]) }
}

pub async fn site(config: SimConfig, quirks_off: Vec<Quirk>) -> Site {
    let https = https_only(&config.persona);
    site_of(vec![config], https, quirks_off).await
}

async fn site_of(configs: Vec<SimConfig>, https: bool, quirks_off: Vec<Quirk>) -> Site {
    let mut site = Site::new(1, configs).await;
    site.quirks_off = quirks_off;
    site.policy.final_reset = FinalReset::Never;
    if https {
        site.give_media_by_https();
    }
    site
}

async fn install(site: &mut Site) -> Job {
    site.start();
    let id = site.submit(0, json!({ "allow_powered_on": true })).await;
    site.settle(id).await
}

pub fn client(site: &Site, quirks_off: Vec<Quirk>) -> Bmc {
    client_of(site, 0, quirks_off)
}

fn client_of(site: &Site, machine: usize, quirks_off: Vec<Quirk>) -> Bmc {
    let config = site.machines[machine].config();
    let account = Account {
        address: format!("https://bmc{machine}.test").parse().unwrap(),
        username: config.username,
        password: Password::new(config.password),
        secrets: Default::default(),
        tls: TlsPolicy::Insecure,
    };
    BmcPool::new(site.world.clone(), Limits { quirks_off, ..Limits::default() }).bmc(&account)
}

async fn host(bmc: &Bmc) -> System {
    let systems = bmc.observe_systems().await.unwrap();
    systems.into_iter().find(System::is_host).unwrap()
}

#[tokio::test(start_paused = true)]
async fn every_persona_is_known_by_its_quirks() {
    for persona in Persona::all() {
        let site = site(config(persona), vec![]).await;
        let bmc = client(&site, vec![]);
        bmc.observe_slots(&host(&bmc).await).await.unwrap();
        let found: Vec<&str> = bmc.quirks().iter().map(Quirk::name).collect();
        assert_eq!(found, persona.quirks, "{}", persona.name);
    }
}

/// Whether everything went as it does on a BMC that follows the standard.
async fn is_good(site: &Site, machine: usize, job: &Job) -> Result<(), String> {
    let two = site.machines[machine].config().persona.media.cds() > 1;
    is_installed(site, machine, job, if two { MediaLayout::DualCd } else { MediaLayout::SingleCd }).await
}

async fn is_installed(site: &Site, machine: usize, job: &Job, wanted: MediaLayout) -> Result<(), String> {
    let state = site.machines[machine].state();
    let mode = host(&client_of(site, machine, vec![])).await.boot.mode;
    // Its host would not have been installed in another mode.
    let hides_mode = (site.machines[machine].config().persona.faults)().contains(&Fault::LegacyWhileDisabled);
    let checks = [
        (job.status == Status::Succeeded, format!("{:?} {:?}", job.status, job.reason)),
        (job.facts.mounts.layout() == wanted, format!("layout {}", job.facts.mounts.layout().name())),
        ((state.installs, state.interrupted_installs, state.starts) == (1, 0, 1), format!("{state:?}")),
        (state.media.values().all(|medium| !medium.inserted), "media are left".to_owned()),
        (state.boot_override.enabled == "Disabled", "the override is left".to_owned()),
        (mode.as_deref() != Some("Legacy") || hides_mode, "the boot mode was changed".to_owned()),
    ];
    let broken = checks.into_iter().find(|(holds, _)| !holds);
    broken.map_or(Ok(()), |(_, what)| Err(what))
}

/// One job of this recipe on a machine of each persona that takes images, and what came of it.
pub async fn on_every_persona(recipe: serde_json::Value, check: impl AsyncFn(&Site, usize, &Job)) {
    for https in [false, true] {
        // The stock emulator, whose override lasts, has tests of its own (`emulators`).
        let takes_images = |persona: &&Persona| !persona.media.protocols.is_empty() && !persona.boot.lasts;
        let personas = Persona::all().filter(takes_images).filter(|persona| https_only(persona) == https);
        let configs = personas
            .enumerate()
            .map(|(number, persona)| SimConfig { serial: format!("SIM{number:04}"), ..config(persona) });
        let mut site = site_of(configs.collect(), https, vec![]).await;
        site.start();
        let mut jobs = Vec::new();
        for machine in 0..site.machines.len() {
            jobs.push(site.submit(machine, recipe.clone()).await);
        }
        for (machine, id) in jobs.into_iter().enumerate() {
            let job = site.settle(id).await;
            check(&site, machine, &job).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_persona_ends_an_install_with_the_evidence_that_it_offers() {
    on_every_persona(json!({}), check_evidence).await;
}

async fn check_evidence(site: &Site, machine: usize, job: &Job) {
    let persona = site.machines[machine].config().persona;
    let story = site.story(job.id).await;
    assert_eq!(is_good(site, machine, job).await, Ok(()), "{}\n{story}", persona.name);
    let confidence = job.verdict.as_ref().and_then(|verdict| verdict.confidence);
    let best = if persona.sources == Sources::NONE { Confidence::Assumed } else { Confidence::Probable };
    assert_eq!(confidence, Some(best), "{}\n{story}", persona.name);
    let evidence = &job.verdict.as_ref().unwrap().evidence;
    let kinds: Vec<EvidenceKind> = evidence.iter().map(|evidence| evidence.kind).collect();
    assert_eq!(
        kinds.contains(&EvidenceKind::KickstartRead),
        !is_copying(&persona),
        "{}\n{story}",
        persona.name
    );
    assert!(kinds.contains(&EvidenceKind::PowerStable), "{}\n{story}", persona.name);
    let offered = offered(&persona.sources);
    let by_a_source = |evidence: &Evidence| {
        let property = evidence.detail.split(' ').next().unwrap_or_default();
        evidence.kind == EvidenceKind::SecondBoot && offered.contains(&property)
    };
    assert_eq!(evidence.iter().any(by_a_source), !offered.is_empty(), "{} {evidence:?}", persona.name);
}

fn is_copying(persona: &Persona) -> bool {
    (persona.faults)().contains(&Fault::Prefetch)
}

/// The properties that show a boot.
fn offered(sources: &Sources) -> Vec<&'static str> {
    let all = [
        (sources.boot_progress, "BootProgress"),
        (sources.last_boot_time, "LastBootTimeSeconds"),
        (sources.last_reset_time, "LastResetTime"),
        (sources.post_state, "PostState"),
        (sources.number_of_reboots, "NumberOfReboots"),
    ];
    all.into_iter().filter(|(shown, _)| *shown).map(|(_, property)| property).collect()
}

/// The strongest word there is, wherever the nonce's read can be seen.
#[tokio::test(start_paused = true)]
async fn every_persona_proves_an_install_that_powers_off_at_its_end() {
    on_every_persona(json!({ "completion_hook": "poweroff" }), check_proof).await;
}

async fn check_proof(site: &Site, machine: usize, job: &Job) {
    let persona = site.machines[machine].config().persona;
    let story = site.story(job.id).await;
    let state = site.machines[machine].state();
    assert_eq!(job.status, Status::Succeeded, "{}\n{story}", persona.name);
    assert_eq!((state.installs, state.interrupted_installs), (1, 0), "{} {state:?}", persona.name);
    assert!(state.media.values().all(|medium| !medium.inserted), "{} {state:?}", persona.name);
    let verdict = job.verdict.as_ref().unwrap();
    let best = if is_copying(&persona) { Confidence::Probable } else { Confidence::Proven };
    assert_eq!(verdict.confidence, Some(best), "{}\n{story}", persona.name);
    assert_eq!(verdict.evidence[0].kind, EvidenceKind::InstallerHook, "{}\n{story}", persona.name);
}

#[tokio::test(start_paused = true)]
async fn every_persona_with_a_stick_is_installed_by_one_where_that_is_asked_for() {
    on_every_persona(json!({ "media_layout": "cd-usb" }), check_stick).await;
}

async fn check_stick(site: &Site, machine: usize, job: &Job) {
    let persona = site.machines[machine].config().persona;
    let story = site.story(job.id).await;
    if persona.media.has_stick() {
        let found = is_installed(site, machine, job, MediaLayout::CdUsb).await;
        assert_eq!(found, Ok(()), "{}\n{story}", persona.name);
    } else {
        // Where a slot is there and takes nothing, only the insertion shows it.
        let is_expected = matches!(job.failed_step, Some(Step::ResolveServer | Step::MountTask));
        assert!(is_expected && job.reason.is_some(), "{}\n{story}", persona.name);
        assert_eq!(site.machines[machine].state().starts, 0, "{}", persona.name);
    }
}

#[test]
fn personas_have_sticks_as_their_captures_show_them() {
    let with: Vec<&str> =
        Persona::all().filter(|persona| persona.media.has_stick()).map(|one| one.name).collect();
    for name in ["ilo5", "idrac8", "idrac9"] {
        assert!(with.contains(&name), "{with:?}");
    }
    assert!(with.len() < Persona::all().count(), "{with:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_takes_no_image_from_us_is_refused_in_its_own_words() {
    for (persona, words) in [("ibmc", "FileTransferProtocolMismatch")] {
        let mut site = site(config(&persona.parse().unwrap()), vec![]).await;
        let job = install(&mut site).await;
        assert_eq!(job.status, Status::Failed, "{persona}");
        assert!(job.reason.as_deref().unwrap().contains(words), "{persona}: {:?}", job.reason);
        assert_eq!(site.machines[0].state().starts, 0, "{persona}");
    }
    // They say so beforehand.
    for persona in ["xfusion", "irmc"] {
        let mut site = Site::new(1, vec![config(&persona.parse().unwrap())]).await;
        let job = install(&mut site).await;
        let reason = job.reason.as_deref().unwrap();
        assert!(reason.contains("takes images by HTTPS only"), "{reason}");
        assert!(reason.contains("serve media over HTTPS (MEDIA_TLS=true)"), "{reason}");
        assert_eq!(
            (job.failed_step, job.facts.mounts.boot.insertions),
            (Some(Step::ResolveServer), 0),
            "{reason}"
        );
    }
}

/// Every quirk but those that a whole installation does not show; each has a test of its own below.
#[tokio::test(start_paused = true)]
async fn without_a_quirk_its_persona_is_not_installed_as_it_should_be() {
    let elsewhere = [Quirk::NoKeepAlive, Quirk::ReservedSlots, Quirk::BootOnNextReset, Quirk::ShareMount];
    let mut needed = BTreeSet::from(elsewhere);
    for persona in Persona::all().filter(|persona| !persona.media.protocols.is_empty()) {
        for quirk in Quirk::all().filter(|quirk| persona.quirks.contains(&quirk.name())) {
            if needed.contains(&quirk) {
                continue;
            }
            let mut config = config(persona);
            if quirk == Quirk::PauseBeforeOn {
                // So that it has to be forced off.
                config = SimConfig { power_on: true, faults: vec![Fault::GracefulIgnored], ..config };
            }
            let mut with = site(config.clone(), vec![]).await;
            let job = install(&mut with).await;
            assert_eq!(is_good(&with, 0, &job).await, Ok(()), "{} {}", persona.name, quirk.name());
            let mut without = site(config, vec![quirk]).await;
            let job = install(&mut without).await;
            if is_good(&without, 0, &job).await.is_err() {
                needed.insert(quirk);
            }
        }
    }
    assert_eq!(needed, Quirk::all().collect());
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_mounts_shares_alone_is_refused_with_what_to_do() {
    for (off, is_named) in [(vec![], true), (vec![Quirk::ShareMount], false)] {
        let mut site = site(config(&"irmc4".parse().unwrap()), off).await;
        let job = install(&mut site).await;
        assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::ResolveServer)));
        let reason = job.reason.unwrap();
        assert!(reason.contains("virtual CD drive"), "{reason}");
        assert_eq!(reason.contains("NFS and SMB shares"), is_named, "{reason}");
        assert_eq!(site.machines[0].state().starts, 0);
    }
}

/// A list that an earlier mount left something in would be mounted as a whole.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_mount_left_in_the_list_is_taken_out() {
    let site = site(config(&"xcc1".parse().unwrap()), vec![]).await;
    let bmc = client(&site, vec![]);
    let slots = bmc.observe_slots(&host(&bmc).await).await.unwrap();
    for image in ["http://media.test/a/one.iso", "http://media.test/a/two.iso"] {
        bmc.request_insert(&slots[0], image).await.unwrap();
        let slot = bmc.observe_slot(&slots[0].link).await.unwrap();
        assert_eq!((slot.inserted, slot.image.as_deref()), (Some(true), Some(image)));
        bmc.request_eject(&slot).await.unwrap();
        assert!(bmc.observe_slot(&slots[0].link).await.unwrap().is_empty());
    }
    let error = bmc.request_insert(&slots[0], "https://media.test/a/one.iso").await.unwrap_err();
    assert!(error.to_string().contains("takes images by HTTP only"), "{error}");
}

/// They would be found useless one by one, and the last one by a job.
#[tokio::test(start_paused = true)]
async fn slots_that_a_bmc_keeps_for_itself_are_no_drives() {
    let persona: Persona = "xcc".parse().unwrap();
    let site = site(config(&persona), vec![]).await;
    for (off, expected) in [(vec![], 4), (vec![Quirk::ReservedSlots], 7)] {
        let bmc = client(&site, off);
        let slots = bmc.observe_slots(&host(&bmc).await).await.unwrap();
        assert_eq!(slots.iter().filter(|slot| slot.is_usable_cd()).count(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn without_no_keep_alive_connections_are_reset() {
    let persona: Persona = "ilo5".parse().unwrap();
    for (off, expected) in [(vec![], false), (vec![Quirk::NoKeepAlive], true)] {
        let site = site(config(&persona), vec![]).await;
        let bmc = client(&site, off);
        bmc.observe_slots(&host(&bmc).await).await.unwrap();
        assert_eq!(site.machines[0].struck().contains_key("connection-reused"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn during_a_self_test_a_slot_is_set_to_be_booted_from() {
    let persona: Persona = "ilo6".parse().unwrap();
    for (off, works) in [(vec![], true), (vec![Quirk::BootOnNextReset], false)] {
        let site = site(config(&persona), vec![]).await;
        let bmc = client(&site, off);
        let system = host(&bmc).await;
        let slots = bmc.observe_slots(&system).await.unwrap();
        let cd = slots.iter().find(|slot| slot.is_usable_cd()).unwrap();
        bmc.request_reset(&system, ResetType::On).await.unwrap();
        let armed = bmc.request_boot_from_cd(&system, Some(&cd.link)).await;
        assert_eq!(armed.is_ok(), works, "{armed:?}");
        let shown = bmc.observe_boot_from_cd(&host(&bmc).await, Some(&cd.link)).await.unwrap();
        assert_eq!(shown, works);
        if works {
            bmc.request_boot_disarm(&system, Some(&cd.link)).await.unwrap();
            assert!(!bmc.observe_boot_from_cd(&system, Some(&cd.link)).await.unwrap());
        }
    }
}

/// As before the BMC had said who it is, and as an operator may have left it.
#[tokio::test(start_paused = true)]
async fn an_override_that_does_not_reach_the_virtual_cd_is_cleared_with_the_one_that_does() {
    let site = site(config(&"idrac8".parse().unwrap()), vec![]).await;
    let (unaware, bmc) = (client(&site, vec![Quirk::BootByImport]), client(&site, vec![]));
    let armed = || site.machines[0].state().boot_override.enabled != "Disabled";
    for arms_too in [false, true] {
        unaware.request_boot_from_cd(&host(&unaware).await, None).await.unwrap();
        let system = host(&bmc).await;
        assert!(armed() && bmc.observe_boot_armed(&system, None).await.unwrap());
        assert!(!bmc.observe_boot_from_cd(&system, None).await.unwrap(), "it does not reach the virtual CD");
        if arms_too {
            bmc.request_boot_from_cd(&system, None).await.unwrap();
            assert!(!armed() && bmc.observe_boot_from_cd(&system, None).await.unwrap());
        }
        bmc.request_boot_disarm(&host(&bmc).await, None).await.unwrap();
        assert!(!armed() && !bmc.observe_boot_armed(&host(&bmc).await, None).await.unwrap());
    }
}

/// What the Manager says decides how the override is set.
#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_answer_at_first_is_asked_again_before_the_override_is_set() {
    let mut site = site(config(&"idrac8".parse().unwrap()), vec![]).await;
    let manager = "Managers/iDRAC.Embedded.1";
    site.start_over(struck(&site.world.transport, manager, 2, |_| async { answered(500) }));
    let id = site.submit(0, json!({ "allow_powered_on": true })).await;
    let job = site.settle(id).await;
    let story = site.story(id).await;
    assert_eq!(job.status, Status::Succeeded, "{story}");
    assert_eq!(story.matches("asking for a one-time boot").count(), 1, "{story}");
    assert!(story.contains("by a configuration import"), "{story}");
}

/// One refusal rules out no alternative: each of these BMCs takes the other documented form or place.
#[tokio::test(start_paused = true)]
async fn what_one_way_of_setting_the_override_refuses_another_does() {
    for (persona, fault) in [
        ("ilo5", Fault::OverrideValueRefused),
        ("ilo7", Fault::OverrideValueRefused),
        ("idrac10", Fault::OverrideElsewhere),
        ("gb200", Fault::OverrideElsewhere),
        ("generic", Fault::DisabledAloneRefused),
        ("ilo6", Fault::DisabledWithTargetRefused),
        ("megarac", Fault::DisabledWithTargetRefused),
        ("x12", Fault::DisabledWithTargetRefused),
    ] {
        let mut config = config(&persona.parse().unwrap());
        config.faults.extend([fault.clone(), Fault::OverrideContinuous]);
        let mut site = site(config, vec![]).await;
        let job = install(&mut site).await;
        let story = site.story(job.id).await;
        assert_eq!(job.status, Status::Succeeded, "{persona} {fault} {:?}\n{story}", job.reason);
        let state = site.machines[0].state();
        assert_eq!(
            (state.installs, state.boot_override.enabled),
            (1, "Disabled"),
            "{persona} {fault}\n{story}"
        );
        assert_eq!(job.facts.cleanup.left, Vec::<String>::new(), "{persona} {fault}\n{story}");
        // The form that an iLO refuses is not its first.
        let struck = site.machines[0].struck().contains_key(fault.name());
        assert_eq!(
            struck,
            (persona, &fault) != ("ilo6", &Fault::DisabledWithTargetRefused),
            "{persona} {fault}"
        );
    }
}

/// AMI 12.84 on Gigabyte: the mode that it shows beside a disabled override is not the host's.
#[tokio::test(start_paused = true)]
async fn a_host_of_uefi_is_installed_by_uefi_whatever_mode_a_disabled_override_shows() {
    let mut config = config(&"megarac".parse().unwrap());
    config.faults.push(Fault::LegacyWhileDisabled);
    let mut site = site(config, vec![]).await;
    let job = install(&mut site).await;
    assert_eq!(job.status, Status::Succeeded, "{}", site.story(job.id).await);
    let state = site.machines[0].state();
    assert_eq!((state.installs, state.interrupted_installs, state.starts), (1, 0, 1), "{state:?}");
}

/// GH200 refuses an http URL by naming `Image`. Every slot would: none is to blame, and none is remembered.
#[tokio::test(start_paused = true)]
async fn a_url_that_is_refused_for_its_protocol_moves_no_medium_to_another_slot() {
    let config = config(&"gh200".parse().unwrap());
    let mut site = Site::new(1, vec![config]).await;
    let job = install(&mut site).await;
    let reason = job.reason.as_deref().unwrap();
    assert!(
        reason.contains("ActionParameterValueNotInList") && reason.contains("MEDIA_TLS=true"),
        "{reason}"
    );
    assert_eq!((job.status, job.failed_step), (Status::Failed, Some(Step::MountMaintenance)), "{reason}");
    assert_eq!(
        (job.facts.mounts.boot.refused.len(), job.facts.mounts.boot.insertions),
        (0, 1),
        "{:?}",
        job.facts.mounts.boot
    );
    let server = site.store.server(&job.server).await.unwrap().unwrap();
    let memory = site.store.load_bmc_memory(&server).await.unwrap();
    assert!(memory.refusing.is_empty(), "{:?}", memory.refusing);
}

#[tokio::test(start_paused = true)]
async fn the_consoles_own_slot_is_no_drive() {
    let site = site(config(&"ucsx".parse().unwrap()), vec![]).await;
    let bmc = client(&site, vec![]);
    let slots = bmc.observe_slots(&host(&bmc).await).await.unwrap();
    let usable = slots.iter().filter(|slot| slot.is_usable_cd()).map(|slot| slot.id.as_str());
    assert_eq!(usable.collect::<Vec<_>>(), ["1", "2"]);
}
