//! Looks at a BMC from this machine, without a controller.
//!
//! Invariants: the session is ended whatever the check came to, and a listener for a probe's image is
//! open only while that is looked at.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use url::Url;

use super::CheckArgs;
use crate::cli::CliError;
use crate::cli::serve::MediaBases;
use crate::cli::server::read_password;
use crate::doctor::{self, CheckReport, ProbePlace, Subject, Whose};
use crate::domain::{Server, check_bmc_address};
use crate::media::Probes;
use crate::seal::Sealer;
use crate::store::Store;
use shoal_base::Password;
use shoal_base::world::{Secrets, TlsPolicy, World, real_transport};
use shoal_redfish::{Account, BmcPool, Limits};

pub async fn check(address: &Url, args: &CheckArgs, world: &World) -> Result<CheckReport, CliError> {
    let account = account(address, args)?;
    let world = match args.client.extra_roots()?.as_slice() {
        [] => world.clone(),
        roots => World { transport: real_transport(roots), ..world.clone() },
    };
    let mut listener =
        if args.probe_media { Some(MediaListener::open(args.direct.media_addr, &world)?) } else { None };
    let bmc = BmcPool::new(world.clone(), Limits::default()).bmc(&account);
    let server = args.direct.serial.as_ref().map(|serial| Server {
        serial: serial.clone(),
        bmc_address: account.address.clone(),
        bmc_username: account.username.clone(),
        bmc_password: account.password.clone(),
        tls: account.tls.clone(),
        system_id: args.direct.system_id.clone(),
        system_uuid: None,
        management_address: None,
        protected: false,
        labels: Default::default(),
        variables: Default::default(),
    });
    let whose = match &server {
        Some(server) => Whose::Server(server),
        None => Whose::Anybody { system_id: args.direct.system_id.as_deref() },
    };
    let subject = Subject {
        bmc: &bmc,
        address: &account.address,
        tls: &account.tls,
        whose,
        layout: None,
        media_base: None,
        maintenance: None,
    };
    let place = match &mut listener {
        Some(listener) => Some(listener.place(&account.address, &world).await),
        None => None,
    };
    let report = doctor::check(&world, &subject, place).await;
    bmc.close().await;
    Ok(report)
}

fn account(address: &Url, args: &CheckArgs) -> Result<Account, CliError> {
    let tls = args.direct.tls.clone().unwrap_or(TlsPolicy::Verify);
    let address = check_bmc_address(address.as_str(), &tls)
        .map_err(|error| CliError::usage(format!("{address} is not a BMC address: {}", error.message)))?;
    let (Some(username), true) = (args.direct.user.clone(), args.direct.password_stdin) else {
        return Err(CliError::usage("with the URL of a BMC, give --user and --password-stdin"));
    };
    Ok(Account {
        address,
        username,
        password: Password::new(read_password()?),
        secrets: Secrets::default(),
        tls,
    })
}

/// A socket for the image of one probe.
struct MediaListener {
    probes: Probes,
    url: Url,
    serving: JoinSet<std::io::Result<()>>,
}

impl MediaListener {
    fn open(address: Option<SocketAddr>, world: &World) -> Result<MediaListener, CliError> {
        let address = address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
        let bound =
            std::net::TcpListener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (bound, listener) =
            bound.map_err(|error| format!("cannot listen on {address} (--media-addr): {error}"))?;
        let mut key = [0; 32];
        world.rng.fill(&mut key);
        let probes = Probes::new(key, Store::in_memory(Sealer::new(key))?);
        let server =
            axum_server::from_tcp(listener)?.http1_only().first_request_timeout(Duration::from_secs(60));
        let router = probes.router().into_make_service();
        let mut serving = JoinSet::new();
        serving.spawn(async move { server.serve(router).await });
        Ok(MediaListener { probes, url: format!("http://{bound}").parse()?, serving })
    }

    async fn place(&mut self, bmc: &Url, world: &World) -> ProbePlace<'_> {
        debug_assert!(!self.serving.is_empty(), "it serves until it is dropped");
        let bases = MediaBases {
            given: None,
            maintenance: None,
            listening: self.url.clone(),
            instance_id: String::new(),
            transport: world.transport.clone(),
        };
        let base = bases.into_fn()(bmc.clone()).await;
        ProbePlace { probes: &self.probes, base, may_touch: None }
    }
}
