//! What 100,000 jobs in the database cost: start-up, lists and filters, each beside a database with twenty; and
//! retention, which removes them while the controller answers.
//!
//! The inventory has 10,000 servers. Twenty real installations of simulated hosts are copied row by row under new ids, so
//! that events, recipes and read traces are as large as they are. The audit log is not copied: a copy would break its chain.

use std::path::Path;
use std::time::Duration;

use http::Method;
use rusqlite::Connection;
use serde_json::Value;
use tokio::time::Instant;

use crate::measure::{median, ms};
use crate::site::{Site, simulate};

const INSTALLED: usize = 20;
const COPIES: usize = 5000;
const SERVERS: usize = 10_000;
const ROUNDS: usize = 9;
/// As if they had ended so long ago.
const AGE_DAYS: i64 = 100;

pub fn measure() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let mut site = Site::start().await;
        let (_simulator, machines) = simulate(INSTALLED, &site.client.base);
        site.submit(&machines).await;
        site.await_all().await;
        site.add_servers(SERVERS - INSTALLED).await;
        let few = Looks::take(&mut site).await;
        site.stop();
        let few_mib = mib(&site.database());
        let filling = Instant::now();
        copy(&site.database()).expect("rows of this version's tables");
        println!(
            "database: {few_mib} MiB with {INSTALLED} jobs, {} MiB with {}; written in: {} s",
            mib(&site.database()),
            INSTALLED * COPIES,
            filling.elapsed().as_secs(),
        );
        site.start_again(NEVER).await;
        let many = Looks::take(&mut site).await;
        for ((what, few), (_, many)) in few.0.iter().zip(&many.0) {
            println!("{what}: {} ms with {INSTALLED}, {} ms with all (aim: under 50)", ms(*few), ms(*many));
        }
        expire(&mut site).await;
    });
}

const NEVER: &[(&str, &str)] = &[("JOB_RETENTION", "never")];

/// Medians of what people and programs ask for.
struct Looks(Vec<(String, Duration)>);

impl Looks {
    async fn take(site: &mut Site) -> Looks {
        let mut starts = Vec::new();
        for _ in 0..ROUNDS {
            site.stop();
            starts.push(site.start_again(NEVER).await);
        }
        let mut looks = vec![("start-up".to_owned(), median(starts))];
        let page = site.client.call(Method::GET, "/api/v1/jobs", &Value::Null).await;
        let newest = &page["jobs"][0];
        let serial = newest["server_serial"].as_str().expect("a job has a server");
        let cursor = newest["job_id"].as_str().expect("a job has an id");
        for path in [
            "/api/v1/jobs".to_owned(),
            "/api/v1/jobs?limit=500".to_owned(),
            "/api/v1/jobs?status=failed".to_owned(),
            format!("/api/v1/jobs?server_serial={serial}"),
            format!("/api/v1/jobs?cursor={cursor}"),
            "/api/v1/servers".to_owned(),
            format!("/api/v1/servers/{serial}"),
            "/api/v1/events".to_owned(),
            format!("/api/v1/events?server_serial={serial}"),
            "/api/v1/events?level=error".to_owned(),
            "/api/v1/audit".to_owned(),
            "/metrics".to_owned(),
        ] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                let start = Instant::now();
                site.client.call(Method::GET, &path, &Value::Null).await;
                times.push(start.elapsed());
            }
            looks.push((path.replace(serial, "SERIAL").replace(cursor, "CURSOR"), median(times)));
        }
        Looks(looks)
    }
}

/// Lets retention remove the copies, and looks at the list of jobs meanwhile.
async fn expire(site: &mut Site) {
    site.stop();
    let before = mib(&site.database());
    let start = Instant::now();
    site.start_again(&[("JOB_RETENTION", "90d")]).await;
    let mut looks = Vec::new();
    loop {
        let look = Instant::now();
        let page = site.client.call(Method::GET, "/api/v1/jobs?limit=500", &Value::Null).await;
        looks.push(look.elapsed());
        let jobs = page["jobs"].as_array().map_or(0, Vec::len);
        if jobs <= INSTALLED && mib(&site.database()) < before / 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = start.elapsed().as_secs();
    let slowest = looks.iter().max().copied().unwrap_or_default();
    println!(
        "retention: {took} s in all, {before} MiB before, {} MiB after; a list of jobs meanwhile: {} ms by the median, {} ms at most",
        mib(&site.database()),
        ms(median(looks)),
        ms(slowest),
    );
    println!("peak memory of the controller meanwhile: {} MiB", site.usage().memory_mib);
}

/// Of the database and its write-ahead log.
fn mib(database: &Path) -> u64 {
    let sizes = ["", "-wal"].map(|suffix| {
        let path = format!("{}{suffix}", database.display());
        std::fs::metadata(path).map_or(0, |file| file.len())
    });
    sizes.iter().sum::<u64>() >> 20
}

/// Copies every job and all that belongs to it.
fn copy(database: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(database)?;
    let age = AGE_DAYS * 24 * 60 * 60 * 1000;
    let copy = connection.transaction()?;
    copy.execute_batch(&format!(
        "CREATE TEMP TABLE n AS WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {})
         SELECT k FROM n",
        COPIES - 1
    ))?;
    // A job's id goes on with the number of its copy.
    let id = |column: &str| format!("substr({column}, 1, 20) || printf('%012x', n.k)");
    for table in ["jobs", "recipes", "job_labels", "events", "traces", "hook_reports", "task_reports"] {
        let columns = columns(&copy, table)?;
        let values = columns.iter().map(|column| match (table, column.as_str()) {
            ("jobs", "server") => "printf('MORE%04d', (n.k * 19 + jobs.rowid) % 9980)".to_owned(),
            ("jobs", "id") | (_, "job") => id(&format!("{table}.{column}")),
            ("events", "id") => "NULL".to_owned(),
            (_, "created_at" | "last_update" | "finished_at" | "time") => format!("{table}.{column} - {age}"),
            _ => format!("{table}.{column}"),
        });
        let values: Vec<String> = values.collect();
        let names = columns.join(", ");
        let values = values.join(", ");
        copy.execute_batch(&format!("INSERT INTO {table} ({names}) SELECT {values} FROM {table}, n"))?;
    }
    copy.commit()
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut names = connection.prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))?;
    names.query_map([], |row| row.get(0))?.collect()
}
