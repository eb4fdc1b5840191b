//! Faults that strike now and then, or in the middle of an install.

use shoal_base::world::TransportErrorKind;
use shoal_sim::Happening;

use super::*;

/// The outcomes of `count` reads of the System, each waited for up to a minute.
async fn outcomes(bench: &Bench, count: usize) -> Vec<String> {
    let mut outcomes = vec![];
    for _ in 0..count {
        let request = http::Request::get(format!("http://bmc.test{SYSTEM}"))
            .header("authorization", "Basic YWRtaW46Y29ycmVjdCBob3JzZQ==")
            .body(Bytes::new())
            .unwrap();
        let sent = bench.network.transport().oneshot(request);
        outcomes.push(match tokio::time::timeout(Duration::from_secs(60), sent).await {
            Err(_) => "silence".to_owned(),
            Ok(Err(error)) => error.kind.to_string(),
            Ok(Ok(answer)) => {
                let (status, retry) =
                    (answer.status().as_u16(), answer.headers().get(header::RETRY_AFTER).cloned());
                let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
                let json = if serde_json::from_slice::<Value>(&body).is_ok() { "json" } else { "no json" };
                format!("{status} {json}{}", retry.map_or("", |_| " later"))
            }
        });
    }
    outcomes
}

#[tokio::test(start_paused = true)]
async fn requests_meet_mishaps_as_often_as_the_fault_says() {
    let broken = TransportErrorKind::Broken.to_string();
    for (fault, shown) in [
        ("throttled-429=300", "429 json later"),
        ("lost-request=300", "silence"),
        ("lost-answer=300", "silence"),
        ("reset-connection=300", broken.as_str()),
        ("truncated-json=300", "200 no json"),
        ("garbled-json=300", "200 no json"),
    ] {
        let bench = Bench::new(&[fault]);
        let outcomes = outcomes(&bench, 100).await;
        let met = outcomes.iter().filter(|outcome| *outcome == shown).count();
        let good = outcomes.iter().filter(|outcome| *outcome == "200 json").count();
        assert!((15..50).contains(&met) && met + good == 100, "{fault}: {outcomes:?}");
        assert_eq!(bench.bmc.struck().into_values().sum::<u64>(), met as u64, "{fault}");
        bench.bmc.calm_down();
        assert!(self::outcomes(&bench, 30).await.iter().all(|outcome| outcome == "200 json"), "{fault}");
    }
    let outcomes = outcomes(&Bench::new(&["flaky-5xx=300"]), 100).await;
    for shown in ["500 json", "503 json later"] {
        assert!(outcomes.iter().filter(|outcome| *outcome == shown).count() > 5, "{outcomes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_to_a_request_that_was_done_and_a_lost_request_is_not() {
    for (fault, done) in [("lost-answer=1000", true), ("lost-request=1000", false)] {
        let bench = Bench::new(&[fault]);
        let waited = tokio::time::timeout(Duration::from_secs(60), bench.reset("On")).await;
        assert!(waited.is_err());
        assert_eq!(bench.bmc.state().power == "On", done, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_insert_can_be_accepted_and_not_done() {
    let bench = Bench::new(&["insert-not-done=1"]);
    assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 204);
    assert_eq!(bench.get(CD1).await["Inserted"], false);
    assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 204);
    assert_eq!(bench.get(CD1).await["Inserted"], true);

    let bench = Bench::new(&["insert-not-seen=1"]);
    assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 204);
    assert_eq!(bench.get(CD1).await["Inserted"], true, "it says so");
    assert!(!bench.bmc.state().media["CD1"].inserted, "the truth");
    assert_eq!(bench.eject(CD1).await.status, 204);
    assert_eq!(bench.get(CD1).await["Inserted"], false);
    assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 204);
    assert!(bench.bmc.state().media["CD1"].inserted);
}

#[tokio::test(start_paused = true)]
async fn a_task_can_fail_after_it_seemed_to_be_done() {
    let bench = Bench::new(&["insert-task-fails-late=60"]);
    let answer = bench.insert(CD1, "http://media.test/esxi.iso").await;
    assert_eq!(answer.status, 202);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(bench.get(CD1).await["Inserted"], true);
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(bench.get(CD1).await["Inserted"], false);
    let task = bench.get(answer.body["@odata.id"].as_str().unwrap()).await;
    assert_eq!(task["TaskState"], "Exception");
    assert_eq!(bench.insert(CD1, "http://media.test/esxi.iso").await.status, 204, "only the first");
}

#[tokio::test(start_paused = true)]
async fn an_override_can_be_forgotten_or_become_lasting() {
    let bench = Bench::new(&["override-lost=10"]);
    bench.boot_once("Cd").await;
    assert_eq!(bench.bmc.state().boot_override.target, "Cd");
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(bench.get(SYSTEM).await["Boot"]["BootSourceOverrideEnabled"], "Disabled");
    let bench = Bench::new(&["override-turned-continuous"]);
    bench.boot_once("Cd").await;
    assert_eq!(bench.get(SYSTEM).await["Boot"]["BootSourceOverrideEnabled"], "Continuous");
}

#[tokio::test(start_paused = true)]
async fn wrong_passwords_lock_the_account_for_a_while() {
    let bench = Bench::new(&["lockout=2"]);
    let log_in = async |password: &str| {
        let body = json!({ "UserName": "admin", "Password": password });
        let path = "/redfish/v1/SessionService/Sessions";
        bench.send(Method::POST, path, &[], Some(body)).await.status
    };
    assert_eq!(log_in("correct horse").await, 201);
    for _ in 0..2 {
        assert_eq!(log_in("wrong").await, 401);
    }
    assert_eq!(log_in("correct horse").await, 401, "locked");
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(log_in("correct horse").await, 201);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_can_go_away_in_the_middle_of_an_install() {
    let bench = Bench::new(&["bmc-down-in-install=300"]);
    bench.begin_install().await;
    bench.wait_for("installing").await;
    assert!(!bench.bmc.is_reachable());
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert!(bench.bmc.is_reachable());
    assert_eq!(bench.bmc.state().installs, 1);
}

#[tokio::test(start_paused = true)]
async fn a_bmc_that_restarts_reads_its_media_of_its_own_accord() {
    let bench = Bench::new(&["bmc-restarts-in-install=3", "no-eject"]);
    bench.begin_install().await;
    bench.wait_for("installing").await;
    let reads = bench.asked.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(!bench.bmc.is_reachable());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.bmc.is_reachable() && bench.bmc.state().guest == "installing");
    let asked = bench.asked.lock().unwrap();
    let again: Vec<_> = asked[reads..].iter().map(|(path, range)| (path.as_str(), range.as_str())).collect();
    assert_eq!(again, [("/esxi.iso", "bytes=0-65535"), ("/task.iso", "bytes=0-65535")]);
}

#[tokio::test(start_paused = true)]
async fn a_firmware_that_prefers_cds_installs_again_and_again_while_they_are_there() {
    let bench = Bench::new(&["cd-first", "no-eject"]);
    bench.begin_install().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.bmc.state().installs >= 3, "{:?}", bench.bmc.state());
}

#[tokio::test(start_paused = true)]
async fn an_installer_can_eject_its_media_at_its_beginning() {
    let bench = Bench::new(&["guest-ejects-early"]);
    bench.begin_install().await;
    bench.wait_for("installing").await;
    assert!(bench.bmc.state().media.values().all(|slot| !slot.inserted));
    bench.wait_for("installed").await;
}

#[tokio::test(start_paused = true)]
async fn the_journal_shows_what_happened_to_the_machine() {
    let bench = Bench::new(&[]);
    bench.begin_install().await;
    bench.wait_for("installing").await;
    bench.reset("ForceRestart").await;
    bench.wait_for("installing").await;
    bench.bmc.press_reset();
    bench.wait_for("firmware").await;
    let happenings: Vec<Happening> =
        bench.bmc.journal().into_iter().map(|(_, happening)| happening).collect();
    use Happening::*;
    assert_eq!(
        happenings,
        [
            Reset("On"),
            PowerOn,
            Start,
            Boot,
            InstallBegun,
            Reset("ForceRestart"),
            InstallCut,
            Start,
            Boot,
            InstallBegun,
            HandsOn,
            InstallCut,
            Boot
        ]
    );
}
