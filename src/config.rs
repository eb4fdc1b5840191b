//! Settings: flags, environment and file become one validated value.
//!
//! The only module that reads the environment. Invariant: a value that cannot be parsed, or that
//! contradicts another, is an error that names its setting; nothing falls back silently.

mod access;
mod client;
mod database;
mod files;
mod images;
mod log;
mod parse;
mod roles;
mod sample;
mod settings;
mod shown;
mod terminal;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use url::Url;

pub use client::ClientArgs;
pub use files::{FileArgs, FileSettings, TwoDatabases, TwoDatabasesArgs};
pub use images::ImageSettings;
pub use log::{LogArgs, LogFormat, LogLevel, LogLevelError, LogSettings};
pub use parse::duration;
pub use roles::Roles;
pub use sample::settings_sample;
pub use shown::{ShownArgs, ShownSetting};
pub use terminal::columns;
pub use values::{ConfigError, ServeArgs, SettingOrigin};

use crate::api::NotifySettings;
use crate::domain::{Confidence, LintMode, MediaLayout};
use crate::engine::Retention;
use crate::flow::policy::{Delivery, Policy};
use crate::media::{InstallerSource, MediaSettings};
use crate::oidc::{CodeFlowSettings, OidcSettings};
use crate::registry::RegistrySettings;
use crate::seal::{KeySource, MasterKey};
use crate::store::DatabaseAddress;
use shoal_base::world::{Secrets, VARIABLES};
use shoal_base::{Password, UrlPrefixes};
use shoal_redfish::Limits;
use values::Values;

/// What `shoal serve` runs with.
#[derive(Debug)]
pub struct Config {
    pub listen: ListenSettings,
    pub auth: AuthSettings,
    pub rates: RateSettings,
    /// Where browsers reach the web interface, if that is not the listen address.
    pub public_url: Option<Url>,
    /// Whose signed tokens are good too.
    pub oidc: Option<OidcSettings>,
    /// Sign-in of people at the identity provider.
    pub sign_in: Option<CodeFlowSettings>,
    /// Each is accepted in `X-Webhook-Secret`; without any the webhook is 404.
    pub webhook_secrets: Vec<SecretString>,
    /// Trusted beside the system's roots in outbound TLS.
    pub extra_roots: Vec<CertificateDer<'static>>,
    pub database: DatabaseAddress,
    pub roles: Roles,
    pub master_key: KeySource,
    /// Passwords of BMCs that the inventory only names.
    pub bmc_secrets: Secrets,
    pub task_iso_dir: PathBuf,
    /// How long a task ISO is kept after its job.
    pub task_iso_retention: Duration,
    pub installer: InstallerSettings,
    pub media_base_url: Option<Url>,
    pub media: MediaSettings,
    /// Media URLs are derived from its host, if it is a URL that leads back to this controller.
    pub maintenance_iso: Option<InstallerSource>,
    /// What a recipe may name as its image.
    pub images_allow: UrlPrefixes,
    pub images: ImageSettings,
    pub registries: RegistrySettings,
    pub policy: Policy,
    pub kickstart_lint: LintMode,
    /// Where the ends of jobs and batches are reported.
    pub notify: Option<NotifySettings>,
    pub retention: Retention,
    pub redfish: Limits,
    /// Jobs driven in parallel.
    pub workers: usize,
    pub lease_ttl: Duration,
    pub drain_timeout: Duration,
    pub log: LogSettings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSettings {
    pub addr: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub media: Option<MediaListen>,
}

/// Both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// The listener of media alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaListen {
    pub addr: SocketAddr,
    pub tls: bool,
}

#[derive(Debug)]
pub enum AuthSettings {
    /// Every caller that reaches the (loopback) listener is admin.
    None,
    /// `bootstrap` is the admin token instead of the one in `admin.token`.
    Token { bootstrap: Option<SecretString> },
}

/// What is too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSettings {
    /// Wrong tokens or secrets from one address.
    pub failures_per_minute: NonZeroU32,
    /// Writes by one token.
    pub writes_per_minute: NonZeroU32,
}

#[derive(Clone, Debug)]
pub struct InstallerSettings {
    pub source: Option<InstallerSource>,
    /// Lower-case hex.
    pub sha256: Option<String>,
    pub delivery: Delivery,
    /// What a recipe may name instead.
    pub allow: UrlPrefixes,
    pub cache_dir: PathBuf,
    pub cache_bytes_max: u64,
}

