//! The admin token: made at the first start, in a file beside the database, or given by the settings.
//!
//! It compares nothing (that is `api`) and hashes nothing (that is `store`). Invariant: the file is its
//! owner's alone and holds one line.

use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

use crate::access::{Act, Actor, NewToken, Role, Standing, TokenOrigin, TokenRecord};
use crate::api::{new_token_id, new_token_text};
use crate::config::AuthSettings;
use crate::store::{Store, StoreError};
use shoal_base::world::World;

/// What an admin may show from the start.
pub struct AdminToken {
    /// `None`: no token is required, or other admin tokens have taken its place.
    pub token: Option<SecretString>,
    /// Where it is kept, if it is.
    pub file: Option<PathBuf>,
    /// No token is required.
    pub open: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    #[error("cannot {doing} the admin token {}", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold one line with a token: delete it, and the next start makes a new one", .path.display())]
    Unusable { path: PathBuf },
    #[error(
        "there is no admin token yet, and no key file beside which admin.token could be written: set \
         SHOAL_BOOTSTRAP_TOKEN"
    )]
    NoPlace,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The directory that a file stands in.
pub fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Makes the store know the admin token: the one of the settings, else the one in the file, else a new
/// one, unless an admin has made others and removed the file. A token in the file that the store does
/// not know is accepted, as is one that an older version wrote: a process that can write it can write the
/// database too. Controllers that share a database make one only while there is no live admin token.
pub async fn admin_token(
    auth: &AuthSettings,
    directory: Option<&Path>,
    store: &Store,
    world: &World,
) -> Result<AdminToken, TokenFileError> {
    let bootstrap = match auth {
        AuthSettings::None => return Ok(AdminToken { token: None, file: None, open: true }),
        AuthSettings::Token { bootstrap } => bootstrap,
    };
    if let Some(token) = bootstrap {
        let new = new_token("SHOAL_BOOTSTRAP_TOKEN", TokenOrigin::Environment, world);
        settle(store, new, token.expose_secret()).await?;
        return Ok(AdminToken { token: Some(token.clone()), file: None, open: false });
    }
    let Some(directory) = directory else {
        return match has_admin(store, world).await? {
            true => Ok(AdminToken { token: None, file: None, open: false }),
            false => Err(TokenFileError::NoPlace),
        };
    };
    let path = directory.join("admin.token");
    let token = match std::fs::read_to_string(&path) {
        Ok(text) => checked(&path, &text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if has_admin(store, world).await? {
                return Ok(AdminToken { token: None, file: None, open: false });
            }
            let token = new_token_text(&world.rng);
            write(&path, &token).map_err(|source| failed("write", &path, source))?;
            token
        }
        Err(error) => return Err(failed("read", &path, error)),
    };
    settle(store, new_token("admin.token", TokenOrigin::File, world), &token).await?;
    Ok(AdminToken { token: Some(token.into()), file: Some(path), open: false })
}

/// Whether an admin token makes a new one needless: on a shared database, any that is live.
async fn has_admin(store: &Store, world: &World) -> Result<bool, StoreError> {
    let now = world.clock.now();
    if !store.is_shared() {
        return store.has_created_admin(now).await;
    }
    let is_admin = |token: &TokenRecord| token.role == Role::Admin && token.standing(now) == Standing::Live;
    Ok(store.tokens().await?.iter().any(is_admin))
}

fn new_token(name: &str, origin: TokenOrigin, world: &World) -> NewToken {
    NewToken {
        id: new_token_id(&world.rng),
        name: name.to_owned(),
        role: Role::Admin,
        origin,
        expires_at: None,
        created_at: world.clock.now(),
        created_by: "controller".to_owned(),
    }
}

async fn settle(store: &Store, new: NewToken, text: &str) -> Result<(), StoreError> {
    let act = Act {
        at: new.created_at,
        actor: Actor::controller(),
        source: None,
        action: "token.create".to_owned(),
        server: None,
        job: None,
        detail: serde_json::json!({ "token": new.id, "name": new.name, "role": new.role }),
    };
    let settled = store.with_audit(act).settle_admin_token(new, text).await?;
    if settled.revoked_at.is_some() {
        tracing::warn!(token = settled.name, "the admin token was revoked, and opens nothing");
    }
    Ok(())
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> TokenFileError {
    TokenFileError::Io { doing, path: path.to_owned(), source }
}

fn checked(path: &Path, text: &str) -> Result<String, TokenFileError> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(TokenFileError::Unusable { path: path.to_owned() });
    }
    let mode = std::fs::metadata(path).map(|found| found.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the admin token is readable by others: chmod 0600 it");
    }
    Ok(token.to_owned())
}

