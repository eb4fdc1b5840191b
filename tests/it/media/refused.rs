//! Paths that open nothing: wrong, old and foreign ones are 404 alike, and each is counted.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use shoal::domain::{Drive, Medium};
use shoal::media::{Media, MediaSettings};
use shoal::seal::Sealer;
use shoal::store::Store;
use shoal_base::world::Clock;

use super::bench::{Bench, job};

fn from(peer: &str, method: Method, path: &str) -> Request<Body> {
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::builder().method(method).uri(path).extension(ConnectInfo(peer));
    request.body(Body::empty()).unwrap()
}

#[test]
fn wrong_old_and_foreign_paths_are_404_alike_and_counted_apart() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(refusals()));
    let text = handle.render();
    for (reason, count) in [("wrong", 2), ("ended", 2), ("foreign", 2), ("malformed", 1)] {
        let line =
            format!("shoal_provisioner_media_refused_total{{kind=\"task\",reason=\"{reason}\"}} {count}");
        assert!(text.contains(&line), "{line} is missing in\n{text}");
    }
}

/// Issue 15, kind 19: one request with a wrong token failed a job, and its media were ejected.
#[tokio::test]
async fn a_request_without_the_right_token_leaves_no_trace_on_the_job() {
    for binds_peers in [false, true] {
        let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
        let media = Media::with(
            Clock::system(),
            [9; 32],
            store.clone(),
            MediaSettings { binds_peers, ..Default::default() },
        );
        let bench = Bench::filled(media, store).await;
        bench.media.expect_peer(job(1), "10.0.0.5".parse().unwrap());
        bench.media.start_trace(job(1), Clock::system().now());
        let [task, installer] =
            [Medium::Task, Medium::Boot].map(|medium| bench.media.path(job(1), medium, Drive::Cd, 1));
        let known = || {
            let of = |medium| format!("{:?}", bench.media.fetched(job(1), medium));
            (of(Medium::Task), of(Medium::Boot), format!("{:?}", bench.media.trace(job(1))))
        };
        let before = known();
        let other_job = bench.media.path(job(2), Medium::Task, Drive::Cd, 1);
        let other_job = other_job.replace(&job(2).to_string(), &job(1).to_string());
        let name = |path: &str| path.rsplit('/').nth(1).unwrap().to_owned();
        for path in [
            task.replace(&task[60..68], "00000000"),
            installer.replace(&installer[60..68], "00000000"),
            other_job,
            format!("/media/installers/{}/esxi.iso", name(&task)),
            format!("/media/tasks/{}/task.iso", name(&installer)),
            format!("/media/tasks/{}/task.img", name(&task)),
            format!("/media/tasks/{}./task.iso", job(1)),
            format!("/media/tasks/{}/task.iso", job(1)),
        ] {
            for method in [Method::GET, Method::HEAD] {
                for peer in ["10.0.0.5:1", "10.0.0.9:1"] {
                    let (status, ..) = bench.send(from(peer, method.clone(), &path)).await;
                    assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
                }
            }
        }
        for method in [Method::POST, Method::DELETE, Method::PUT] {
            let (status, ..) = bench.send(from("10.0.0.5:1", method, &task)).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        }
        assert_eq!(known(), before);
        bench.send(from("10.0.0.5:1", Method::GET, &task)).await;
        assert_ne!(known(), before, "the right token is seen");
    }
}

/// One connection that came to nothing may be anybody's behind the BMC's address; those that keep coming are its own.
#[tokio::test(start_paused = true)]
async fn a_single_broken_handshake_is_no_fault_of_the_bmc() {
    let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
    let clock = Clock::virtual_from("2026-01-01T00:00:00Z".parse().unwrap());
    let media = Media::new(clock.clone(), [9; 32], store.clone());
    let bench = Bench::filled(media, store).await;
    let bmc = "10.0.0.5".parse().unwrap();
    bench.media.expect_peer(job(1), bmc);
    bench.media.start_trace(job(1), clock.now());
    let faults = || {
        let trace = bench.media.trace(job(1));
        (trace.installer.fault_at.is_some(), trace.kickstart.fault_at.is_some())
    };
    bench.media.note_refused(bmc, "received fatal alert: UnknownCA");
    assert_eq!(faults(), (false, false));
    let explained = bench.media.fetched(job(1), Medium::Boot).last_fault;
    assert!(explained.is_some_and(|fault| fault.contains("UnknownCA")));
    tokio::time::sleep(std::time::Duration::from_secs(61)).await;
    bench.media.note_refused("10.0.0.9".parse().unwrap(), "another BMC's");
    assert_eq!(faults(), (false, false));
    bench.media.note_refused(bmc, "received fatal alert: UnknownCA");
    assert_eq!(faults(), (true, true));
}

async fn refusals() {
    let store = Store::in_memory(Sealer::new([7; 32])).unwrap();
    let media = Media::with(
        Clock::system(),
        [9; 32],
        store.clone(),
        MediaSettings { binds_peers: true, ..Default::default() },
    );
    let bench = Bench::filled(media, store).await;
    bench.media.expect_peer(job(1), "10.0.0.5".parse().unwrap());
    let path = bench.media.path(job(1), Medium::Task, Drive::Cd, 1);
    let ask = async |request| {
        let (status, headers, body) = bench.send(request).await;
        (status, headers.get("content-type").cloned(), body)
    };
    let bmc = "10.0.0.5:1024";
    assert_eq!(ask(from(bmc, Method::GET, &path)).await.0, StatusCode::OK);
    assert_eq!(
        ask(from("[::ffff:10.0.0.5]:1024", Method::GET, &path)).await.0,
        StatusCode::OK,
        "the same in IPv6"
    );
    assert_eq!(
        ask(from("10.0.0.9:1024", Method::HEAD, &path)).await.0,
        StatusCode::OK,
        "a size is no secret"
    );

    let other_token = bench
        .media
        .path(job(2), Medium::Task, Drive::Cd, 1)
        .replace(&job(2).to_string(), &job(1).to_string());
    let wrong = path.replace(&path[60..68], "00000000");
    let unknown = path.replace(&job(1).to_string(), &job(9).to_string());
    let foreign = ask(from("10.0.0.9:1024", Method::GET, &path)).await;
    assert_eq!(foreign.0, StatusCode::NOT_FOUND);
    let unknown_peer = ask(Request::get(&path).body(Body::empty()).unwrap()).await;
    for answer in [
        unknown_peer,
        ask(from(bmc, Method::GET, &other_token)).await,
        ask(from(bmc, Method::GET, &wrong)).await,
        ask(from(bmc, Method::GET, &unknown)).await,
        ask(from(bmc, Method::GET, "/media/tasks/nothing.nothing/task.iso")).await,
    ] {
        assert_eq!(answer, foreign);
    }
    bench.media.retire(job(1));
    assert_eq!(ask(from(bmc, Method::GET, &path)).await, foreign);
}
