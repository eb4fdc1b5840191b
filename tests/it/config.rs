//! Settings of `shoal serve`, from flags and files to a [`Config`] or an error that names one.
//!
//! The environment is covered by the tests of the real process, since setting it here would race.

use std::time::Duration;

use clap::{Args, Command, FromArgMatches};
use shoal::config::{Config, ConfigError, LogArgs, LogFormat, ServeArgs};
use shoal::domain::Confidence;
use shoal::flow::policy::{Delivery, Policy};

fn load(flags: &[&str]) -> Result<Config, ConfigError> {
    let command = ServeArgs::augment_args(Command::new("serve"));
    let matches = command.try_get_matches_from([&["serve"], flags].concat()).expect("clap takes the flags");
    let args = ServeArgs::from_arg_matches(&matches).expect("texts only");
    Config::load(args, LogArgs::default())
}

fn load_file(toml: &str, flags: &[&str]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shoal.toml");
    std::fs::write(&path, toml).unwrap();
    load(&[&["--config", path.to_str().unwrap()], flags].concat())
}

/// The whole text of the error, and that it names `setting`.
fn refused(flags: &[&str], setting: &str) -> String {
    let error = load(flags).expect_err(&format!("{flags:?} is refused")).to_string();
    assert!(error.contains(setting), "{flags:?}: {error}");
    error
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = load(&[]).unwrap();
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.listen.addr.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database.to_string(), "./var/shoal/shoal.db");
    assert_eq!(config.installer.delivery, Delivery::Auto);
    assert_eq!(config.installer.cache_bytes_max, 20 << 30);
    assert_eq!((config.images.bytes_max, config.images.auto_media_bytes_max), (200 << 30, 4 << 30));
    assert_eq!((config.workers, config.redfish.retries), (256, 5));
    assert_eq!(config.redfish.insert_timeout, Duration::from_secs(900));
}

