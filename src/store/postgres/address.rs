//! `DB_URL` of a PostgreSQL database: its servers, its user, and whether the connection is encrypted.
//!
//! Invariant: neither `Display`, `Debug` nor an error shows the password.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// How long one server of several may take to be reached.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After this, bytes that a server has not acknowledged end the connection: a dead peer must not hold up a controller.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVES: u32 = 3;

/// Where the database is, and as whom it is opened.
#[derive(Clone)]
pub struct PostgresAddress {
    config: Config,
    tls: bool,
}

/// Why a `DB_URL` is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("must be postgres://USER[:PASSWORD]@HOST[:PORT][,HOST…]/DATABASE[?PARAMETER=VALUE&…]: {why}")]
    Malformed { why: String },
    #[error("names no {what}: postgres://USER@HOST/DATABASE")]
    Missing { what: &'static str },
    #[error(
        "sslmode={mode} is not supported: leave it out (off loopback the connection is encrypted and the server's \
         certificate is verified; roots of a private authority come from CA_FILE)"
    )]
    SslMode { mode: String },
    #[error(
        "sslmode={mode} sends the password and all data in clear to {host}: leave it out, or set DB_TLS=off if that \
         network is trusted"
    )]
    Clear { mode: String, host: String },
}

impl PostgresAddress {
    /// Whether a `DB_URL` means a PostgreSQL database.
    pub fn is_one(url: &str) -> bool {
        url.starts_with("postgres://") || url.starts_with("postgresql://")
    }

    /// Reads a `DB_URL`. `allow_clear`: no encryption is wanted, wherever the servers are.
    pub fn parse(url: &str, allow_clear: bool) -> Result<PostgresAddress, AddressError> {
        let (url, mode) = without_ssl_mode(url);
        let config: Result<Config, _> = url.parse();
        // The parser's message names a parameter, and quotes no value of the URL.
        let mut config = config.map_err(|error| AddressError::Malformed {
            why: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        })?;
        if config.get_user().is_none() {
            return Err(AddressError::Missing { what: "user" });
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(AddressError::Missing { what: "database" });
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(AddressError::Missing { what: "host" });
        }
        let wanted = config.get_target_session_attrs();
        if url.contains("target_session_attrs=") && wanted != TargetSessionAttrs::ReadWrite {
            let why = "target_session_attrs must be read-write, which is the default".to_owned();
            return Err(AddressError::Malformed { why });
        }
        let tls = uses_tls(&config, mode.as_deref(), allow_clear)?;
        config.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable });
        set_defaults(&mut config, &url);
        Ok(PostgresAddress { config, tls })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub fn uses_tls(&self) -> bool {
        self.tls
    }
}

/// `sslmode` is taken out: `verify-full` is what all encryption here is, and the client's parser does not know it.
fn without_ssl_mode(url: &str) -> (String, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (modes, others): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|parameter| parameter.starts_with("sslmode="));
    let mode = modes.last().map(|mode| mode["sslmode=".len()..].to_owned());
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (url, mode)
}

fn uses_tls(config: &Config, mode: Option<&str>, allow_clear: bool) -> Result<bool, AddressError> {
    let remote = remote_host(config);
    match mode {
        Some("require" | "verify-ca" | "verify-full") => Ok(true),
        Some(mode @ ("disable" | "prefer" | "allow")) => match remote {
            Some(host) if !allow_clear => Err(AddressError::Clear { mode: mode.to_owned(), host }),
            _ => Ok(false),
        },
        Some(mode) => Err(AddressError::SslMode { mode: mode.to_owned() }),
        None => Ok(remote.is_some() && !allow_clear),
    }
}

/// One that is reached over a network.
fn remote_host(config: &Config) -> Option<String> {
    let address = config.get_hostaddrs().iter().find(|address| !address.is_loopback());
    let is_loopback = |host: &str| match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    let mut hosts = config.get_hosts().iter().filter_map(|host| match host {
        Host::Tcp(host) => Some(host.as_str()),
        Host::Unix(_) => None,
    });
    address.map(IpAddr::to_string).or_else(|| hosts.find(|host| !is_loopback(host)).map(str::to_owned))
}

