//! How the client commands reach a controller: `SHOAL_URL` and `SHOAL_TOKEN`.
//!
//! It connects to nothing (that is `cli`). Invariant: a token is never part of a message or of
//! `Debug`.

use std::path::PathBuf;

use clap::Args;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::SecretString;
use url::Url;

use super::ConfigError;
use shoal_base::world::TlsPolicy;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Controller")]
pub struct ClientArgs {
    /// Where the controller is.
    #[arg(long, env = "SHOAL_URL", hide_env_values = true, value_name = "URL",
        default_value = "http://127.0.0.1:8080", value_parser = super::parse::http_url)]
    pub url: Url,
    /// Bearer token; better given by the environment. The first start of a controller writes one to
    /// admin.token beside its database.
    #[arg(long, env = "SHOAL_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = super::parse::secret)]
    pub token: Option<SecretString>,
    /// How the controller's certificate is judged: verify, pin:SHA256 or insecure.
    #[arg(long, env = "SHOAL_TLS", hide_env_values = true, value_name = "POLICY", default_value = "verify")]
    pub controller_tls: TlsPolicy,
    /// Extra roots to judge the controller's certificate by, in PEM.
    #[arg(long, env = "CA_FILE", hide_env_values = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

impl ClientArgs {
    /// For a command that knows its controller already.
    pub fn new(url: Url, token: Option<SecretString>) -> ClientArgs {
        ClientArgs { url, token, controller_tls: TlsPolicy::Verify, ca_file: None }
    }

    /// The certificates of `--ca-file`.
    pub fn extra_roots(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        self.ca_file.as_deref().map_or(Ok(Vec::new()), read_roots)
    }
}

/// The certificates of a file, at least one.
pub fn read_roots(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    const NAME: &str = "CA_FILE";
    let unreadable = |source| ConfigError::Unreadable { name: NAME, path: path.to_owned(), source };
    let pem = std::fs::read(path).map_err(unreadable)?;
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match roots {
        Ok(roots) if !roots.is_empty() => Ok(roots),
        _ => Err(unreadable(std::io::Error::other("it holds no certificates in PEM"))),
    }
}