#[test]
fn each_bad_value_names_its_setting() {
    let bad = [
        ("--addr", "8080", "CONTROLLER_HTTP_ADDR"),
        ("--addr", ":8080", "CONTROLLER_HTTP_ADDR"),
        ("--db", "postgres://db/shoal", "DB_URL"),
        ("--auth-mode", "basic", "AUTH_MODE"),
        ("--ca-file", "/nonexistent.pem", "CA_FILE"),
        ("--oidc-issuer", "https://idp.example", "OIDC_AUDIENCE"),
        ("--oidc-issuer", "http://idp.example", "OIDC_ISSUER"),
        ("--oidc-audience", "shoal", "OIDC_ISSUER"),
        ("--oidc-client-id", "shoal", "OIDC_ISSUER"),
        ("--oidc-client-secret", "s3cret", "OIDC_CLIENT_ID"),
        ("--public-url", "http://shoal.example", "https"),
        ("--public-url", "https://shoal.example/ui", "PUBLIC_URL"),
        ("--oidc-role-map", "ops=root", "OIDC_ROLE_MAP"),
        ("--oidc-role-map", "ops", "OIDC_ROLE_MAP"),
        ("--oidc-role-claim", "a..b", "OIDC_ROLE_CLAIM"),
        ("--auth-failures-per-minute", "0", "AUTH_FAILURES_PER_MINUTE"),
        ("--writes-per-minute", "many", "WRITES_PER_MINUTE"),
        ("--media-bind-peer", "maybe", "MEDIA_BIND_PEER"),
        ("--tls-cert", "cert.pem", "TLS_CERT_FILE"),
        ("--tls-key", "key.pem", "TLS_KEY_FILE"),
        ("--webhook-secret-old", "old", "WEBHOOK_SECRET_OLD"),
        ("--task-iso-retention", "60", "TASK_ISO_RETENTION"),
        ("--esxi-installer-url", "ftp://host/x.iso", "ESXI_INSTALLER_URL"),
        ("--esxi-installer-url", "", "ESXI_INSTALLER_URL"),
        ("--esxi-installer-sha256", "abcd", "ESXI_INSTALLER_SHA256"),
        ("--esxi-installer-delivery", "push", "ESXI_INSTALLER_DELIVERY"),
        ("--esxi-installer-allow", "images.example", "ESXI_INSTALLER_ALLOW"),
        ("--installer-cache-bytes", "much", "INSTALLER_CACHE_BYTES"),
        ("--media-base-url", "10.0.0.1:8080", "MEDIA_BASE_URL"),
        ("--maintenance-iso-url", "nfs://h/x", "MAINTENANCE_ISO_URL"),
        ("--registry-auth-file", "/nonexistent.json", "REGISTRY_AUTH_FILE"),
        ("--registry-auth-file", "/dev/null", "REGISTRY_AUTH_FILE"),
        ("--registry-plain-http", "http://registry.example", "REGISTRY_PLAIN_HTTP"),
        ("--registry-plain-http", "registry.example:x", "REGISTRY_PLAIN_HTTP"),
        ("--registry-token-hosts", "auth.example/token", "REGISTRY_TOKEN_HOSTS"),
        ("--media-layout", "floppy", "MEDIA_LAYOUT"),
        ("--media-addr", "localhost", "MEDIA_ADDR"),
        ("--media-tls", "true", "MEDIA_TLS"),
        ("--esxi-stable-window", "90", "ESXI_STABLE_WINDOW"),
        ("--esxi-install-timeout", "soon", "ESXI_INSTALL_TIMEOUT"),
        ("--esxi-poll-interval", "0s", "ESXI_POLL_INTERVAL"),
        ("--esxi-detection", "guess", "ESXI_DETECTION"),
        ("--esxi-min-confidence", "certain", "ESXI_MIN_CONFIDENCE"),
        ("--kickstart-lint", "error", "KICKSTART_LINT"),
        ("--esxi-final-reset", "maybe", "ESXI_FINAL_RESET"),
        ("--allow-powered-on", "yes", "ALLOW_POWERED_ON"),
        ("--redfish-retries", "-1", "REDFISH_RETRIES"),
        ("--redfish-per-bmc", "9", "REDFISH_PER_BMC"),
        ("--workers", "0", "WORKER_CONCURRENCY"),
        ("--job-lease-ttl", "0s", "JOB_LEASE_TTL"),
    ];
    for (flag, value, setting) in bad {
        let text = refused(&[&format!("{flag}={value}")], setting);
        assert!(!text.is_empty());
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    refused(&["--auth-mode=none", "--addr=0.0.0.0:8080"], "AUTH_MODE");
    refused(&["--auth-mode=none", "--bootstrap-token=abc"], "SHOAL_BOOTSTRAP_TOKEN");
    refused(&["--esxi-installer-delivery=direct", "--esxi-installer-url=/srv/e.iso"], "DELIVERY");
    refused(&[&format!("--esxi-installer-sha256={}", "ab".repeat(32))], "ESXI_INSTALLER_SHA256");
    refused(&["--media-addr=127.0.0.1:8080"], "MEDIA_ADDR");
    refused(&["--media-addr=127.0.0.1:80", "--media-tls"], "MEDIA_TLS");
    refused(&["--esxi-poll-interval=2m"], "ESXI_POLL_INTERVAL");
    refused(&["--esxi-min-install-time=2h", "--esxi-install-timeout=1h"], "ESXI_MIN_INSTALL_TIME");
    refused(&["--esxi-stable-window=2h", "--esxi-install-timeout=1h"], "ESXI_STABLE_WINDOW");
    refused(&["--job-stuck-timeout=1h", "--esxi-install-timeout=1h"], "JOB_STUCK_TIMEOUT");
    refused(&["--redfish-insert-timeout=10s", "--redfish-timeout=30s"], "REDFISH_INSERT_TIMEOUT");
    refused(&["--job-stuck-timeout=3m", "--reset-graceful-timeout=3m"], "JOB_STUCK_TIMEOUT");
    assert!(load(&["--auth-mode=none", "--addr=[::1]:0"]).is_ok());
}

#[test]
fn a_lease_that_could_not_be_renewed_in_time_is_refused_with_the_rule() {
    for ttl in ["19s", "61m"] {
        let error = refused(&[&format!("--job-lease-ttl={ttl}")], "JOB_LEASE_TTL");
        assert!(error.contains("from 20s to 1h: a lease is renewed every third of it"), "{error}");
    }
    assert_eq!(load(&["--job-lease-ttl=20s"]).unwrap().lease_ttl, Duration::from_secs(20));
}

#[test]
fn a_default_poll_interval_fits_a_short_window() {
    let config = load(&["--esxi-stable-window=3s"]).unwrap();
    assert_eq!(config.policy.poll_interval, Duration::from_secs(1));
}

#[test]
fn a_secret_is_not_quoted_where_it_is_refused() {
    let error = refused(&["--bootstrap-token=hunter 2"], "SHOAL_BOOTSTRAP_TOKEN");
    assert!(!error.contains("hunter"), "{error}");
    let error = load_file("webhook_secret = \"hunter2\" x\n", &[]).unwrap_err().to_string();
    assert!(error.contains(":1:") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = "workers = 4\nesxi_stable_window = \"30s\"\nallow_powered_on = false\nlog_format = \"json\"\n";
    let file = file.replace("workers", "worker_concurrency");
    let config = load_file(&file, &["--esxi-stable-window", "40s"]).unwrap();
    assert_eq!(config.workers, 4);
    assert_eq!(config.policy.stable_window, Duration::from_secs(40));
    assert!(!config.policy.allow_powered_on);
    assert_eq!(config.log.format, LogFormat::Json);
}

#[test]
fn an_unknown_key_of_the_file_names_the_nearest() {
    let error = load_file("esxi_stable_windw = \"30s\"\n", &[]).unwrap_err().to_string();
    assert!(error.contains("`esxi_stable_window`"), "{error}");
    let error = load_file("[esxi_stable_window]\na = 1\n", &[]).unwrap_err().to_string();
    assert!(error.contains("ESXI_STABLE_WINDOW"), "{error}");
}

#[test]
fn a_missing_file_is_an_error() {
    refused(&["--config=/nonexistent/shoal.toml"], "--config");
}

#[test]
fn a_recipe_may_name_installers_on_the_host_of_the_default_one() {
    let config = load(&["--esxi-installer-url=https://images.example/esxi/8.iso"]).unwrap();
    assert!(config.installer.allow.allow(&"https://images.example/other.iso".parse().unwrap()));
    let config = load(&["--esxi-installer-url=/srv/8.iso", "--esxi-min-confidence=probable"]).unwrap();
    assert!(!config.installer.allow.allow(&"https://images.example/other.iso".parse().unwrap()));
    assert_eq!(config.policy.min_confidence, Confidence::Probable);
}
