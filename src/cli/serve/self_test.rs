//! Tests that a running controller makes of itself: is its installer usable, and does its media address lead to it?
//!
//! At the start and again and again, so that a wrong setting is found before the first job and a source that breaks later
//! is found too. Invariants: no BMC is contacted; and a result is logged when it changes, not each time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use shoal_base::with_causes;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use url::Url;

use crate::api::{SelfTest, SelfTests};
use crate::domain::FailureCode;
use crate::flow::Services;
use crate::flow::failure_code::code_of_installer;
use crate::media::InstallerSource;
use shoal_base::world::TlsPolicy;

/// While all pass.
const EVERY: Duration = Duration::from_secs(15 * 60);
/// While one does not.
const AGAIN: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Addresses that are tried where each BMC may have one of its own.
const ADDRESSES_MAX: usize = 4;

/// Tests until `until`; `given` is `MEDIA_BASE_URL`.
pub async fn run(services: Arc<Services>, given: Option<Url>, results: SelfTests, until: CancellationToken) {
    loop {
        let tested = async {
            let media = note(&results, "media_address", media_address(&services, given.as_ref()).await);
            let maintenance = note(&results, "maintenance_iso", maintenance_iso(&services).await);
            // The last, because it may have to be downloaded.
            let installer = note(&results, "installer", installer(&services).await);
            media && maintenance && installer
        };
        let passed = tokio::select! {
            passed = tested => passed,
            () = until.cancelled() => return,
        };
        tokio::select! {
            () = tokio::time::sleep(if passed { EVERY } else { AGAIN }) => {}
            () = until.cancelled() => return,
        }
    }
}

/// Keeps the result; `None` is what there is nothing to test of.
fn note(results: &SelfTests, name: &'static str, result: Option<SelfTest>) -> bool {
    let Some(result) = result else { return true };
    let passed = result == SelfTest::Passed;
    metrics::gauge!("shoal_provisioner_self_test_passed", "test" => name).set(if passed { 1.0 } else { 0.0 });
    if let Some(changed) = results.set(name, result) {
        match changed {
            SelfTest::Passed => tracing::info!(test = name, "self-test passed"),
            SelfTest::Warning(reason) | SelfTest::Failed(reason) => {
                tracing::warn!(test = name, reason, "self-test failed");
            }
        }
    }
    passed
}

/// The configured installer, as a job opens it. What may pass without a change of the settings is a warning.
async fn installer(services: &Services) -> Option<SelfTest> {
    let source = services.setup.installer.as_ref()?;
    let sha256 = services.setup.installer_sha256.as_deref();
    let error = match services.installers.open(source, sha256, &|_| true).await {
        Ok(_) => return Some(SelfTest::Passed),
        Err(error) => error,
    };
    let code = code_of_installer(&error);
    let reason = format!(
        "ESXI_INSTALLER_URL ({code}): {}; only jobs that name their own installer can succeed",
        with_causes(&error)
    );
    let may_pass = matches!(
        code,
        FailureCode::InstallerUnreachable
            | FailureCode::InstallerCacheFull
            | FailureCode::InstallerCacheBroken
    );
    Some(if may_pass { SelfTest::Warning(reason) } else { SelfTest::Failed(reason) })
}

/// One that is a file; ESXi jobs do without it.
async fn maintenance_iso(services: &Services) -> Option<SelfTest> {
    let Some(InstallerSource::File(path)) = &services.setup.maintenance_iso else { return None };
    let opened = services.iso_files.open(path).await;
    Some(match opened {
        Ok(_) => SelfTest::Passed,
        Err(error) => SelfTest::Warning(format!("MAINTENANCE_ISO_URL: {}", with_causes(&error))),
    })
}

/// Whether the addresses that BMCs are given lead to this controller, from here. A controller behind address
/// translation may not reach itself by them, so that this is a warning.
async fn media_address(services: &Services, given: Option<&Url>) -> Option<SelfTest> {
    let mut bases = BTreeSet::new();
    match given {
        Some(given) => drop(bases.insert(given.clone())),
        None => {
            for server in services.store.servers().await.ok()? {
                if bases.len() >= ADDRESSES_MAX {
                    break;
                }
                match (services.setup.media_base)(server.bmc_address.clone()).await {
                    Ok(base) => drop(bases.insert(base)),
                    Err(reason) => {
                        let serial = &server.serial;
                        return Some(SelfTest::Warning(format!(
                            "no media address for server {serial}: {reason}; set MEDIA_BASE_URL"
                        )));
                    }
                }
            }
        }
    }
    let setting = if given.is_some() { "MEDIA_BASE_URL" } else { "the derived media address" };
    for base in &bases {
        if let Err(reason) = leads_back(services, base).await {
            return Some(SelfTest::Warning(format!(
                "{setting} {base} does not lead to this controller: {reason}; BMCs fetch their media there"
            )));
        }
    }
    (!bases.is_empty()).then_some(SelfTest::Passed)
}

/// Fetches an image that nothing else knows of, and looks whether the request arrived here.
async fn leads_back(services: &Services, base: &Url) -> Result<(), String> {
    let probe =
        services.media.probes().show(&services.world, None).await.map_err(|error| with_causes(&error))?;
    let url = format!("{}{}", base.as_str().trim_end_matches('/'), probe.path());
    let request = http::Request::get(url).extension(TlsPolicy::Insecure).header(header::RANGE, "bytes=0-0");
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(TIMEOUT, services.world.transport.clone().oneshot(request)).await;
    let answer = answer.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?;
    let status = answer.map_err(|error| with_causes(&error))?.status();
    let seen = probe.seen().await.map_err(|error| with_causes(&error))?;
    match seen.requests > 0 {
        true => Ok(()),
        false => Err(format!("something else answers there, with {}", status.as_u16())),
    }
}
