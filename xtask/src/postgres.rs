//! A PostgreSQL server for tests, with PgBouncer before it: started by whichever test comes first, shared by all of a
//! run, and stopped when no test has used it for a while.
//!
//! It keeps nothing: it does not flush to the disk, and its folder is removed with it. It listens on a Unix socket in a
//! folder of its own only, and runs as another user where the tests are root's, whom PostgreSQL refuses. Invariant: a
//! test that holds a [`TestServer`] has one that runs.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

/// The port in the name of the server's socket.
pub const POSTGRES_PORT: u16 = 5432;
/// That of PgBouncer, in transaction mode.
pub const PGBOUNCER_PORT: u16 = 6432;

/// A server that runs for as long as one of these is kept.
pub struct TestServer {
    /// Holds its sockets.
    pub directory: PathBuf,
    pub bin: PathBuf,
    pub has_pgbouncer: bool,
    /// Locked, shared, by every test that uses the server.
    _user: File,
}

impl TestServer {
    /// The URL of an empty schema of its own, behind the server's socket or that of PgBouncer.
    pub fn new_database(&self, port: u16) -> Result<String, String> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let started = UNIX_EPOCH.elapsed().map_err(|error| error.to_string())?.as_nanos();
        let role = format!("t{started:x}_{}_{number}", std::process::id());
        self.psql(&format!("CREATE ROLE {role} LOGIN; CREATE SCHEMA AUTHORIZATION {role}"))?;
        let directory = self.directory.to_string_lossy().replace('/', "%2F");
        Ok(format!("postgres://{role}@{directory}:{port}/postgres"))
    }

    /// Runs statements as the superuser; returns what they print.
    pub fn psql(&self, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args([
            "-U",
            "shoal",
            "-d",
            "postgres",
            "-v",
            "ON_ERROR_STOP=1",
            "-A",
            "-t",
            "-q",
            "-c",
            sql,
            "-h",
        ]);
        let output = psql.arg(&self.directory).output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// Stops the server once no test has used it for a minute or so.
const SUPERVISOR: &str = r#"
cd "$1"
while sleep 30; do
    exec 9>>start.lock
    flock 9
    if flock --nonblock users.lock true; then
        test -f pgbouncer.pid && kill "$(cat pgbouncer.pid)"
        $2 "$3/pg_ctl" stop -D data -m immediate
        rm -rf data
        exit
    fi
    exec 9>&-
done
"#;

/// The server of this checkout, started if it does not run. `Err` says what is missing.
pub fn test_server() -> Result<TestServer, String> {
    let bin = installed().ok_or(
        "PostgreSQL is not installed: `cargo xtask test` as root, or apt-get install postgresql pgbouncer",
    )?;
    let directory = directory();
    started(&directory, &bin)
        .map_err(|error| format!("the server in {} does not start: {error}", directory.display()))
}

/// The programs of the newest version that Debian has installed.
pub fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
    };
    let mut versions: Vec<(u32, PathBuf)> = versions.filter_map(version).collect();
    versions.retain(|(_, bin)| bin.join("initdb").is_file());
    versions.sort();
    versions.pop().map(|(_, bin)| bin)
}

/// One for each checkout; short, because a socket's path may have 107 bytes.
fn directory() -> PathBuf {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
    std::env::temp_dir().join(format!("shoal-postgres-{:08x}", hasher.finish() as u32))
}

fn started(directory: &Path, bin: &Path) -> Result<TestServer, String> {
    let io = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(directory).map_err(io)?;
    let as_user = owner(directory)?;
    let open = |name: &str| File::options().create(true).append(true).open(directory.join(name)).map_err(io);
    let start = open("start.lock")?;
    start.lock().map_err(io)?;
    let user = open("users.lock")?;
    user.lock_shared().map_err(io)?;
    let has_pgbouncer = Path::new("/usr/sbin/pgbouncer").is_file();
    if !answers(directory, bin, POSTGRES_PORT) {
        start_postgres(directory, bin, &as_user)?;
        if has_pgbouncer {
            start_pgbouncer(directory, bin, &as_user)?;
        }
        let mut supervisor = Command::new("setsid");
        supervisor.args(["sh", "-c", SUPERVISOR, "sh"]).arg(directory).arg(as_user.join(" ")).arg(bin);
        let quiet = |command: &mut Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
        };
        quiet(&mut supervisor).map_err(io)?;
    }
    Ok(TestServer { directory: directory.to_owned(), bin: bin.to_owned(), has_pgbouncer, _user: user })
}

