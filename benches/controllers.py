"""What 1, 2 and 3 controllers cost on one PostgreSQL database: `cargo xtask bench controllers`.

Each number of controllers gets a database of its own (flushed to disk, no standby, behind a proxy that counts bytes), an
inventory of SERVERS records, and JOBS simulated hosts that install at the same time; BMCs fetch their media through a
balancer that leads each path to one controller. Counted are transactions, written log and bytes of the database, and CPU time and memory of every process; on a
machine with few cores the sums count, not the time taken. Then `pgbench` measures how many transactions that number events
the disk takes. SHOAL is the binary; STATEMENTS=1 lists the statements that were executed most often.
"""
import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/outside"))
import several_controllers as several  # noqa: E402
import shoal  # noqa: E402

SERVERS = int(os.environ.get("SERVERS", "10000"))
JOBS = int(os.environ.get("JOBS", "1000"))
NUMBERS = [int(number) for number in os.environ.get("CONTROLLERS", "1,2,3").split(",")]
INSTALL_SECONDS = int(os.environ.get("INSTALL_SECONDS", "240"))
IDLE_SECONDS = 30
END_SECONDS = 3600
TICKS = os.sysconf("SC_CLK_TCK")
# As by default, but for what would make the run long.
SETTINGS = {"ESXI_STABLE_WINDOW": "30s", "ESXI_POLL_INTERVAL": "10s", "LOG_FORMAT": "json", "LOG_LEVEL": "warn",
            "WRITES_PER_MINUTE": "100000", "ESXI_MIN_INSTALL_TIME": f"{2 * INSTALL_SECONDS}s"}


def main():
    rows = []
    with tempfile.TemporaryDirectory(prefix="shoal-controllers.", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)
        os.chdir(folder)
        installer = shoal.installer()
        for number in NUMBERS:
            with shoal.folder(f"with-{number}"):
                rows.append(measure(number, installer))
                print(json.dumps(rows[-1]), flush=True)
        print(table(rows))
        with shoal.folder("flushes"):
            print(flushes())


def measure(number, installer):
    with contextlib.ExitStack() as stack:
        database = Cluster(stack)
        *ports, media_port, database_port = shoal.free_ports(number + 2)
        stack.enter_context(several.balancer(ports, media_port, "    mode http\n    balance uri\n"))
        stats = stack.enter_context(counting_proxy(database_port, database.port))
        controllers = [Controller(index, port, f"http://127.0.0.1:{media_port}", database_port, number, installer)
                       for index, port in enumerate(ports)]
        for one in controllers:
            stack.callback(one.kill)
            one.start()
            one.wait()
        machines = stack.enter_context(shoal.simulator(JOBS, "--install-seconds", str(INSTALL_SECONDS), "--power", "on"))
        add_servers(controllers[0].api, machines)
        time.sleep(5)
        look = lambda: seen(database, stats, controllers)
        before = look()
        time.sleep(IDLE_SECONDS)
        idle = look()
        jobs = submit(controllers, machines)
        shoal.until(lambda: all_watch(controllers[0].api), END_SECONDS, "all jobs watch their hosts")
        watch = look()
        time.sleep(IDLE_SECONDS)
        watched = look()
        shoal.until(lambda: all(job["finished_at"] for job in pages(controllers[0].api)), END_SECONDS, "all jobs are over")
        done = look()
        if os.environ.get("STATEMENTS"):
            print(database.statements(), file=sys.stderr)
        judge(controllers[0].api, machines, jobs)
        per_second = lambda start, end, name: (end[name] - start[name]) / (end["at"] - start["at"])
        row = {"controllers": number, "jobs": JOBS, "servers": SERVERS, "seconds": round(done["at"] - idle["at"])}
        for name in ("transactions", "writes", "rollbacks", "database_cpu", "controller_cpu"):
            row[f"idle_{name}_per_s"] = round(per_second(before, idle, name), 3)
            row[f"watch_{name}_per_s"] = round(per_second(watch, watched, name), 3)
        for name in ("transactions", "writes", "rollbacks", "events", "log_bytes", "to_database", "from_database",
                     "database_cpu", "controller_cpu"):
            row[f"{name}_per_job"] = round((done[name] - idle[name]) / JOBS, 3)
        row["controller_peak_mib"] = [one.peak_mib() for one in controllers]
        row["database_mib"] = database.memory_mib()
        return row


