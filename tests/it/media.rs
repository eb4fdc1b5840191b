//! Media over HTTP: every form of a range, odd readers, tokens, and what is durable when.
//!
//! Readers speak over real connections where the connection matters, and to the router in process
//! where it does not.

mod bench;
mod cache;
mod first;
mod host_image;
mod refused;
mod simulated;
mod wire;

use std::time::Duration;
use strum::VariantArray as _;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use shoal::domain::{Drive, JobId, MediaMode, Medium};
use shoal::media::{JobTrace, OperatorPass};
use tower::ServiceExt as _;

use bench::{Bench, KS, METADATA_END, at, job};

#[tokio::test]
async fn wrong_old_foreign_and_dead_paths_answer_alike() {
    let bench = Bench::new().await;
    let good = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let token = good.split(['.', '/']).nth(4).unwrap();
    let paths = [
        good.replace(token, &token[1..]),
        good.replace(token, &format!("{token}0")),
        good.replace(token, &"0".repeat(32)),
        good.replace(token, ""),
        good.replace(&format!(".{token}"), ""),
        good.replace(&job(1).to_string(), &job(2).to_string()),
        good.replace(&job(1).to_string(), &job(9).to_string()),
        good.replace("installers", "tasks").replace("esxi", "task"),
        good.replace("esxi", "other"),
        "/media/installers/x/esxi.iso".to_owned(),
        "/media/elsewhere".to_owned(),
    ];
    bench.media.retire(job(3));
    let (_, _, expected) = bench.get(&bench.media.path(job(3), Medium::Boot, Drive::Cd, 1)).await;
    for path in paths {
        let (status, headers, body) = bench.get(&path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(body, expected, "{path}");
        assert_eq!(headers["content-type"], "application/problem+json");
    }
    assert_eq!(bench.get(&good).await.0, StatusCode::OK);
    bench.media.retire(job(1));
    assert_eq!(bench.get(&good).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_insertion_has_a_path_of_its_own_and_all_of_them_are_good() {
    let bench = Bench::new().await;
    bench.media.admit(job(1), Medium::Task, 99);
    let paths: Vec<_> = (0..100).map(|n| bench.media.path(job(1), Medium::Task, Drive::Cd, n)).collect();
    for (n, path) in paths.iter().enumerate() {
        assert_eq!(bench.get(path).await.0, StatusCode::OK, "{n}");
        assert!(paths[..n].iter().all(|earlier| earlier != path));
    }
}

#[tokio::test]
async fn the_form_without_a_token_is_for_operators_and_leaves_no_trace() {
    let bench = Bench::new().await;
    let path = format!("/media/tasks/{}/task.iso", job(1));
    assert_eq!(bench.get(&path).await.0, StatusCode::NOT_FOUND, "this request is not authenticated");
    let request = || Request::get(&path).extension(OperatorPass);
    let (status, _, body) = bench.send(request().body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(body == bench.task_bytes());
    assert_eq!(bench.media.fetched(job(1), Medium::Task), Default::default());
    assert_eq!(bench.media.trace(job(1)).kickstart.mode, MediaMode::None);
    bench.media.retire(job(1));
    assert_eq!(bench.send(request().body(Body::empty()).unwrap()).await.0, StatusCode::NOT_FOUND);
}

/// A disk has a name and a type of its own, and no other medium answers to it.
#[tokio::test]
async fn a_disk_is_served_as_one_alone() {
    let bench = Bench::new().await;
    let (iso, img) = (
        bench.media.path(job(1), Medium::Task, Drive::Cd, 1),
        bench.media.path(job(1), Medium::Task, Drive::Usb, 1),
    );
    assert_eq!(img, iso.replace("task.iso", "task.img"));
    assert_eq!(bench.get(&img).await.0, StatusCode::NOT_FOUND);
    bench.publish_disk(4).await;
    let (iso, img) = (
        bench.media.path(job(4), Medium::Task, Drive::Cd, 1),
        bench.media.path(job(4), Medium::Task, Drive::Usb, 1),
    );
    let (status, headers, body) = bench.get(&img).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"application/octet-stream".parse().unwrap())
    );
    assert!(body == bench.task_bytes());
    assert_eq!(bench.get(&iso).await.0, StatusCode::NOT_FOUND);
    let operators = format!("/media/tasks/{}/task.img", job(4));
    assert_eq!(bench.get(&operators).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let bench = Bench::new().await;
    let path = bench.media.path(job(1), Medium::Task, Drive::Cd, 1);
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(&method).uri(&path).body(Body::empty()).unwrap();
        let (status, headers, _) = bench.send(request).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(
            (&headers["allow"], &headers["content-type"]),
            (&"GET, HEAD".parse().unwrap(), &"application/problem+json".parse().unwrap())
        );
    }
}

#[tokio::test]
async fn a_first_read_is_durable_before_its_bytes_leave() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    let path = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let response =
        bench.router.clone().oneshot(Request::get(&path).body(Body::empty()).unwrap()).await.unwrap();
    let saved = bench.store.load_trace(job(1), "installer").await.unwrap();
    assert!(saved.unwrap().first_read_at.is_some(), "saved, and not one byte taken yet");
    drop(response);
}

#[tokio::test]
async fn a_milestone_in_the_middle_of_a_body_is_durable_before_its_slice_leaves() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    let path = bench.media.path(job(1), Medium::Task, Drive::Cd, 1);
    let from = KS.start - (1 << 20);
    let request = Request::get(&path).header("range", format!("bytes={from}-")).body(Body::empty()).unwrap();
    let mut body = bench.router.clone().oneshot(request).await.unwrap().into_body();
    let mut at = from;
    while let Some(frame) = body.frame().await {
        let slice = at..at + frame.unwrap().into_data().unwrap().len() as u64;
        let saved = bench.store.load_trace(job(1), "task").await.unwrap().unwrap();
        assert!(slice.end <= KS.start || saved.ks_read_at.is_some(), "{slice:?} is out, and not saved");
        at = slice.end;
    }
    assert_eq!(at, bench.task_bytes().len() as u64);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_served() {
    let bench = Bench::new().await;
    // The store knows no such job, so it keeps nothing of it.
    bench.publish(job(7)).await;
    let (status, headers, body) = bench.get(&bench.media.path(job(7), Medium::Boot, Drive::Cd, 1)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers["content-type"], "application/problem+json");
    assert!(body.len() < 1000 && !headers.contains_key("content-range"));
}

#[tokio::test]
async fn a_restarted_controller_serves_the_same_paths_and_knows_the_same_milestones() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    let paths = [Medium::Boot, Medium::Task].map(|medium| bench.media.path(job(1), medium, Drive::Cd, 3));
    bench.range(&paths[0], 0..4096).await;
    bench.range(&paths[1], KS).await;
    let before = bench.media.trace(job(1));
    assert!(before.kickstart.ks_read_at.is_some());

    let again = bench.restarted().await;
    again.publish_after(job(1), at(10)).await;
    assert_eq!(again.media.trace(job(1)).kickstart, before.kickstart);
    assert_eq!(again.range(&paths[0], 0..4096).await.len(), 4096);
    let JobTrace { installer, .. } = again.media.trace(job(1));
    assert_eq!(installer.first_read_at, before.installer.first_read_at);
    assert_eq!(installer.mode, MediaMode::Streamed);
    // What was read before the restart counts; read again, it may count once more.
    assert!((4096..=2 * 4096).contains(&installer.read), "{}", installer.read);
}

