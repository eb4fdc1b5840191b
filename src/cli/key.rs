//! `shoal key`: which master keys a database needs, and a new one in the place of the old.
//!
//! A rotation works on the files, under the database's exclusive lock: the controller is stopped for
//! its seconds, and there is no moment at which two processes disagree about the key. The order
//! is: the new key joins the old one in the key file; every value is sealed anew; the old key is
//! retired in the database; it leaves the file. Invariant: killed anywhere, the file holds every key
//! that the database needs, and the same command goes on where it was.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::json;

use super::output::{Output, table};
use super::{CliError, Exit};
use crate::config::{FileArgs, FileSettings};
use crate::seal::{self, KeyError, KeyId, KeySource, MasterKey, Sealer};
use crate::store::{
    DatabaseAddress, KnownKey, LockedDatabase, Postgres, PostgresAddress, Resealed, Sqlite, Store,
    StoreError, keys_of_database, keys_of_postgres,
};
use shoal_base::world::World;

/// Values sealed anew in one transaction.
const BATCH: u64 = 500;

/// Master keys: which are needed, and a new one in the place of the old.
#[derive(Debug, Args)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// The keys that the database knows, and how many values need each. The controller may run.
    #[command(visible_alias = "status")]
    List {
        #[command(flatten)]
        files: FileArgs,
    },
    /// Seal everything with a new key, and retire the old one. The controller must be stopped;
    /// interrupted at any moment, run it again.
    Rotate {
        #[command(flatten)]
        files: FileArgs,
    },
}

pub async fn run(args: KeyArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        KeyCommand::List { files } => {
            list(&FileSettings::load(files).map_err(CliError::usage)?, output).await
        }
        KeyCommand::Rotate { files } => {
            let files = FileSettings::load(files).map_err(CliError::usage)?;
            let rotated = match &files.database {
                DatabaseAddress::File(path) => {
                    let locked = LockedDatabase::lock(path)?;
                    rotate(locked, &files.master_key, world, BATCH, |store| store).await?
                }
                DatabaseAddress::Postgres(address) => rotate_shared(address, &files, world).await?,
            };
            output.print(&rotated, |rotated| rotated.text(&files.master_key));
            Ok(Exit::Done)
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RotateError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no database exists yet (DB_URL), so there is nothing to re-encrypt")]
    NoDatabase,
    #[error(
        "{running} controllers use the database (DB_URL): stop them all; one that crashed counts for half a minute more"
    )]
    Running { running: u64 },
    #[error("there is no master key ({setting})")]
    NoKey { setting: &'static str },
    #[error(
        "{setting} is not a file that this command may change: set it to the new key (openssl rand -hex 32), \
         {old} to the present one, and run this command again"
    )]
    NotOurs { setting: &'static str, old: &'static str },
}

/// What a rotation came to.
#[derive(Debug, Serialize)]
struct Rotated {
    /// That everything is sealed with now.
    key: String,
    retired: Vec<String>,
    /// An earlier rotation had been interrupted, and this one has ended it.
    resumed: bool,
}

impl Rotated {
    fn text(&self, source: &KeySource) -> String {
        let retired = self.retired.join(", ");
        let done = match self.resumed {
            true => "the interrupted rotation is complete: everything",
            false => "everything",
        };
        let next = match source {
            KeySource::File(path) => {
                format!("back {} up; backups made before need the old key", path.display())
            }
            KeySource::Given { .. } => "MASTER_KEY_OLD can be removed".to_owned(),
            KeySource::Credential(_) => "the credential master.key.old can be removed".to_owned(),
        };
        format!("{done} is sealed with master key {}; {retired} is retired; {next}", self.key)
    }
}

/// `handle` may lay a hand on the store, which tests do to interrupt it.
async fn rotate(
    locked: LockedDatabase,
    source: &KeySource,
    world: &World,
    batch: u64,
    handle: impl Fn(Store) -> Store,
) -> Result<Rotated, RotateError> {
    if locked.is_new() {
        return Err(RotateError::NoDatabase);
    }
    let present = source.load()?.ok_or(RotateError::NoKey { setting: source.setting() })?;
    let resumed = present.ids().count() > 1;
    let database = Sqlite::open_locked(locked, present.clone())?;
    let keys = if resumed { present } else { add_key(source, &present, world)? };
    let database = database.with_keys(keys.clone())?;
    reseal(&handle(database.clone().into()), batch, world).await?;
    database.fold_log().await?;
    finish(source, &keys, resumed)
}