class Cluster:
    """One server on loopback and a Unix socket, as it is set up by Debian but for its place."""

    def __init__(self, stack):
        self.bin = max(several.BIN.glob("*/bin"))
        self.folder = pathlib.Path("database").resolve()
        self.folder.mkdir()
        if os.geteuid() == 0:
            shoal.run("chown", "postgres", str(self.folder), check=True)
        [self.port] = shoal.free_ports(1)
        self.call("initdb", "-D", self.folder / "main", "-U", "shoal", "-A", "trust", "-E", "UTF8", "--no-sync")
        with open(self.folder / "main/postgresql.conf", "a") as settings:
            settings.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{self.folder}'\n"
                           "max_connections = 200\nshared_preload_libraries = 'pg_stat_statements'\n")
        self.call("pg_ctl", "-D", self.folder / "main", "-l", self.folder / "log", "-w", "start")
        stack.callback(self.call, "pg_ctl", "-D", self.folder / "main", "-m", "immediate", "stop")
        self.psql("CREATE DATABASE shoal", "postgres")
        self.psql("CREATE EXTENSION pg_stat_statements")
        self.master = int((self.folder / "main/postmaster.pid").read_text().split()[0])

    def call(self, program, *arguments):
        done = shoal.run(*several.as_owner(self.bin / program, *arguments), cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout

    def psql(self, sql, database="shoal"):
        return self.call("psql", "-h", self.folder, "-p", self.port, "-U", "shoal", "-d", database, "-Atqc", sql).strip()

    def counts(self):
        sql = """SELECT xact_commit, xact_rollback, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
            coalesce((SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'writes'), 0),
            coalesce((SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'events'), 0)
            FROM pg_stat_database WHERE datname = 'shoal'"""
        names = ("transactions", "rollbacks", "log_bytes", "writes", "events")
        return dict(zip(names, map(int, self.psql(sql).split("|"))))

    def statements(self):
        return self.psql("SELECT calls, round(total_exec_time) AS ms, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 150) "
                         "FROM pg_stat_statements ORDER BY calls DESC LIMIT 40")

    def processes(self):
        found = subprocess.run(["ps", "--ppid", str(self.master), "-o", "pid="], capture_output=True, text=True)
        return [self.master, *map(int, found.stdout.split())]

    def cpu(self):
        """Of those that have ended too, which the first one has waited for."""
        return cpu(self.master, ended=True) + sum(cpu(process) for process in self.processes()[1:])

    def memory_mib(self):
        """Each page once."""
        return round(sum(proportional_kib(process) for process in self.processes()) / 1024)


class Controller(several.Process):
    """One that only works: no pooler, no wrong clock."""

    def __init__(self, index, port, media, database_port, number, installer):
        self.number, self.port, self.child, self.frozen = index, port, None, False
        self.log, self.before = pathlib.Path(f"controller{index}.log"), []
        folder = f"controller{index}"
        self.environment = {
            **os.environ, **SETTINGS, "DB_URL": f"postgres://shoal@127.0.0.1:{database_port}/shoal",
            "CONTROLLER_HTTP_ADDR": f"127.0.0.1:{port}", "MEDIA_BASE_URL": media, "MASTER_KEY": self.KEY,
            "SHOAL_BOOTSTRAP_TOKEN": self.TOKEN, "TASK_ISO_DIR": f"{folder}/task-isos",
            "INSTALLER_CACHE_DIR": f"{folder}/installers", "IMAGES_DIR": "images", "ESXI_INSTALLER_URL": installer,
            # Each takes its share, as many controllers would that are as busy.
            "WORKER_CONCURRENCY": str(-(-JOBS // number))}
        self.api = shoal.Controller(f"http://127.0.0.1:{port}", self.TOKEN)

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)


@contextlib.contextmanager
def counting_proxy(port, behind):
    """Gives a function that tells how many bytes went to the database and came from it."""
    stats = pathlib.Path("proxy.sock").resolve()
    pathlib.Path("proxy.cfg").write_text(
        f"global\n    maxconn 1000\n    stats socket {stats}\ndefaults\n    mode tcp\n    option contstats\n    timeout connect 2s\n"
        "    timeout client 600s\n    timeout server 600s\n"
        f"listen database\n    bind 127.0.0.1:{port}\n    server one 127.0.0.1:{behind}\n")

    def read():
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(stats))
            client.sendall(b"show stat\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        names, *lines = [line.split(",") for line in text.lstrip("# ").splitlines() if line]
        [backend] = [dict(zip(names, line)) for line in lines if line[:2] == ["database", "BACKEND"]]
        return int(backend["bin"]), int(backend["bout"])

    with shoal.process([several.found("haproxy"), "-db", "-f", "proxy.cfg"], "proxy.log"):
        shoal.until(lambda: shoal.listens(port), 10, "the proxy listens")
        yield read


def cpu(process, ended=False):
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15 if ended else 13])) / TICKS
    return 0


