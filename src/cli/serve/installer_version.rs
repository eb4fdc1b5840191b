//! Lets the API know which ESXi a kickstart is meant for: the version of the installer at hand.
//!
//! Nothing is fetched for it. Invariant: an installer that is being fetched is not waited for.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::api::InstallerVersion;
use crate::media::InstallerSource;
use crate::workflow::Kit;

pub fn lookup(kit: Arc<Kit>) -> InstallerVersion {
    Arc::new(move |url| {
        let kit = kit.clone();
        async move {
            let source = url.map(InstallerSource::Url).or_else(|| kit.setup.installer.clone())?;
            kit.installers.known_version(&source).await
        }
        .boxed()
    })
}
