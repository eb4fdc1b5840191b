//! Images in registries: references resolved, layers read, and what a registry must not get.

pub mod fake;

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::StatusCode;
use serde_json::json;
use shoal::domain::RegistryImage;
use shoal::media::HostImageError;
use shoal::registry::{Registries, RegistryError, RegistrySettings, WantedImage};
use shoal_recipe::OciReference;
use shoal_sim::Network;

use fake::{FakeRegistry, INDEX, LoginDemand, MANIFEST, SeenRequest, digest, manifest_of};

const LOGIN: &str = "Y2k6cGxhbnRlZC1wYXNzd29yZA==";
const REFERENCE: &str = "reg.test/images/debian:12";

/// A network with a registry, and how the controller is set up.
struct Site {
    network: Network,
    registry: FakeRegistry,
    settings: RegistrySettings,
    dir: tempfile::TempDir,
}

const DISK: WantedImage<'_> = WantedImage { platform: "linux/amd64", is_archive: false };

fn layer() -> Bytes {
    (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>().into()
}

impl Site {
    fn new(door: LoginDemand) -> Site {
        let (network, registry) = (Network::default(), FakeRegistry::with("12", &layer()));
        registry.state().door = door;
        network.add("reg.test", registry.router());
        Site { network, registry, settings: RegistrySettings::default(), dir: tempfile::tempdir().unwrap() }
    }

    /// The login for that registry is in the file.
    fn log_in(&mut self, registry: &str) -> PathBuf {
        let path = self.dir.path().join("auth.json");
        std::fs::write(&path, json!({ "auths": { registry: { "auth": LOGIN } } }).to_string()).unwrap();
        self.settings.auth_file = Some(path.clone());
        path
    }

    fn registries(&self) -> Registries {
        Registries::new(self.network.transport(), self.settings.clone())
    }

    async fn resolve(&self, reference: &str) -> Result<RegistryImage, RegistryError> {
        self.registries().resolve(&OciReference::parse(reference).unwrap(), DISK).await
    }

    async fn refusal(&self, reference: &str) -> String {
        let error = self.resolve(reference).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("planted"), "{shown}");
        error.to_string()
    }

    fn seen(&self) -> Vec<SeenRequest> {
        std::mem::take(&mut self.registry.state().seen)
    }
}

async fn read(
    registries: &Registries,
    image: &RegistryImage,
    range: std::ops::Range<u64>,
) -> Result<Bytes, HostImageError> {
    let mut pieces = registries.host_image(image).source.read(range).await?;
    let mut all = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.freeze())
}

fn bearer(realm: &str) -> LoginDemand {
    LoginDemand::Bearer { realm: realm.to_owned(), login: Some(LOGIN) }
}

#[tokio::test(start_paused = true)]
async fn a_tag_becomes_a_digest_and_a_layer() {
    let site = Site::new(LoginDemand::Open);
    let image = site.resolve(REFERENCE).await.unwrap();
    let manifest = manifest_of(&layer()).to_string();
    assert_eq!(format!("sha256:{}", image.digest), digest(manifest.as_bytes()));
    assert_eq!(format!("sha256:{}", image.layer_sha256), digest(&layer()));
    assert_eq!(
        (image.registry.as_str(), image.repository.as_str(), image.size),
        ("reg.test", "images/debian", 300_000)
    );
    let pinned = format!("reg.test/images/debian@{}", digest(manifest.as_bytes()));
    assert_eq!(site.resolve(&pinned).await.unwrap(), image);
    assert_eq!(site.resolve("REG.test/images/debian:12").await.unwrap(), image);
    assert_eq!(site.seen()[0].url, "https://reg.test/v2/images/debian/manifests/12");
}

#[tokio::test(start_paused = true)]
async fn an_index_is_followed_to_the_one_entry_of_the_platform() {
    let site = Site::new(LoginDemand::Open);
    let entry = |digest: &str, architecture: &str| {
        json!({ "mediaType": MANIFEST, "digest": digest, "size": 9,
            "platform": { "os": "linux", "architecture": architecture } })
    };
    let of = digest(manifest_of(&layer()).to_string().as_bytes());
    let index = json!({ "manifests": [entry(&digest(b"other"), "arm64"), entry(&of, "amd64")] }).to_string();
    let named = site.registry.put("all", INDEX, &index);
    let image = site.resolve("reg.test/a:all").await.unwrap();
    assert_eq!(format!("sha256:{}", image.digest), named, "what the tag stands for, not the entry");
    assert_eq!(format!("sha256:{}", image.layer_sha256), digest(&layer()));
    site.registry.put("arm", INDEX, &json!({ "manifests": [entry(&of, "arm64")] }).to_string());
    let refusal = site.refusal("reg.test/a:arm").await;
    assert!(refusal.contains("linux/amd64") && refusal.contains(&format!("linux/arm64 ({of})")), "{refusal}");
    site.registry.put("deep", INDEX, &json!({ "manifests": [entry(&named, "amd64")] }).to_string());
    assert!(site.refusal("reg.test/a:deep").await.contains("an index within an index"));
    site.registry.state().manifests.insert(of, (MANIFEST.to_owned(), Bytes::from_static(b"{}")));
    assert!(site.refusal("reg.test/a:all").await.contains("has the digest"));
}