/// A drive takes an error for a bad medium, where it would have waited.
#[tokio::test(start_paused = true)]
async fn a_request_is_held_until_a_restarted_controller_has_taken_its_job_up() {
    let bench = Bench::new().await;
    let path = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let again = bench.restarted().await;
    let publish = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        again.publish(job(1)).await;
    };
    let (answered, ()) = tokio::join!(again.range(&path, 0..4096), publish);
    assert_eq!(answered.len(), 4096);
}

#[tokio::test(start_paused = true)]
async fn until_a_restarted_controller_has_taken_a_job_up_its_bmc_is_put_off() {
    let bench = Bench::new().await;
    let path = bench.media.path(job(1), Medium::Boot, Drive::Cd, 1);
    let unknown = bench.media.path(job(7), Medium::Boot, Drive::Cd, 1);
    let again = bench.restarted().await;
    let (status, headers, _) = again.get(&path).await;
    assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
    let wrong = path.replace(&job(1).to_string(), &job(2).to_string());
    assert_eq!(again.get(&wrong).await.0, StatusCode::NOT_FOUND);
    assert_eq!(again.get(&unknown).await.0, StatusCode::NOT_FOUND, "no such job");
    again.media.retire(job(1));
    assert_eq!(again.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn publishing_again_changes_nothing() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    bench.range(&bench.media.path(job(1), Medium::Task, Drive::Cd, 1), KS).await;
    let before = (bench.media.trace(job(1)), bench.media.fetched(job(1), Medium::Task));
    bench.publish_after(job(1), at(10)).await;
    assert_eq!((bench.media.trace(job(1)), bench.media.fetched(job(1), Medium::Task)), before);
}

#[tokio::test]
async fn a_reset_that_is_noted_late_brings_its_milestones_back() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    bench.range(&bench.media.path(job(1), Medium::Task, Drive::Cd, 1), KS).await;
    let again = bench.restarted().await;
    again.publish(job(1)).await;
    assert_eq!(again.media.trace(job(1)).kickstart.ks_read_at, None);
    again.publish_after(job(1), at(10)).await;
    assert_eq!(again.media.trace(job(1)).kickstart, bench.media.trace(job(1)).kickstart);
}

