//! `shoal db`: a controller's database moved between SQLite and PostgreSQL, or marked after a restore.
//!
//! No controller may run. Invariant: of the two databases of a transfer, controllers open one at most, whenever the command
//! is interrupted.

use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::output::{Output, table};
use super::{CliError, Exit};
use crate::config::{FileArgs, FileSettings, TwoDatabases, TwoDatabasesArgs};
use crate::domain::JobId;
use crate::seal::{KeyError, KeySource, Sealer};
use crate::store::{
    DatabaseAddress, LockedDatabase, Postgres, Sqlite, StoreError, TransferSource, TransferredTable,
    keys_of_postgres,
};
use rustls::pki_types::CertificateDer;
use shoal_base::hex;
use shoal_base::world::World;

/// Move the database between SQLite and PostgreSQL, or mark one that was restored.
#[derive(Debug, Args)]
pub struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    Migrate(MigrateArgs),
    Restored(RestoredArgs),
}

/// Transfer everything from one database to another, which must be empty. No controller may run; jobs go on at the new
/// place.
///
/// Each table is read again at the end and compared by count and hash; unless all agree, nothing is transferred. The
/// source keeps its content, and controllers refuse it from then on. The master key stays the same.
#[derive(Debug, Args)]
struct MigrateArgs {
    /// As in DB_URL: sqlite:FILE or postgres://…, or @FILE, a file that holds that.
    #[arg(long, value_name = "DATABASE")]
    from: String,
    #[arg(long, value_name = "DATABASE")]
    to: String,
    #[command(flatten)]
    files: TwoDatabasesArgs,
}

/// Mark a database that was restored by the tools of its server, before a controller starts on it.
///
/// Jobs that were active in it start no host any more: those that had started theirs are watched to their end, the others
/// fail and say why. It is also how a database is used again whose content was transferred to another one.
#[derive(Debug, Args)]
struct RestoredArgs {
    /// No controller has run since the copy was made: every job goes on.
    #[arg(long)]
    resume_all: bool,
    #[command(flatten)]
    files: FileArgs,
}

pub async fn run(args: DbArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    match args.command {
        DbCommand::Migrate(args) => migrate(args, world, output).await,
        DbCommand::Restored(args) => restored(args, world, output).await,
    }
}

#[derive(Debug, thiserror::Error)]
enum DbError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("there is no master key ({setting}): give the one that the database needs")]
    NoKey { setting: &'static str },
    #[error("there is no database {database}")]
    NoDatabase { database: String },
    #[error("{database} already exists: name another file")]
    NotNew { database: String },
    #[error(
        "{running} controllers use {database}: stop them all; one that crashed counts for half a minute more"
    )]
    Running { running: u64, database: String },
    #[error("{leases} jobs of {database} are leased by a controller: stop it, or wait for JOB_LEASE_TTL")]
    Leased { leases: u64, database: String },
}

/// A database that this command has open.
enum OpenDatabase {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

/// What databases are opened with.
struct OpenTerms<'a> {
    keys: &'a Sealer,
    roots: &'a [CertificateDer<'static>],
    world: &'a World,
}

impl OpenTerms<'_> {
    /// One that has content.
    async fn existing(&self, address: &DatabaseAddress) -> Result<OpenDatabase, DbError> {
        let path = match address {
            DatabaseAddress::File(path) => path,
            DatabaseAddress::Postgres(postgres) => {
                if keys_of_postgres(postgres, self.roots).await?.is_none() {
                    return Err(DbError::NoDatabase { database: address.to_string() });
                }
                return self.opened(address).await;
            }
        };
        if !path.exists() || LockedDatabase::lock(path)?.is_new() {
            return Err(DbError::NoDatabase { database: path.display().to_string() });
        }
        self.opened(address).await
    }

    /// One that is to receive content.
    async fn empty(&self, address: &DatabaseAddress) -> Result<OpenDatabase, DbError> {
        if let Some(path) = address.file()
            && path.exists()
            && !LockedDatabase::lock(path)?.is_new()
        {
            return Err(DbError::NotNew { database: path.display().to_string() });
        }
        self.opened(address).await
    }

    /// With the proof that no controller has it open.
    async fn opened(&self, address: &DatabaseAddress) -> Result<OpenDatabase, DbError> {
        let postgres = match address {
            DatabaseAddress::File(path) => {
                let locked = LockedDatabase::lock(path)?;
                return Ok(OpenDatabase::Sqlite(Sqlite::open_locked(locked, self.keys.clone())?));
            }
            DatabaseAddress::Postgres(postgres) => postgres,
        };
        let rng = self.world.rng.child(&address.to_string());
        let postgres = Postgres::connect(postgres, self.keys.clone(), rng, self.roots).await?;
        let database = address.to_string();
        match (postgres.running_controllers().await?, postgres.living_leases().await?) {
            (0, 0) => Ok(OpenDatabase::Postgres(postgres)),
            (0, leases) => Err(DbError::Leased { leases, database }),
            (running, _) => Err(DbError::Running { running, database }),
        }
    }
}