#[tokio::test(start_paused = true)]
async fn each_failure_has_its_own_message() {
    for (status, body, words) in [
        (403, "", "denies access to images/debian (403)"),
        (404, r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, "has no repository images/debian (404)"),
        (404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#, "has no tag 12 in images/debian (404)"),
        (503, "", "answers 503 Service Unavailable: look at the registry"),
        (429, "", "answers 429 Too Many Requests to a request for tag 12"),
        (401, "", "in a form that is not supported"),
        (302, "", "redirects to plain HTTP, or too often"),
        (200, "<html>", "is not an image manifest or index"),
    ] {
        let site = Site::new(LoginDemand::Open);
        site.registry.state().status = Some((StatusCode::from_u16(status).unwrap(), body));
        let refusal = site.refusal(REFERENCE).await;
        assert!(refusal.contains(words), "{status}: {refusal}");
    }
    let site = Site::new(LoginDemand::Open);
    assert!(site.refusal("other.test/a:1").await.contains("other.test cannot be reached"));
    assert!(site.refusal(&format!("reg.test/a@{}", digest(b"x"))).await.contains("has no manifest sha256:"));
    site.registry.state().announces = Some(digest(b"another"));
    assert!(site.refusal(REFERENCE).await.contains("has the digest"));
    site.registry.state().delay = Duration::from_secs(20);
    assert!(site.refusal(REFERENCE).await.contains("did not answer within 15 s"));
    let site = Site::new(LoginDemand::Open);
    site.registry.put("12", MANIFEST, &" ".repeat((4 << 20) + 1));
    assert!(site.refusal(REFERENCE).await.contains("has more than 4194304 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_login_is_sent_to_the_registry_that_it_is_for() {
    let mut site = Site::new(LoginDemand::Basic(LOGIN));
    assert!(site.refusal(REFERENCE).await.contains("requires a login for images/debian (401)"));
    site.log_in("other.test");
    assert!(site.refusal(REFERENCE).await.contains("requires a login"));
    assert!(site.seen().iter().all(|request| request.authorization.is_none()), "no other registry's login");
    site.log_in("reg.test");
    site.resolve(REFERENCE).await.unwrap();
    let asked: Vec<_> = site.seen().into_iter().map(|request| request.authorization).collect();
    assert_eq!(asked, [None, Some(format!("Basic {LOGIN}"))], "only once it was asked for");
    site.registry.state().door = LoginDemand::Basic("b3RoZXI6eA==");
    assert!(site.refusal(REFERENCE).await.contains("rejects the login"));
    let path = site.log_in("reg.test");
    for (text, words) in
        [("{", "is not JSON at line 1"), (r#"{"auths":{"reg.test":{}}}"#, "credential helper")]
    {
        std::fs::write(&path, text).unwrap();
        assert!(site.refusal(REFERENCE).await.contains(words));
    }
    std::fs::remove_file(&path).unwrap();
    assert!(site.refusal(REFERENCE).await.contains("cannot be read"));
}

#[tokio::test(start_paused = true)]
async fn a_token_is_made_for_pulling_alone_and_used_until_it_ends() {
    let mut site = Site::new(bearer("https://reg.test/token"));
    assert!(site.refusal(REFERENCE).await.contains("requires a login"));
    site.log_in("reg.test");
    site.seen();
    let registries = site.registries();
    let reference = OciReference::parse(REFERENCE).unwrap();
    for _ in 0..2 {
        registries.resolve(&reference, DISK).await.unwrap();
    }
    let seen = site.seen();
    let token = &seen[1];
    assert_eq!(token.url, "https://reg.test/token?service=fake&scope=repository%3Aimages%2Fdebian%3Apull");
    assert_eq!(token.authorization, Some(format!("Basic {LOGIN}")));
    let shown: Vec<_> =
        seen.iter().map(|request| request.authorization.clone().unwrap_or_default()).collect();
    let bearer = "Bearer planted-token-1";
    assert_eq!(shown, ["", &format!("Basic {LOGIN}"), bearer, bearer], "the second time without a challenge");
    site.registry.state().token_uses = Some(1);
    registries.resolve(&reference, DISK).await.unwrap();
    registries.resolve(&reference, DISK).await.unwrap();
    let made = site.seen().into_iter().filter(|request| request.url.contains("/token")).count();
    assert_eq!(made, 1, "one that has ended is made anew");
}

#[tokio::test(start_paused = true)]
async fn an_evil_realm_gets_nothing() {
    for (realm, words) in [
        ("https://evil.test/token", "REGISTRY_TOKEN_HOSTS"),
        ("https://reg.test.evil.test/token", "reg.test.evil.test, to which no login is sent"),
        ("http://reg.test/token", "over plain HTTP"),
        ("https://reg.test@evil.test/token", "evil.test, to which no login is sent"),
    ] {
        let mut site = Site::new(bearer(realm));
        site.log_in("reg.test");
        let evil = FakeRegistry::with("12", &layer());
        for host in ["evil.test", "reg.test.evil.test"] {
            site.network.add(host, evil.router());
        }
        let refusal = site.refusal(REFERENCE).await;
        assert!(refusal.contains(words), "{realm}: {refusal}");
        assert_eq!(evil.state().seen, [], "{realm}");
        assert!(site.seen().iter().all(|request| request.authorization.is_none()), "{realm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_server_elsewhere_has_to_be_named() {
    let mut site = Site::new(bearer("https://tokens.test:8443/token"));
    site.log_in("reg.test");
    site.network.add("tokens.test:8443", site.registry.router());
    assert!(site.refusal(REFERENCE).await.contains("tokens.test:8443"));
    site.settings.token_hosts.insert("tokens.test".to_owned());
    assert!(site.refusal(REFERENCE).await.contains("REGISTRY_TOKEN_HOSTS"), "another port is another server");
    site.settings.token_hosts.insert("tokens.test:8443".to_owned());
    site.resolve(REFERENCE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn plain_http_is_for_the_registries_that_are_named() {
    let mut site = Site::new(bearer("http://reg.test/token"));
    site.log_in("reg.test");
    site.settings.plain_http.insert("reg.test".to_owned());
    site.resolve(REFERENCE).await.unwrap();
    assert!(site.seen().iter().all(|request| request.url.starts_with("http://reg.test/")));
}

#[tokio::test(start_paused = true)]
async fn a_layer_is_read_whole_and_by_range() {
    let mut site = Site::new(bearer("https://reg.test/token"));
    site.log_in("reg.test");
    let (registries, image) = (site.registries(), site.resolve(REFERENCE).await.unwrap());
    assert_eq!(read(&registries, &image, 0..300_000).await.unwrap(), layer());
    assert_eq!(read(&registries, &image, 70_001..200_000).await.unwrap(), layer().slice(70_001..200_000));
    site.registry.state().has_no_ranges = true;
    assert_eq!(read(&registries, &image, 70_001..200_000).await.unwrap(), layer().slice(70_001..200_000));
}

/// Storage behind the registry gets no credential, and its URL is asked for anew with every connection.
#[tokio::test(start_paused = true)]
async fn a_redirect_is_followed_without_the_credential() {
    let mut site = Site::new(bearer("https://reg.test/token"));
    site.log_in("reg.test");
    let storage = FakeRegistry::with("12", &layer());
    site.network.add("storage.test", storage.router());
    site.registry.state().redirects_to = Some("https://storage.test".to_owned());
    let (registries, image) = (site.registries(), site.resolve(REFERENCE).await.unwrap());
    storage.state().breaks_after = Some(100_000);
    assert_eq!(read(&registries, &image, 5..300_000).await.unwrap(), layer().slice(5..300_000));
    let seen = storage.state().seen.clone();
    assert!(seen.iter().all(|request| request.authorization.is_none()), "{seen:?}");
    let ranges: Vec<_> = seen.iter().map(|request| request.range.clone().unwrap_or_default()).collect();
    assert_eq!(ranges, ["bytes=5-299999", "bytes=100005-299999", "bytes=200005-299999"]);
    site.registry.state().redirects_to = Some("http://storage.test".to_owned());
    let error = read(&registries, &image, 0..1).await.unwrap_err();
    assert_eq!(error.0, "registry reg.test redirects to plain HTTP, or too often");
    site.registry.state().redirects_to = Some("https://storage.test".to_owned());
    storage.state().door = LoginDemand::Basic(LOGIN);
    let error = read(&registries, &image, 0..1).await.unwrap_err();
    assert!(
        error.0.contains("401") && storage.state().seen.iter().all(|request| request.authorization.is_none())
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_goes_on_at_its_byte_with_a_new_token() {
    let mut site = Site::new(bearer("https://reg.test/token"));
    site.log_in("reg.test");
    {
        let mut state = site.registry.state();
        (state.token_uses, state.breaks_after) = (Some(1), Some(40_000));
    }
    let (registries, image) = (site.registries(), site.resolve(REFERENCE).await.unwrap());
    assert_eq!(read(&registries, &image, 0..300_000).await.unwrap(), layer());
    site.registry.state().breaks_after = Some(0);
    let error = read(&registries, &image, 0..300_000).await.unwrap_err();
    assert!(error.0.contains("broke"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_gives_something_else_is_refused() {
    let site = Site::new(LoginDemand::Open);
    let (registries, image) = (site.registries(), site.resolve(REFERENCE).await.unwrap());
    site.registry.state().shifts_ranges = true;
    let error = read(&registries, &image, 5..300_000).await.unwrap_err();
    assert!(error.0.contains("returned another part"), "{error}");
    let longer = RegistryImage { size: 300_001, ..image.clone() };
    assert!(read(&registries, &longer, 0..300_001).await.unwrap_err().0.contains("another part"));
    site.registry.state().blobs.clear();
    assert!(read(&registries, &image, 0..9).await.unwrap_err().0.contains("has no layer sha256:"));
}