#[tokio::test]
async fn a_bmc_that_copies_both_media_shows_no_host() {
    let bench = Bench::new().await;
    bench.media.start_trace(job(1), at(10));
    for &medium in Medium::VARIANTS {
        assert_eq!(bench.get(&bench.media.path(job(1), medium, Drive::Cd, 1)).await.0, StatusCode::OK);
    }
    let JobTrace { installer, kickstart: task } = bench.media.trace(job(1));
    assert_eq!((installer.mode, task.mode), (MediaMode::Prefetched, MediaMode::Prefetched));
    assert_eq!(task.ks_read_at, None);
    assert_eq!(installer.read, installer.total);
}

#[tokio::test]
async fn fetches_are_counted_from_the_insertion_on() {
    let bench = Bench::new().await;
    let path = bench.media.path(job(1), Medium::Task, Drive::Cd, 1);
    let head = Request::head(&path).body(Body::empty()).unwrap();
    assert!(bench.send(head).await.2.is_empty());
    let fetched = bench.media.fetched(job(1), Medium::Task);
    assert_eq!((fetched.requests, fetched.bytes), (1, 0), "HEAD only");
    bench.range(&path, 0..METADATA_END).await;
    let fetched = bench.media.fetched(job(1), Medium::Task);
    assert_eq!((fetched.requests, fetched.bytes, fetched.last_fault), (2, METADATA_END, None));
    assert_eq!(bench.media.trace(job(1)).kickstart.read, 0, "before the reset no read is the host's");
}

#[tokio::test]
async fn nothing_is_known_of_a_job_without_media() {
    let bench = Bench::new().await;
    let unknown: JobId = job(9);
    bench.media.start_trace(unknown, at(1));
    assert_eq!(bench.media.trace(unknown), JobTrace::default());
    assert_eq!(bench.media.fetched(unknown, Medium::Task), Default::default());
}

#[test]
fn requests_and_bytes_are_counted_by_kind_and_code() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let bench = Bench::new().await;
            let path = bench.media.path(job(1), Medium::Task, Drive::Cd, 1);
            bench.range(&path, 0..100).await;
            bench.get("/media/tasks/none.none/task.iso").await;
        });
    });
    let text = recorder.handle().render();
    for line in [
        "shoal_provisioner_media_bytes_total{kind=\"task\"} 100",
        "shoal_provisioner_media_requests_total{kind=\"task\",code=\"206\"} 1",
        "shoal_provisioner_media_requests_total{kind=\"task\",code=\"404\"} 1",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
