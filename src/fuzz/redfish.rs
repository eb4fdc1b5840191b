//! A BMC that answers anything: single bodies, and whole services behind the real client.
//!
//! A service is text: an answer begins with a line `=PATH STATUS HEADER:VALUE HEADER:VALUE …`, the rest
//! is its body; several answers of one path are given one after the other, the last repeatedly, and `!PATH`
//! answers what is written to a path. `$P` stands for the account's password and `$U` for the URL of an
//! image, since BMCs quote what they were sent. Invariants of every service: requests stay with the BMC's
//! origin, their number and the time they take are bounded, and no error quotes a secret.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use http::Method;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use url::Url;

use shoal_base::Password;
use shoal_base::world::{Clock, HttpRequest, HttpResponse, Rng, Secrets, TlsPolicy, Transport, World};
use shoal_redfish::{Account, Bmc, BmcPool, Limits, RedfishError, ResetType, System, fuzzed};

const AUTHORITY: &str = "bmc.test:8443";
const PASSWORD: &str = "s3cret-of-the-BMC";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Requests of everything that a target asks of one service.
const REQUESTS_MAX: usize = 20_000;
/// What an insert may take, and every wait that is bounded by less.
const VERB_MAX: Duration = Duration::from_secs(12 * 3600);

/// One answer, read as each resource that it could be. A first line `Allow: …` is its header.
pub fn bodies(data: &[u8]) {
    let split = data.strip_prefix(b"Allow: ").and_then(|rest| {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
    });
    let (allow, body) = split.map_or((None, data), |(allow, body)| (Some(allow), body));
    fuzzed::read_body(body, allow, PASSWORD);
}

/// Everything that is asked of a BMC, of one that answers as the text says.
pub fn service(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread needs nothing");
    runtime.block_on(async {
        let requests = Arc::new(AtomicUsize::new(0));
        let world = World {
            clock: Clock::virtual_from("2026-01-01T00:00:00Z".parse().expect("a time")),
            rng: Rng::from_seed(1),
            transport: transport(BmcScript::parse(&text), requests.clone()),
        };
        let limits = Limits { retries: 1, ..Limits::default() };
        let bmc = BmcPool::new(world, limits).bmc(&account());
        ask_everything(&bmc).await;
        assert!(requests.load(Ordering::Relaxed) <= REQUESTS_MAX);
    });
}

fn account() -> Account {
    Account {
        secrets: Secrets::default(),
        address: Url::parse(&format!("https://{AUTHORITY}")).expect("a URL"),
        username: "root".into(),
        password: Password::new(PASSWORD.into()),
        tls: TlsPolicy::Insecure,
    }
}

async fn ask_everything(bmc: &Bmc) {
    bmc.session().inherit("/redfish/v1/SessionService/Sessions/3").await;
    answered(bmc.observe_service()).await;
    let systems = answered(bmc.observe_systems()).await.unwrap_or_default();
    for system in systems.iter().take(2) {
        ask_of_system(bmc, system).await;
    }
    assert!(
        bmc.learned().list().iter().all(|learned| !learned.contains(PASSWORD) && !learned.contains(TOKEN))
    );
    bmc.close().await;
}

async fn ask_of_system(bmc: &Bmc, system: &System) {
    let image = format!("http://10.0.0.1:8080/media/tasks/{TOKEN}.{TOKEN}/task.iso");
    answered(bmc.observe_system(&system.link)).await;
    if let Some(service) = answered(bmc.observe_media_service(system)).await {
        answered(bmc.request_media_service(&service)).await;
    }
    let slots = answered(bmc.observe_slots(system)).await.unwrap_or_default();
    bmc.observe_about(system).await;
    answered(bmc.observe_plan(system, &image)).await;
    for slot in slots.iter().take(2) {
        answered(bmc.request_insert(slot, &image)).await;
        answered(bmc.observe_slot(&slot.link)).await;
        answered(bmc.request_boot_from_cd(system, Some(&slot.link))).await;
        answered(bmc.observe_boot_from_cd(system, Some(&slot.link))).await;
        answered(bmc.request_boot_disarm(system, Some(&slot.link))).await;
        answered(bmc.request_eject(slot)).await;
    }
    answered(bmc.request_reset(system, ResetType::On)).await;
}

/// The answer, where there is one, in bounded time; an error without secrets.
async fn answered<T>(asked: impl Future<Output = Result<T, RedfishError>>) -> Option<T> {
    let began = Instant::now();
    let answer = asked.await;
    assert!(began.elapsed() <= VERB_MAX, "{:?}", began.elapsed());
    let error = match answer {
        Ok(answer) => return Some(answer),
        Err(error) => error,
    };
    let said = error.kind.to_string();
    assert!(!said.contains(PASSWORD) && !said.contains(TOKEN), "{said}");
    assert!(said.len() < 4096 && error.path.len() < 1024);
    None
}

/// Answers by path, in their order.
struct BmcScript(BTreeMap<String, Vec<Scripted>>);

#[derive(Clone)]
struct Scripted {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl BmcScript {
    fn parse(text: &str) -> BmcScript {
        let mut answers: BTreeMap<String, Vec<Scripted>> = BTreeMap::new();
        for record in text.strip_prefix('=').unwrap_or(text).split("\n=") {
            let (head, body) = record.split_once('\n').unwrap_or((record, ""));
            let mut words = head.split(' ');
            let path = words.next().unwrap_or_default().trim_end_matches('/').to_owned();
            let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(200);
            let headers = words.filter_map(|word| word.split_once(':'));
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let body = body.replace("$P", PASSWORD);
            let body =
                body.replace("$U", &format!("http://10.0.0.1:8080/media/tasks/{TOKEN}.{TOKEN}/task.iso"));
            answers.entry(path).or_default().push(Scripted { status, headers, body });
        }
        answers.values_mut().for_each(|answers| answers.reverse());
        BmcScript(answers)
    }

    fn answer(&mut self, method: &Method, path: &str) -> Scripted {
        let path = path.trim_end_matches('/');
        let key = if method == Method::GET { path.to_owned() } else { format!("!{path}") };
        let plain = |status, body: &str| Scripted { status, headers: Vec::new(), body: body.to_owned() };
        match self.0.get_mut(&key) {
            Some(answers) if answers.len() > 1 => answers.pop().unwrap_or(plain(500, "")),
            Some(answers) => answers[0].clone(),
            None if method == Method::GET => plain(404, "{}"),
            None if path.ends_with("/Sessions") => Scripted {
                headers: vec![("x-auth-token".to_owned(), "t0ken".to_owned())],
                ..plain(201, "{}")
            },
            None => plain(204, ""),
        }
    }
}

fn transport(script: BmcScript, requests: Arc<AtomicUsize>) -> Transport {
    let script = Arc::new(Mutex::new(script));
    BoxCloneSyncService::new(tower::service_fn(move |request: HttpRequest| {
        assert_eq!(request.uri().authority().map(http::uri::Authority::as_str), Some(AUTHORITY));
        assert_eq!(request.uri().scheme_str(), Some("https"));
        requests.fetch_add(1, Ordering::Relaxed);
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let scripted = script.answer(request.method(), request.uri().path());
        async move { Ok(response(scripted)) }
    }))
}

/// A head that HTTP has no form for is an empty answer.
fn response(scripted: Scripted) -> HttpResponse {
    let builder = http::Response::builder().status(scripted.status);
    let headers = scripted.headers.iter();
    let builder = headers.fold(builder, |builder, (name, value)| builder.header(name, value));
    builder.body(Body::from(scripted.body)).unwrap_or_default()
}