/// Beside its place first, so that a crash leaves no half of a token.
fn write(path: &Path, token: &str) -> io::Result<()> {
    let draft = path.with_extension("token.draft");
    let _left_by_a_crash = std::fs::remove_file(&draft);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    std::fs::File::open(directory(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Sealer;
    use shoal_base::world::{Clock, Rng, real_transport};

    const BY_FILE: AuthSettings = AuthSettings::Token { bootstrap: None };

    struct Start {
        dir: tempfile::TempDir,
        store: Store,
        world: World,
    }

    impl Start {
        fn new() -> Start {
            let _already_installed = rustls::crypto::ring::default_provider().install_default();
            let clock = Clock::virtual_from("2026-11-25T12:00:00Z".parse().unwrap());
            Start {
                dir: tempfile::tempdir().unwrap(),
                store: Store::in_memory(Sealer::new([7; 32])).unwrap(),
                world: World { clock, rng: Rng::from_seed(1), transport: real_transport(&[]) },
            }
        }

        async fn admin(&self, auth: &AuthSettings) -> Result<AdminToken, TokenFileError> {
            admin_token(auth, Some(self.dir.path()), &self.store, &self.world).await
        }

        fn file(&self) -> PathBuf {
            self.dir.path().join("admin.token")
        }

        async fn standing(&self, text: &str) -> Option<Standing> {
            let token = self.store.token_shown(text).await.unwrap();
            token.map(|token| token.standing(self.world.clock.now()))
        }
    }

    fn shown(admin: &AdminToken) -> String {
        admin.token.as_ref().unwrap().expose_secret().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_made_once_for_its_owner_alone() {
        let start = Start::new();
        let made = start.admin(&BY_FILE).await.unwrap();
        assert_eq!(std::fs::metadata(start.file()).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(start.file()).unwrap();
        assert_eq!((text.lines().count(), text.len()), (1, 71));
        let again = start.admin(&BY_FILE).await.unwrap();
        assert_eq!(shown(&again), shown(&made));
        assert_eq!(std::fs::read_dir(start.dir.path()).unwrap().count(), 1, "no draft is left");
        assert_eq!(start.standing(&shown(&made)).await, Some(Standing::Live));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_an_older_version_wrote_is_good() {
        let start = Start::new();
        std::fs::write(start.file(), format!("{}\n", "5".repeat(64))).unwrap();
        let admin = start.admin(&BY_FILE).await.unwrap();
        assert_eq!(shown(&admin), "5".repeat(64));
        assert_eq!(start.standing(&"5".repeat(64)).await, Some(Standing::Live));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_given_is_not_written_and_replaces_the_one_before() {
        let start = Start::new();
        for text in ["given", "another"] {
            let given = AuthSettings::Token { bootstrap: Some(text.into()) };
            assert_eq!(shown(&start.admin(&given).await.unwrap()), text);
        }
        assert_eq!(std::fs::read_dir(start.dir.path()).unwrap().count(), 0);
        assert_eq!(start.standing("given").await, Some(Standing::Revoked));
        assert_eq!(start.standing("another").await, Some(Standing::Live));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_file_is_a_new_token_unless_there_is_another_admin() {
        let start = Start::new();
        let lost = shown(&start.admin(&BY_FILE).await.unwrap());
        std::fs::remove_file(start.file()).unwrap();
        let new = shown(&start.admin(&BY_FILE).await.unwrap());
        assert_eq!(start.standing(&lost).await, Some(Standing::Revoked));
        assert_eq!(start.standing(&new).await, Some(Standing::Live));
        let created = NewToken {
            id: new_token_id(&start.world.rng),
            name: "mine".to_owned(),
            origin: TokenOrigin::Created,
            ..new_token("mine", TokenOrigin::Created, &start.world)
        };
        start.store.insert_token(created, "my own").await.unwrap();
        std::fs::remove_file(start.file()).unwrap();
        assert!(start.admin(&BY_FILE).await.unwrap().token.is_none() && !start.file().exists());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_revoked_stays_so() {
        let start = Start::new();
        let text = shown(&start.admin(&BY_FILE).await.unwrap());
        let other = new_token("mine", TokenOrigin::Created, &start.world);
        start.store.insert_token(other, "my own").await.unwrap();
        let token = start.store.token_shown(&text).await.unwrap().unwrap();
        start.store.revoke_token(&token.id, start.world.clock.now()).await.unwrap();
        start.admin(&BY_FILE).await.unwrap();
        assert_eq!(start.standing(&text).await, Some(Standing::Revoked));
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_file_is_refused_and_named() {
        let start = Start::new();
        std::fs::write(start.file(), "\n").unwrap();
        let error = start.admin(&BY_FILE).await.err().unwrap();
        assert!(error.to_string().contains("admin.token"), "{error}");
    }
}