/// What the URL does not say.
fn set_defaults(config: &mut Config, url: &str) {
    let says = |name: &str| url.split(['?', '&']).any(|part| part.starts_with(&format!("{name}=")));
    if !says("application_name") {
        config.application_name("shoal");
    }
    if !says("connect_timeout") {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if !says("tcp_user_timeout") {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if !says("keepalives_idle") {
        config.keepalives_idle(KEEPALIVE_AFTER);
    }
    if !says("keepalives_interval") {
        config.keepalives_interval(KEEPALIVE_EVERY);
    }
    if !says("keepalives_retries") {
        config.keepalives_retries(KEEPALIVES);
    }
    // A controller can do nothing with a standby.
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
}

/// The database and its servers.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.config;
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let mut hosts: Vec<String> = hosts.collect();
        if hosts.is_empty() {
            hosts = config.get_hostaddrs().iter().map(IpAddr::to_string).collect();
        }
        let ports = config.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Vec<String> =
            hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index))).collect();
        write!(f, "{} at {}", config.get_dbname().unwrap_or_default(), hosts.join(","))
    }
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresAddress({self})")
    }
}

impl PartialEq for PostgresAddress {
    fn eq(&self, other: &PostgresAddress) -> bool {
        self.config == other.config && self.tls == other.tls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<PostgresAddress, AddressError> {
        PostgresAddress::parse(url, false)
    }

    #[test]
    fn the_password_is_not_shown() {
        let address = parse("postgres://shoal:planted@db1,db2:6432/site?connect_timeout=3").unwrap();
        let shown = format!("{address} {address:?}");
        assert!(!shown.contains("planted"), "{shown}");
        assert_eq!(address.to_string(), "site at db1:5432,db2:6432");
        for bad in ["postgres://u:planted@h/d?planted=1", "postgres://u:planted@h:port/d"] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(!error.contains("u:planted") && error.starts_with("must be postgres://"), "{error}");
        }
    }

    #[test]
    fn the_connection_is_encrypted_off_loopback() {
        for (url, tls) in [
            ("postgres://u@db.example/d", true),
            ("postgres://u@127.0.0.1,[::1],localhost/d", false),
            ("postgres://u@127.0.0.1,10.0.0.1/d", true),
            ("postgres://u@127.0.0.1/d?sslmode=verify-full", true),
            ("postgres://u@%2Frun%2Fpostgresql/d", false),
            ("postgres://u@localhost/d?sslmode=disable", false),
        ] {
            assert_eq!(parse(url).map(|address| address.uses_tls()), Ok(tls), "{url}");
        }
    }

    #[test]
    fn a_connection_in_clear_must_be_wanted() {
        let url = "postgres://u@db.example/d?sslmode=prefer&connect_timeout=2";
        let error = parse(url).unwrap_err();
        assert!(matches!(error, AddressError::Clear { .. }), "{error}");
        assert!(error.to_string().contains("DB_TLS=off"), "{error}");
        assert!(!PostgresAddress::parse(url, true).unwrap().uses_tls());
        let odd = parse("postgres://u@h/d?sslmode=sometimes").unwrap_err();
        assert!(matches!(odd, AddressError::SslMode { .. }), "{odd}");
    }

    #[test]
    fn a_server_that_takes_writes_is_wanted() {
        let url = |wanted: &str| format!("postgres://u@db1,db2/d?target_session_attrs={wanted}");
        assert!(parse(&url("read-write")).is_ok());
        for wanted in ["any", "read-only", "standby"] {
            let error = parse(&url(wanted)).unwrap_err().to_string();
            assert!(error.contains("target_session_attrs"), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (url, what) in
            [("postgres://h/d", "user"), ("postgres://u@h", "database"), ("postgres://u@/d", "host")]
        {
            assert_eq!(parse(url).unwrap_err(), AddressError::Missing { what }, "{url}");
        }
    }
}