impl OpenDatabase {
    fn source(&self) -> Arc<dyn TransferSource> {
        match self {
            OpenDatabase::Sqlite(sqlite) => Arc::new(sqlite.clone()),
            OpenDatabase::Postgres(postgres) => Arc::new(postgres.clone()),
        }
    }

    async fn receive(&self, source: Arc<dyn TransferSource>) -> Result<Vec<TransferredTable>, StoreError> {
        match self {
            OpenDatabase::Sqlite(sqlite) => {
                let received = sqlite.receive(source).await?;
                sqlite.fold_log().await?;
                Ok(received)
            }
            OpenDatabase::Postgres(postgres) => postgres.receive(source).await,
        }
    }

    async fn set_moved(&self, to: Option<String>) -> Result<(), StoreError> {
        match self {
            OpenDatabase::Sqlite(sqlite) => sqlite.set_moved(to).await,
            OpenDatabase::Postgres(postgres) => postgres.set_moved(to).await,
        }
    }

    async fn mark_restored(&self, resume: bool, now: Timestamp) -> Result<Vec<JobId>, StoreError> {
        match self {
            OpenDatabase::Sqlite(sqlite) => sqlite.mark_restored(resume, now).await,
            OpenDatabase::Postgres(postgres) => postgres.mark_restored(resume, now).await,
        }
    }
}

fn keys(source: &KeySource) -> Result<Sealer, DbError> {
    source.load()?.ok_or(DbError::NoKey { setting: source.setting() })
}

async fn migrate(args: MigrateArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let settings = TwoDatabases::load(args.files, &args.from, &args.to).map_err(CliError::usage)?;
    let (keys, roots) = (keys(&settings.master_key)?, &settings.extra_roots);
    let terms = OpenTerms { keys: &keys, roots, world };
    let from = terms.existing(&settings.from).await?;
    if let Some(path) = settings.to.file() {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    }
    let to = terms.empty(&settings.to).await?;
    // First, so that at no moment controllers would open both.
    from.set_moved(Some(settings.to.to_string())).await?;
    let tables = match to.receive(from.source()).await {
        Ok(tables) => tables,
        Err(error) => {
            from.set_moved(None).await?;
            return Err(error.into());
        }
    };
    let rows: Vec<_> = tables
        .iter()
        .map(|table| json!({ "table": table.table, "rows": table.rows, "sha256": hex(&table.sha256) }))
        .collect();
    let body = json!({ "from": settings.from.to_string(), "to": settings.to.to_string(), "tables": rows });
    output.print(&body, |_| {
        let rows = tables
            .iter()
            .map(|table| [table.table.to_owned(), table.rows.to_string(), hex(&table.sha256[..8])]);
        let verified = table(["TABLE", "ROWS", "SHA-256"], rows);
        format!(
            "{verified}\n{} is now in {}, every table compared; controllers refuse the former from now on",
            settings.from, settings.to
        )
    });
    Ok(Exit::Done)
}

async fn restored(args: RestoredArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let settings = FileSettings::load(args.files).map_err(CliError::usage)?;
    let (keys, roots) = (keys(&settings.master_key)?, &settings.extra_roots);
    let database = OpenTerms { keys: &keys, roots, world }.existing(&settings.database).await?;
    let jobs = database.mark_restored(args.resume_all, world.clock.now()).await?;
    output.print(&json!({ "jobs": jobs, "resumed": args.resume_all }), |_| {
        let ids: Vec<String> = jobs.iter().map(JobId::to_string).collect();
        match (ids.as_slice(), args.resume_all) {
            ([], _) => "marked as restored; no job was active".to_owned(),
            (ids, true) => format!("marked as restored; these jobs go on: {}", ids.join(", ")),
            (ids, false) => format!(
                "marked as restored; these jobs were active and start no host any more: {}",
                ids.join(", ")
            ),
        }
    });
    Ok(Exit::Done)
}
