//! `shoal backup` and `shoal restore`: a controller's database in one file, and the way back.
//!
//! Both work on files: a backup beside a controller that runs, a restore in the place of one that does not.
//! The master key is never part of it. What may become of jobs is `store::sqlite::backup`'s and the workflow's.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{CliError, Exit};
use crate::config::{FileArgs, FileSettings};
use crate::store::{LockedDatabase, Restored, take_backup};
use shoal_base::world::World;

/// Write the database into one new file. The controller may run.
///
/// Nothing that is secret can be read in it without the master key, which is not in it: keep that elsewhere.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to make.
    file: PathBuf,
    #[command(flatten)]
    files: FileArgs,
}

/// Put a backup in the place of the database. The controller must be stopped; interrupted at any moment, run it
/// again.
///
/// The database that was there is kept beside it under another name. Jobs that were active when the backup was
/// made start no host any more: those that had started theirs are watched to their end, the others fail and say
/// why.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// What `shoal backup` made.
    file: PathBuf,
    /// The controller was stopped before the backup was made and has not run since: every job goes on.
    #[arg(long)]
    resume_all: bool,
    #[command(flatten)]
    files: FileArgs,
}

const BACKUP_ELSEWHERE: &str = "DB_URL names a PostgreSQL database, which its server's tools back up: pg_dump for a \
    copy, or base backups with an archive of the log for any point in time. Secrets in it stay sealed; keep the master \
    key elsewhere";
const RESTORE_ELSEWHERE: &str = "DB_URL names a PostgreSQL database, which its server's tools restore: stop every \
    controller, restore by pg_restore or to a point in time, and run `shoal db restored` before a controller starts, \
    so that no host is started twice";

pub fn backup(args: BackupArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let files = FileSettings::load(args.files).map_err(CliError::usage)?;
    let database = files.database.file().ok_or(BACKUP_ELSEWHERE)?;
    if !database.exists() {
        return Err(format!("there is no database {} (DB_URL)", database.display()).into());
    }
    let taken = take_backup(database, &args.file, world.clock.now())?;
    let body = json!({ "file": args.file, "bytes": taken.bytes, "active_jobs": taken.active_jobs });
    output.print(&body, |_| {
        format!(
            "{}: {} bytes, {} active jobs; the master key is not in it: {}",
            args.file.display(),
            taken.bytes,
            taken.active_jobs,
            "keep it elsewhere"
        )
    });
    Ok(Exit::Done)
}

pub async fn restore(args: RestoreArgs, world: &World, output: Output) -> Result<Exit, CliError> {
    let files = FileSettings::load(args.files).map_err(CliError::usage)?;
    let database = files.database.file().ok_or(RESTORE_ELSEWHERE)?;
    let setting = files.master_key.setting();
    let key = files.master_key.load()?;
    let key =
        key.ok_or_else(|| format!("there is no master key ({setting}): put the backup's own there first"))?;
    let locked = LockedDatabase::lock(database)?;
    let restored = locked.restore(&args.file, key, args.resume_all, world.clock.now()).await?;
    let body = json!({
        "taken_at": restored.taken_at,
        "jobs": restored.jobs,
        "resumed": args.resume_all,
        "before": restored.before,
    });
    output.print(&body, |_| text(&restored, args.resume_all));
    Ok(Exit::Done)
}

fn text(restored: &Restored, resumed: bool) -> String {
    let taken = restored.taken_at.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
    let mut text = format!("restored the database of {taken}");
    if let Some(before) = &restored.before {
        text += &format!("; the previous one was renamed to {}", before.display());
    }
    let ids: Vec<String> = restored.jobs.iter().map(|job| job.to_string()).collect();
    match (ids.as_slice(), resumed) {
        ([], _) => text += "; no job was active",
        (ids, true) => text += &format!("; these jobs go on: {}", ids.join(", ")),
        (ids, false) => {
            text += &format!("; these jobs were active and start no host any more: {}", ids.join(", "));
        }
    }
    text
}