impl Config {
    /// Reads the file that `args` name, and makes one value of everything.
    pub fn load(args: ServeArgs, log: LogArgs) -> Result<Config, ConfigError> {
        Config::from_values(&Values::gather(args)?, log)
    }

    /// The defaults and what `given` says, by the names of the settings; neither the environment nor
    /// a file has a say. For a controller inside another command.
    pub fn with(given: &[(&'static str, String)]) -> Result<Config, ConfigError> {
        Config::from_values(&Values::given(given), LogArgs::default())
    }

    fn from_values(values: &Values, log: LogArgs) -> Result<Config, ConfigError> {
        let config = Config {
            log: log_settings(values, log)?,
            listen: listen(values)?,
            auth: access::auth(values)?,
            rates: access::rates(values)?,
            public_url: values.optional("PUBLIC_URL", parse::public_url)?,
            oidc: access::oidc(values)?,
            sign_in: access::sign_in(values)?,
            webhook_secrets: access::webhook_secrets(values)?,
            extra_roots: extra_roots(values)?,
            database: database::database(values)?,
            roles: values.required("ROLES", Roles::parse)?,
            master_key: master_key(values)?,
            bmc_secrets: bmc_secrets(values)?,
            task_iso_dir: values.required("TASK_ISO_DIR", parse::path)?,
            task_iso_retention: values.required("TASK_ISO_RETENTION", parse::duration)?,
            installer: installer(values)?,
            media_base_url: values.optional("MEDIA_BASE_URL", parse::media_base)?,
            media: MediaSettings {
                binds_peers: values.required("MEDIA_BIND_PEER", parse::boolean)?,
                bytes_per_second: values.optional("MEDIA_BYTES_PER_SECOND", parse::bandwidth)?,
            },
            maintenance_iso: values.optional("MAINTENANCE_ISO_URL", parse::maintenance_iso)?,
            images_allow: values.optional("IMAGES_ALLOW", str::parse)?.unwrap_or_default(),
            images: ImageSettings::read(values)?,
            registries: images::registries(values)?,
            policy: policy(values)?,
            kickstart_lint: values.required("KICKSTART_LINT", parse::word(&LintMode::WORDS))?,
            notify: access::notify(values)?,
            retention: retention(values)?,
            redfish: redfish(values)?,
            workers: values.required("WORKER_CONCURRENCY", parse::number_within(1, 10_000))? as usize,
            lease_ttl: lease_ttl(values)?,
            drain_timeout: values.required("DRAIN_TIMEOUT", parse::duration_within(secs(0), hours(1)))?,
        };
        refuse_contradictions(values, &config)?;
        roles::refuse_contradictions(values, &config)?;
        Ok(config)
    }
}

/// What the program was built for.
pub fn target() -> String {
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-{}-{libc}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Where the system keeps what lives no longer than a command (`TMPDIR`).
pub fn temp_dir() -> PathBuf {
    std::env::temp_dir()
}

/// Where systemd puts what its `LoadCredential=` and `SetCredential=` name.
#[expect(clippy::disallowed_methods, reason = "config reads the environment")]
fn credentials_directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The variables that passwords of BMCs may be in.
fn secret_variables() -> BTreeMap<String, Password> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let all = std::env::vars_os().filter_map(text);
    let ours = all.filter(|(name, _)| name.starts_with(VARIABLES));
    ours.map(|(name, value)| (name, Password::new(value))).collect()
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

fn log_settings(values: &Values, args: LogArgs) -> Result<LogSettings, ConfigError> {
    let from_file = |name| values.log.get(name);
    let wrong = |name, origin: &SettingOrigin, problem: String| ConfigError::Invalid {
        name,
        origin: origin.clone(),
        problem,
    };
    let level = match (args.log_level, from_file("LOG_LEVEL")) {
        (None, Some((text, origin))) => {
            Some(text.parse().map_err(|error: LogLevelError| wrong("LOG_LEVEL", origin, error.to_string()))?)
        }
        (given, _) => given,
    };
    let format = match (args.log_format, from_file("LOG_FORMAT")) {
        (None, Some((text, origin))) => {
            let words = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
            Some(parse::word(words)(text).map_err(|problem| wrong("LOG_FORMAT", origin, problem))?)
        }
        (given, _) => given,
    };
    Ok(LogArgs { log_level: level, log_format: format }.or_default())
}

fn listen(values: &Values) -> Result<ListenSettings, ConfigError> {
    let cert = values.optional("TLS_CERT_FILE", parse::path)?;
    let key = values.optional("TLS_KEY_FILE", parse::path)?;
    let tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
        (None, None) => None,
        (Some(_), None) => return Err(values.invalid("TLS_CERT_FILE", "needs TLS_KEY_FILE beside it")),
        (None, Some(_)) => return Err(values.invalid("TLS_KEY_FILE", "needs TLS_CERT_FILE beside it")),
    };
    let media_tls = values.required("MEDIA_TLS", parse::boolean)?;
    let media = values.optional("MEDIA_ADDR", parse::listen_address)?;
    if media_tls && media.is_none() {
        return Err(values.invalid("MEDIA_TLS", "needs MEDIA_ADDR: without it media use the API's listener"));
    }
    if media_tls && tls.is_none() {
        return Err(values.invalid("MEDIA_TLS", "needs TLS_CERT_FILE and TLS_KEY_FILE"));
    }
    Ok(ListenSettings {
        addr: values.required("CONTROLLER_HTTP_ADDR", parse::listen_address)?,
        tls,
        media: media.map(|addr| MediaListen { addr, tls: media_tls }),
    })
}

/// What is given outright, then a credential of systemd, then a file; two that are both given
/// contradict each other.
fn master_key(values: &Values) -> Result<KeySource, ConfigError> {
    let current = values.optional("MASTER_KEY", str::parse::<MasterKey>)?;
    let old = values.optional("MASTER_KEY_OLD", str::parse::<MasterKey>)?;
    if old.is_some() && current.is_none() {
        return Err(values.invalid("MASTER_KEY_OLD", "needs MASTER_KEY beside it"));
    }
    let file = values.required("MASTER_KEY_FILE", parse::path)?;
    match (current, values.is_given("MASTER_KEY_FILE"), &values.credentials) {
        (Some(_), true, _) => Err(ConfigError::Contradiction {
            name: "MASTER_KEY",
            other: "MASTER_KEY_FILE",
            problem: "give the key itself, or the file that holds it".to_owned(),
        }),
        (Some(current), false, _) => Ok(KeySource::Given { current, old }),
        (None, false, Some(directory)) => {
            Ok(KeySource::credential(directory).unwrap_or(KeySource::File(file)))
        }
        (None, _, _) => Ok(KeySource::File(file)),
    }
}

fn retention(values: &Values) -> Result<Retention, ConfigError> {
    let jobs = values.required("JOB_RETENTION", parse::retention)?;
    let events = values.optional("EVENT_RETENTION", parse::retention)?.unwrap_or(jobs);
    if let (Some(jobs), events) = (jobs, events)
        && events.is_none_or(|events| events > jobs)
    {
        return Err(
            values.invalid("EVENT_RETENTION", "is longer than JOB_RETENTION: events go with their jobs")
        );
    }
    let audit_dir = values.optional("AUDIT_EXPORT_DIR", parse::path)?;
    Ok(Retention { jobs, events, audit_dir })
}

fn bmc_secrets(values: &Values) -> Result<Secrets, ConfigError> {
    let directory = values.optional("BMC_SECRETS_DIR", parse::path)?;
    if directory.as_ref().is_some_and(|directory| !directory.is_dir()) {
        return Err(values.invalid("BMC_SECRETS_DIR", "is not a directory: create it first"));
    }
    Ok(Secrets::new(values.secrets.clone(), directory))
}

fn extra_roots(values: &Values) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let path = values.optional("CA_FILE", parse::path)?;
    path.as_deref().map_or(Ok(Vec::new()), client::read_roots)
}

fn installer(values: &Values) -> Result<InstallerSettings, ConfigError> {
    let source = values.optional("ESXI_INSTALLER_URL", parse::installer)?;
    let url = match &source {
        Some(InstallerSource::Url(url)) => Some(url),
        _ => None,
    };
    let sha256 = values.optional("ESXI_INSTALLER_SHA256", parse::sha256)?;
    if sha256.is_some() && source.is_none() {
        return Err(values.invalid("ESXI_INSTALLER_SHA256", "needs ESXI_INSTALLER_URL beside it"));
    }
    let delivery = values.required("ESXI_INSTALLER_DELIVERY", str::parse::<Delivery>)?;
    if delivery == Delivery::Direct && source.is_some() && url.is_none() {
        return Err(ConfigError::Contradiction {
            name: "ESXI_INSTALLER_DELIVERY",
            other: "ESXI_INSTALLER_URL",
            problem: "a BMC cannot be given a file: use served, or an http(s) URL".to_owned(),
        });
    }
    let allow = values.optional("ESXI_INSTALLER_ALLOW", str::parse)?;
    Ok(InstallerSettings {
        allow: allow.or(url.map(UrlPrefixes::host_of)).unwrap_or_default(),
        source,
        sha256,
        delivery,
        cache_dir: values.required("INSTALLER_CACHE_DIR", parse::path)?,
        cache_bytes_max: values.required("INSTALLER_CACHE_BYTES", parse::size)?,
    })
}

fn media_layout(text: &str) -> Result<Option<MediaLayout>, String> {
    parse::word(&[
        ("auto", None),
        ("dual-cd", Some(MediaLayout::DualCd)),
        ("single-cd", Some(MediaLayout::SingleCd)),
        ("cd-usb", Some(MediaLayout::CdUsb)),
    ])(text)
}

fn policy(values: &Values) -> Result<Policy, ConfigError> {
    let wait = |name| values.required(name, parse::duration_within(secs(1), hours(48)));
    let confidences = &[
        ("assumed", Confidence::Assumed),
        ("probable", Confidence::Probable),
        ("proven", Confidence::Proven),
    ];
    let stable_window = wait("ESXI_STABLE_WINDOW")?;
    Ok(Policy {
        stable_window,
        install_timeout: wait("ESXI_INSTALL_TIMEOUT")?,
        boot_timeout: wait("ESXI_BOOT_TIMEOUT")?,
        ks_timeout: wait("ESXI_KS_TIMEOUT")?,
        poll_interval: poll_interval(values, stable_window)?,
        detection: values.required("ESXI_DETECTION", str::parse)?,
        min_install_time: values.required("ESXI_MIN_INSTALL_TIME", parse::duration)?,
        proof_floor: values.required("ESXI_PROOF_FLOOR", parse::duration_within(secs(0), hours(1)))?,
        min_confidence: values.required("ESXI_MIN_CONFIDENCE", parse::word(confidences))?,
        final_reset: values.required("ESXI_FINAL_RESET", str::parse)?,
        graceful_timeout: wait("RESET_GRACEFUL_TIMEOUT")?,
        allow_powered_on: values.required("ALLOW_POWERED_ON", parse::boolean)?,
        layout: values.required("MEDIA_LAYOUT", media_layout)?,
        stuck_timeout: wait("JOB_STUCK_TIMEOUT")?,
        maintenance_timeout: wait("MAINTENANCE_TIMEOUT")?,
        maintenance_boot_timeout: wait("MAINTENANCE_BOOT_TIMEOUT")?,
    })
}

/// A window shorter than the interval between two looks could never be seen to pass.
fn poll_interval(values: &Values, stable_window: Duration) -> Result<Duration, ConfigError> {
    let bounds = parse::duration_within(Duration::from_millis(100), hours(1));
    let interval = values.required("ESXI_POLL_INTERVAL", bounds)?;
    if !values.is_given("ESXI_POLL_INTERVAL") {
        return Ok(interval.min(stable_window / 3));
    }
    if interval > stable_window {
        return Err(ConfigError::Contradiction {
            name: "ESXI_POLL_INTERVAL",
            other: "ESXI_STABLE_WINDOW",
            problem: "the window could never be seen to pass: poll more often, or make it longer".to_owned(),
        });
    }
    Ok(interval)
}

/// The next renewal is due a third of a lease after the last one, and jobs stop five sixths
/// after it. The half between must be enough for a renewal that has to wait for the database.
fn lease_ttl(values: &Values) -> Result<Duration, ConfigError> {
    let ttl = values.required("JOB_LEASE_TTL", parse::duration)?;
    if (secs(20)..=hours(1)).contains(&ttl) {
        return Ok(ttl);
    }
    let rule = "must be from 20s to 1h: a lease is renewed every third of it, one renewal may wait 10s for the \
                database, and jobs stop a sixth of it before it runs out";
    Err(values.invalid("JOB_LEASE_TTL", rule))
}

fn redfish(values: &Values) -> Result<Limits, ConfigError> {
    let wait = |name| values.required(name, parse::duration_within(secs(1), hours(2)));
    Ok(Limits {
        timeout: wait("REDFISH_TIMEOUT")?,
        insert_timeout: wait("REDFISH_INSERT_TIMEOUT")?,
        retries: values.required("REDFISH_RETRIES", parse::number_within(0, 20))?,
        per_bmc: values.required("REDFISH_PER_BMC", parse::number_within(1, 8))? as usize,
        ..Limits::default()
    })
}

/// Values that are right by themselves and wrong together. Two waits contradict each other only
/// where an operator gave both: a default gives way.
fn refuse_contradictions(values: &Values, config: &Config) -> Result<(), ConfigError> {
    let against = |name, other, problem: &str| {
        Err(ConfigError::Contradiction { name, other, problem: problem.to_owned() })
    };
    let both_given = |a, b| values.is_given(a) && values.is_given(b);
    let Config { listen, policy, redfish, .. } = config;
    if matches!(config.auth, AuthSettings::None) && !listen.addr.ip().is_loopback() {
        let problem = "without tokens the listener must be on loopback";
        return against("AUTH_MODE", "CONTROLLER_HTTP_ADDR", problem);
    }
    if matches!(config.auth, AuthSettings::None) && config.oidc.is_some() {
        return against("OIDC_ISSUER", "AUTH_MODE", "AUTH_MODE=none checks no token");
    }
    if listen.media.is_some_and(|media| media.addr == listen.addr && media.addr.port() != 0) {
        return against("MEDIA_ADDR", "CONTROLLER_HTTP_ADDR", "both are the same address");
    }
    if policy.layout == Some(MediaLayout::SingleCd) && config.installer.delivery == Delivery::Direct {
        let problem = "a kickstart can be put onto the installer's CD only where this controller serves it";
        return against("MEDIA_LAYOUT", "ESXI_INSTALLER_DELIVERY", problem);
    }
    if both_given("ESXI_MIN_INSTALL_TIME", "ESXI_INSTALL_TIMEOUT")
        && policy.min_install_time >= policy.install_timeout
    {
        let problem = "a verdict on power alone would never be in time";
        return against("ESXI_MIN_INSTALL_TIME", "ESXI_INSTALL_TIMEOUT", problem);
    }
    if both_given("ESXI_PROOF_FLOOR", "ESXI_INSTALL_TIMEOUT")
        && 3 * policy.proof_floor >= policy.install_timeout
    {
        let problem = "no answer of an installed system would ever be late enough to prove anything";
        return against("ESXI_PROOF_FLOOR", "ESXI_INSTALL_TIMEOUT", problem);
    }
    if both_given("ESXI_STABLE_WINDOW", "ESXI_INSTALL_TIMEOUT")
        && policy.stable_window >= policy.install_timeout
    {
        return against("ESXI_STABLE_WINDOW", "ESXI_INSTALL_TIMEOUT", "no success would ever be in time");
    }
    if both_given("JOB_STUCK_TIMEOUT", "ESXI_INSTALL_TIMEOUT")
        && policy.stuck_timeout <= policy.install_timeout
    {
        let problem = "a job that rightly waits for its installer would count as stuck";
        return against("JOB_STUCK_TIMEOUT", "ESXI_INSTALL_TIMEOUT", problem);
    }
    if both_given("REDFISH_INSERT_TIMEOUT", "REDFISH_TIMEOUT") && redfish.insert_timeout < redfish.timeout {
        let problem = "an insert is a request, and the longest of them";
        return against("REDFISH_INSERT_TIMEOUT", "REDFISH_TIMEOUT", problem);
    }
    if both_given("JOB_STUCK_TIMEOUT", "RESET_GRACEFUL_TIMEOUT")
        && policy.stuck_timeout <= policy.graceful_timeout
    {
        let problem = "a job that rightly waits for a shutdown would count as stuck";
        return against("JOB_STUCK_TIMEOUT", "RESET_GRACEFUL_TIMEOUT", problem);
    }
    Ok(())
}