/// What a program that must not be root's is started by.
fn owner(directory: &Path) -> Result<Vec<&'static str>, String> {
    let id = Command::new("id").arg("-u").output().map_err(|error| error.to_string())?;
    if id.stdout.trim_ascii() != b"0" {
        return Ok(Vec::new());
    }
    run(Command::new("chown").arg("postgres").arg(directory))?;
    Ok(vec!["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"])
}

fn command(as_user: &[&str], program: impl AsRef<std::ffi::OsStr>) -> Command {
    match as_user.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}

fn start_postgres(directory: &Path, bin: &Path, as_user: &[&str]) -> Result<(), String> {
    let data = directory.join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data).map_err(|error| error.to_string())?;
    }
    let mut initdb = command(as_user, bin.join("initdb"));
    initdb.arg("-D").arg(&data).args([
        "-U",
        "shoal",
        "--auth=trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]);
    run(&mut initdb)?;
    let settings = format!(
        "listen_addresses = ''\nunix_socket_directories = '{}'\nport = {POSTGRES_PORT}\nmax_connections = 500\n\
         fsync = off\nfull_page_writes = off\nshared_buffers = 64MB\nlog_min_messages = warning\n",
        directory.display()
    );
    let settings_file = File::options().append(true).open(data.join("postgresql.conf"));
    let written = settings_file.and_then(|mut file| file.write_all(settings.as_bytes()));
    written.map_err(|error| error.to_string())?;
    let mut start = command(as_user, bin.join("pg_ctl"));
    start.arg("start").arg("-D").arg(&data).arg("-l").arg(directory.join("postgres.log")).args(["-w", "-s"]);
    run(&mut start)
}

fn start_pgbouncer(directory: &Path, bin: &Path, as_user: &[&str]) -> Result<(), String> {
    let shown = directory.display();
    let settings = format!(
        "[databases]\n* = host={shown} port={POSTGRES_PORT}\n[pgbouncer]\nlisten_addr =\nlisten_port = {PGBOUNCER_PORT}\n\
         unix_socket_dir = {shown}\nauth_type = trust\nauth_file = {shown}/users.txt\nauth_user = shoal\n\
         auth_query = SELECT usename, coalesce(passwd, 'none') FROM pg_shadow WHERE usename = $1\n\
         pool_mode = transaction\nmax_client_conn = 4000\ndefault_pool_size = 8\nserver_idle_timeout = 5\n\
         logfile = {shown}/pgbouncer.log\npidfile = {shown}/pgbouncer.pid\n"
    );
    let write = |name: &str, text: &str| {
        std::fs::write(directory.join(name), text).map_err(|error| error.to_string())
    };
    write("pgbouncer.ini", &settings)?;
    write("users.txt", "\"shoal\" \"\"\n")?;
    let _none_runs = std::fs::remove_file(directory.join("pgbouncer.pid"));
    run(command(as_user, "/usr/sbin/pgbouncer").arg("-d").arg("-q").arg(directory.join("pgbouncer.ini")))?;
    for _ in 0..100 {
        if answers(directory, bin, PGBOUNCER_PORT) {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Err("PgBouncer does not answer".to_owned())
}

fn answers(directory: &Path, bin: &Path, port: u16) -> bool {
    let mut ready = Command::new(bin.join("pg_isready"));
    ready.args(["-q", "-U", "shoal", "-d", "postgres", "-h"]).arg(directory).arg("-p").arg(port.to_string());
    ready.status().is_ok_and(|status| status.success())
}

/// What it prints goes into a file: a server that it leaves behind keeps its output open.
fn run(command: &mut Command) -> Result<(), String> {
    let path = directory().join("start.log");
    let log = File::options().create(true).append(true).open(&path).map_err(|error| error.to_string())?;
    let out = log.try_clone().map_err(|error| error.to_string())?;
    let status = command.stdin(Stdio::null()).stdout(out).stderr(log).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{:?}: {status}; see {}", command.get_program(), path.display())),
        Err(error) => Err(format!("{:?}: {error}", command.get_program())),
    }
}