def proportional_kib(process):
    with contextlib.suppress(OSError, TypeError):
        text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1])
    return 0


def seen(database, stats, controllers):
    # Backends report what they have counted once a second at most.
    time.sleep(2)
    to_database, from_database = stats()
    return {"at": time.monotonic(), **database.counts(), "to_database": to_database, "from_database": from_database,
            "database_cpu": database.cpu(), "controller_cpu": sum(cpu(one.child.pid) for one in controllers)}


def add_servers(api, machines):
    """The simulated ones and as many others as there are to be."""
    real = [{"serial": one.serial, "bmc_address": one.url, "bmc_username": one.username, "bmc_password": one.password,
             "tls": one.tls or "verify"} for one in machines]
    others = [{"serial": f"OTHER{number:05}", "bmc_address": f"https://10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
               "bmc_username": "root", "bmc_password": secrets.token_hex(8), "tls": "insecure"}
              for number in range(SERVERS - len(real))]
    rows = real + others
    for start in range(0, len(rows), 5000):
        answer = api.call("POST", "/api/v1/import/servers", {"servers": rows[start:start + 5000]})
        if answer.status != 200:
            raise RuntimeError(f"the inventory is refused: {answer.status} {answer.body[:300]}")


def submit(controllers, machines):
    jobs = []
    for index, machine in enumerate(machines):
        recipe = shoal.recipe(machine, completion_hook="poweroff", allow_powered_on=True)
        jobs.append(controllers[index % len(controllers)].api.submit(recipe))
    return jobs


def all_watch(api):
    return all(job["step"] == "esxi.poll_power" for job in pages(api))


def pages(api):
    time.sleep(2)
    cursor = ""
    while cursor is not None:
        page = api.read(f"/api/v1/jobs?limit=500{cursor}")
        yield from page["jobs"]
        cursor = f"&cursor={page['next_cursor']}" if page.get("next_cursor") else None


def judge(api, machines, jobs):
    found = {job["job_id"]: job for job in pages(api)}
    failed = [found[job]["reason"] for job in jobs if found[job]["status"] != "succeeded"]
    installs = [machine.serial for machine in machines if machine.state()["installs"] != 1]
    if failed or installs:
        raise RuntimeError(f"{len(failed)} jobs failed ({failed[:3]}); hosts not installed once: {installs[:3]}")


def table(rows):
    names = [name for name in rows[0] if name not in ("controllers", "jobs", "servers")]
    lines = [f"| {JOBS} jobs, {SERVERS} servers | " + " | ".join(str(row["controllers"]) for row in rows) + " |",
             "|---|" + "---|" * len(rows)]
    return "\n".join(lines + [f"| {name} | " + " | ".join(str(row[name]) for row in rows) + " |" for name in names])


# As a save: a token, a row that is changed, and one event that is numbered under the lock; or without the lock.
SAVE = """BEGIN;
INSERT INTO writes VALUES (gen_random_uuid());
UPDATE work SET state = state || '' WHERE id = 1 + (random() * 999)::int;
{lock}
INSERT INTO numbered (text) VALUES (repeat('x', 300));
COMMIT;
"""


def flushes():
    with contextlib.ExitStack() as stack:
        cluster = Cluster(stack)
        cluster.psql("CREATE TABLE writes (token uuid PRIMARY KEY); CREATE TABLE work (id int PRIMARY KEY, state text); "
                     "INSERT INTO work SELECT id, repeat('x', 2000) FROM generate_series(1, 1000) AS id; "
                     "CREATE TABLE numbered (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, text text)")
        lines = ["| connections | transactions/s under the lock | without it |", "|---|---|---|"]
        for clients in (1, 4, 16, 48):
            rates = [rate(cluster, clients, lock) for lock in ("SELECT pg_advisory_xact_lock(1);", "")]
            lines.append(f"| {clients} | {rates[0]} | {rates[1]} |")
        flush = cluster.call("pg_test_fsync", "-s", "2", "-f", cluster.folder / "flush")
        found = re.search(r"fdatasync\s+([\d.]+) ops/sec", flush)
        return "\n".join([*lines, f"flushes of one 8 KiB block: {found[1]}/s"])


def rate(cluster, clients, lock):
    script = cluster.folder / "save.sql"
    script.write_text(SAVE.format(lock=lock))
    told = cluster.call("pgbench", "-n", "-h", cluster.folder, "-p", cluster.port, "-U", "shoal", "-f", script, "-c", clients,
                        "-j", 2, "-T", 10, "shoal")
    return round(float(re.search(r"tps = ([\d.]+)", told)[1]))


if __name__ == "__main__":
    main()
