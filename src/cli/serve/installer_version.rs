//! Lets the API know which ESXi a kickstart is meant for: the version of the installer at hand.
//!
//! Nothing is fetched for it. Invariant: an installer that is being fetched is not waited for.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::api::InstallerVersion;
use crate::flow::Services;
use crate::media::InstallerSource;

pub fn lookup(services: Arc<Services>) -> InstallerVersion {
    Arc::new(move |url| {
        let services = services.clone();
        async move {
            let source = url.map(InstallerSource::Url).or_else(|| services.setup.installer.clone())?;
            services.installers.known_version(&source).await
        }
        .boxed()
    })
}