/// The same where controllers share the database. None of them may run: each holds the keys that it has read.
async fn rotate_shared(
    address: &PostgresAddress,
    files: &FileSettings,
    world: &World,
) -> Result<Rotated, RotateError> {
    let (source, roots) = (&files.master_key, &files.extra_roots);
    if keys_of_postgres(address, roots).await?.is_none() {
        return Err(RotateError::NoDatabase);
    }
    let present = source.load()?.ok_or(RotateError::NoKey { setting: source.setting() })?;
    let resumed = present.ids().count() > 1;
    let open = |keys: &Sealer| Postgres::connect(address, keys.clone(), world.rng.child("postgres"), roots);
    let running = open(&present).await?.running_controllers().await?;
    if running > 0 {
        return Err(RotateError::Running { running });
    }
    let keys = if resumed { present } else { add_key(source, &present, world)? };
    reseal(&open(&keys).await?.into(), BATCH, world).await?;
    finish(source, &keys, resumed)
}

/// Seals everything with the key that seals, and retires the others.
async fn reseal(store: &Store, batch: u64, world: &World) -> Result<(), StoreError> {
    while let Resealed::More(looked_at) = store.reseal(batch).await? {
        tracing::debug!(looked_at, "values are sealed anew");
    }
    store.retire_old_keys(world.clock.now()).await
}

/// The old keys leave the file.
fn finish(source: &KeySource, keys: &Sealer, resumed: bool) -> Result<Rotated, RotateError> {
    if let KeySource::File(path) = source {
        seal::replace(path, &keys.keys()[..1])?;
    }
    let ids: Vec<KeyId> = keys.ids().collect();
    Ok(Rotated {
        key: ids[0].to_string(),
        retired: ids[1..].iter().map(KeyId::to_string).collect(),
        resumed: resumed && matches!(source, KeySource::File(_)),
    })
}

/// A new key beside the present one: from here on the new one seals, and both open.
fn add_key(source: &KeySource, present: &Sealer, world: &World) -> Result<Sealer, RotateError> {
    let path = match source {
        KeySource::File(path) => path,
        KeySource::Given { .. } => {
            return Err(RotateError::NotOurs { setting: source.setting(), old: "MASTER_KEY_OLD" });
        }
        KeySource::Credential(_) => {
            let old = "the credential master.key.old";
            return Err(RotateError::NotOurs { setting: source.setting(), old });
        }
    };
    let new = MasterKey::generate(&world.rng);
    let keys = [vec![new.clone()], present.keys()].concat();
    seal::replace(path, &keys)?;
    tracing::info!(key = %new.id(), path = %path.display(), "a new master key stands beside the old one");
    Ok(Sealer::with_old(new, present.keys(), source.setting()))
}

async fn list(files: &FileSettings, output: Output) -> Result<Exit, CliError> {
    let known = match &files.database {
        DatabaseAddress::File(path) => keys_of_database(path)?,
        DatabaseAddress::Postgres(address) => {
            keys_of_postgres(address, &files.extra_roots).await?.unwrap_or_default()
        }
    };
    let held: Vec<String> =
        files.master_key.load()?.iter().flat_map(Sealer::ids).map(|id| id.to_string()).collect();
    let state = |key: &KnownKey| match (&key.retired_at, held.first() == Some(&key.id)) {
        (Some(at), _) => format!("retired {at}"),
        (None, true) => "seals".to_owned(),
        (None, false) => "being retired: run shoal key rotate".to_owned(),
    };
    let missing = known.iter().any(|key| key.retired_at.is_none() && !held.contains(&key.id));
    let rows: Vec<_> = known.iter().map(|key| {
        json!({ "key": key.id, "state": state(key), "values": key.values, "held": held.contains(&key.id) })
    }).collect();
    output.print(&json!({ "keys": rows }), |_| {
        table(
            ["KEY", "VALUES", "HELD", "STATE"],
            known.iter().map(|key| {
                let is_held = if held.contains(&key.id) { "yes" } else { "no" };
                [key.id.clone(), key.values.to_string(), is_held.to_owned(), state(key)]
            }),
        )
    });
    Ok(if missing { Exit::Failed } else { Exit::Done })
}

#[cfg(test)]
mod tests;
