"""PostgreSQL, PgBouncer and HAProxy, with three controllers and simulated hosts, while everything is killed and frozen.

The controllers start together on an empty database. One reaches it through PgBouncer in transaction mode, and the clock of
one is ten minutes ahead. BMCs fetch their media through HAProxy, which leads each connection to another controller. While
the hosts install, controllers are killed and frozen beyond their leases, the database is restarted, and at last its standby
is promoted. Then each host must have been installed once, each job have one verdict, no medium be left, and a reader that
follows the events by their ids have missed none. HOSTS is how many there are.
"""
import contextlib
import datetime
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import shoal

HOSTS = int(os.environ.get("HOSTS", "60"))
TTL = 20
BIN = pathlib.Path("/usr/lib/postgresql")
INSTALL_SECONDS = 30
# The floor of a verdict on power alone is above an installation's time, as it is by default: a controller that takes a job up
# may have nothing else to go by.
SETTINGS = {"ESXI_STABLE_WINDOW": "3s", "ESXI_POLL_INTERVAL": "1s", "ESXI_PROOF_FLOOR": "1s",
            "ESXI_MIN_INSTALL_TIME": f"{2 * INSTALL_SECONDS}s",
            "JOB_LEASE_TTL": f"{TTL}s", "DRAIN_TIMEOUT": "5s", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
# As long as all jobs may take once nothing is disturbed any more.
END_SECONDS = 600


def main():
    bin_folder = max(BIN.glob("*/bin"), default=None) if BIN.is_dir() else None
    missing = [name for name in ("pgbouncer", "haproxy", "faketime") if not found(name)]
    if bin_folder is None or missing:
        shoal.unfit(f"not installed: {', '.join(missing or ['postgresql'])}")
    shoal.version(re.search(r"[\d.]+", shoal.run(bin_folder / "postgres", "--version").stdout)[0])
    with contextlib.ExitStack() as stack:
        database = Database(bin_folder)
        stack.callback(database.stop)
        stack.enter_context(database.bouncer())
        ports = shoal.free_ports(4)
        media = f"http://127.0.0.1:{ports[3]}"
        stack.enter_context(balancer(ports[:3], ports[3]))
        controllers = [Process(number, port, database, media) for number, port in enumerate(ports[:3])]
        for one in controllers:
            stack.callback(one.kill)
            one.start()
        for one in controllers:
            one.wait(restart=False)
        shoal.check("three controllers started together on an empty database", True)
        shoal.equal("they show one instance id", len({one.health()["instance_id"] for one in controllers}), 1)
        machines = stack.enter_context(shoal.simulator(HOSTS, "--install-seconds", str(INSTALL_SECONDS), "--power", "on"))
        one_dies(controllers, machines[0])
        everything_dies(controllers, database, machines)
        drain(controllers, machines[1])


class Database:
    """A cluster, later its standby, on a Unix socket, as another user where this one is root."""

    def __init__(self, bin_folder):
        self.bin = bin_folder
        self.folder = pathlib.Path("database").resolve()
        self.folder.mkdir()
        if os.geteuid() == 0:
            self.folder.chmod(0o755)
            shoal.run("chown", "postgres", str(self.folder), check=True)
        self.main, self.standby = self.folder / "main", self.folder / "standby"
        self.call("initdb", "-D", self.main, "-U", "shoal", "-A", "trust", "-E", "UTF8", "--no-sync")
        with open(self.main / "postgresql.conf", "a") as settings:
            settings.write(f"listen_addresses = ''\nunix_socket_directories = '{self.folder}'\nfsync = off\n"
                           "max_connections = 200\nwal_level = replica\nsynchronous_standby_names = ''\n")
        self.start(self.main, 5432)
        self.psql("CREATE DATABASE shoal", database="postgres")
        self.call("pg_basebackup", "-D", self.standby, "-h", self.folder, "-p", "5432", "-U", "shoal", "-R", "-X", "stream")
        self.start(self.standby, 5433)
        # A fail-over to a standby that is behind loses what was committed.
        self.psql("ALTER SYSTEM SET synchronous_standby_names = '*'", database="postgres")
        self.psql("SELECT pg_reload_conf()", database="postgres")

    def call(self, program, *arguments):
        done = shoal.run(*as_owner(self.bin / program, *arguments), cwd=self.folder)
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stderr}")
        return done.stdout

    def start(self, cluster, port):
        self.call("pg_ctl", "-D", cluster, "-o", f"-p {port}", "-l", self.folder / f"{cluster.name}.log", "-w", "start")

    def restart(self):
        """As after a crash of the server: every connection is gone."""
        self.call("pg_ctl", "-D", self.main, "-o", "-p 5432", "-l", self.folder / "main.log", "-m", "immediate", "-w", "restart")

    def fail_over(self):
        self.call("pg_ctl", "-D", self.main, "-m", "immediate", "stop")
        self.call("pg_ctl", "-D", self.standby, "-w", "promote")

    def stop(self):
        for cluster in (self.main, self.standby):
            with contextlib.suppress(RuntimeError):
                self.call("pg_ctl", "-D", cluster, "-m", "immediate", "stop")

    def psql(self, sql, port=5432, database="shoal"):
        command = [str(self.bin / "psql"), "-h", str(self.folder), "-p", str(port), "-U", "shoal", "-d", database, "-Atqc", sql]
        return shoal.run(*command, check=True).stdout.strip()

    def url(self, *ports):
        """Of the servers at these ports, of which one takes writes."""
        folder = urllib.parse.quote(str(self.folder), safe="")
        hosts = ",".join(f"{folder}:{port}" for port in ports)
        return f"postgres://shoal@{hosts}/shoal?target_session_attrs=read-write"

    @contextlib.contextmanager
    def bouncer(self):
        """PgBouncer in transaction mode, before the primary and then the standby."""
        settings = self.folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\nshoal = host={self.folder} port=5432 dbname=shoal user=shoal\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n"
            f"unix_socket_dir = {self.folder}\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 20\n"
            "server_login_retry = 1\nquery_wait_timeout = 10\n")
        with shoal.process(as_owner(found("pgbouncer"), settings), "pgbouncer.log"):
            shoal.until((self.folder / ".s.PGSQL.6432").exists, 10, "pgbouncer listens")
            yield


class Process:
    """One controller, which may die, freeze and be started again."""

    KEY, TOKEN = secrets.token_hex(32), secrets.token_hex(16)

    def __init__(self, number, port, database, media):
        self.number, self.port, self.child, self.frozen = number, port, None, False
        self.log = pathlib.Path(f"controller{number}.log")
        folder = f"controller{number}"
        self.environment = {
            **os.environ, **SETTINGS, "DB_URL": database.url(6432) if number == 1 else database.url(5432, 5433),
            "CONTROLLER_HTTP_ADDR": f"127.0.0.1:{port}", "MEDIA_BASE_URL": media, "MASTER_KEY": self.KEY,
            "SHOAL_BOOTSTRAP_TOKEN": self.TOKEN, "TASK_ISO_DIR": f"{folder}/task-isos",
            "INSTALLER_CACHE_DIR": f"{folder}/installers", "IMAGES_DIR": "images",
            "ESXI_INSTALLER_URL": installer()}
        self.before = ["faketime", "-f", "+10m"] if number == 2 else []
        if number == 2:
            # Waits go by the steady clock, as on a machine whose clock is wrong.
            self.environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        self.api = shoal.Controller(f"http://127.0.0.1:{port}", self.TOKEN)

    def start(self):
        with open(self.log, "ab") as written:
            self.child = subprocess.Popen([*self.before, shoal.SHOAL, "serve"], stdin=subprocess.DEVNULL, stdout=written,
                                          stderr=written, env=self.environment, start_new_session=True)

    def wait(self, restart=True):
        """Until it is ready; where it could not start because the database was away, it is started again, as by systemd."""
        def is_ready():
            if self.child.poll() is not None:
                if not (restart and "is unavailable" in self.log.read_text()[-2000:]):
                    raise RuntimeError(f"controller {self.number} ended: {self.log.read_text()[-2000:]}")
                time.sleep(1)
                self.start()
            with contextlib.suppress(OSError):
                return shoal.request(f"{self.api.url}/readyz").status == 200
        shoal.until(is_ready, 60, f"controller {self.number} is ready")

    def health(self):
        return shoal.request(f"{self.api.url}/healthz").json()

    def signal(self, what):
        if self.child and self.child.poll() is None:
            os.killpg(self.child.pid, what)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.child:
            self.child.wait()

    def stop(self):
        self.signal(signal.SIGTERM)
        return self.child.wait(30)


def found(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")


def as_owner(*command):
    """As the user that the database is started as: PostgreSQL refuses root."""
    return [*(["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []), *map(str, command)]


def installer(made={}):
    """One for all."""
    if "path" not in made:
        made["path"] = shoal.installer()
    return made["path"]


@contextlib.contextmanager
def balancer(backends, port, how="    mode tcp\n    balance roundrobin\n"):
    """HAProxy: each connection to the next controller that answers, or `how` else."""
    servers = "".join(f"    server c{number} 127.0.0.1:{backend} check inter 500ms fall 2 rise 1\n"
                      for number, backend in enumerate(backends))
    pathlib.Path("haproxy.cfg").write_text(
        "global\n    maxconn 4000\ndefaults\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n"
        "    retries 3\n    option redispatch\n"
        f"listen media\n    bind 127.0.0.1:{port}\n{how}    option httpchk GET /healthz\n"
        f"    default-server on-marked-down shutdown-sessions\n{servers}")
    with shoal.process([found("haproxy"), "-db", "-f", "haproxy.cfg"], "haproxy.log"):
        shoal.until(lambda: shoal.listens(port), 10, "haproxy listens")
        yield


def one_dies(controllers, machine):
    """A job is driven on within a lease of its controller's death."""
    controllers[0].api.add(machine)
    job = controllers[0].api.submit(shoal.recipe(machine, completion_hook="poweroff"))
    shoal.until(lambda: controllers[0].api.job(job)["step"] == "esxi.poll_power", 60, "the job watches its host")
    owner = shoal.until(lambda: driver(controllers, job), 10, "the job has a driver")
    died = time.time()
    owner.kill()
    others = [one for one in controllers if one is not owner]
    taken = shoal.until(lambda: take_up(others[0], job), 3 * TTL, "the job is taken up again")
    print(f"taken up {taken - died:.1f} s after the death of its controller; the lease is {TTL} s", file=sys.stderr)
    # The clock of one controller is ahead; that of the database is what events have.
    shoal.check("another controller took the job up within a lease", taken - died <= TTL + 5, f"{taken - died:.1f} s")
    ended = others[0].api.ended(job)
    shoal.equal("it ended well", (ended["status"], ended["verdict"]["confidence"]), ("succeeded", "proven"))
    owner.start()
    owner.wait()


def driver(controllers, job):
    """The controller that says that it took the job up."""
    for one in controllers:
        if any("job taken up" in line and job in line for line in one.log.read_text().splitlines()):
            return one
    return None


def take_up(controller, job):
    events = controller.api.read(f"/api/v1/jobs/{job}")["events"]
    times = [event["time"] for event in events if event["op"] == "job.take_up"]
    return epoch(times[0]) if times else None


def epoch(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


class Follower(threading.Thread):
    """Reads the events of all jobs by their ids, from whichever controller answers."""

    def __init__(self, controllers):
        super().__init__(daemon=True)
        self.controllers, self.seen, self.after, self.over = controllers, [], 0, False

    def run(self):
        turn = 0
        while not self.over:
            turn += 1
            try:
                page = self.controllers[turn % len(self.controllers)].api
                answer = request_quickly(f"{page.url}/api/v1/events?after={self.after}&limit=500", page.headers)
                ids = [event["id"] for event in answer["events"]]
                self.seen += ids
                self.after = max([self.after, *ids])
            except (OSError, KeyError, ValueError):
                time.sleep(0.2)
            time.sleep(0.05)


def request_quickly(url, headers):
    with shoal.DIRECT.open(urllib.request.Request(url, headers=headers), timeout=3) as answer:
        return json.loads(answer.read())


def everything_dies(controllers, database, machines):
    for machine in machines[2:]:
        retried(controllers, lambda api: api.add(machine))
    follower = Follower(controllers)
    follower.start()
    jobs = []
    for number, machine in enumerate(machines[2:]):
        recipe = shoal.recipe(machine, completion_hook="poweroff", allow_powered_on=True)
        jobs.append(submit(controllers, number, recipe))
    chance = random.Random(7)
    end = time.monotonic() + max(60, HOSTS / 4)
    restarted = False
    while time.monotonic() < end:
        victim = chance.choice(controllers)
        if chance.random() < 0.6:
            victim.kill()
            time.sleep(chance.uniform(1, TTL / 2))
            victim.start()
        else:
            victim.signal(signal.SIGSTOP)
            time.sleep(TTL + 5)
            victim.signal(signal.SIGCONT)
        if not restarted and time.monotonic() > end - max(30, HOSTS / 8):
            database.restart()
            restarted = True
        time.sleep(chance.uniform(1, 5))
    for one in controllers:
        one.wait()
    shoal.check("every controller is ready after the restart of the database", restarted)
    # The controller behind PgBouncer knows the primary only.
    controllers[1].kill()
    database.fail_over()
    survivors = [controllers[0], controllers[2]]
    for one in survivors:
        one.wait(restart=False)
    shoal.check("the others went over to the promoted standby, and were not started anew", True)
    await_end(survivors, jobs)
    follower.over = True
    follower.join(10)
    judge(survivors[0].api, database, machines[2:], jobs, follower)


def retried(controllers, act):
    for attempt in range(20):
        try:
            return act(controllers[attempt % len(controllers)].api)
        except (OSError, RuntimeError) as error:
            last = error
            time.sleep(0.5)
    raise last


def submit(controllers, number, recipe):
    """Under an idempotency key, as a client that does not hear an answer sends it again, to whichever controller answers."""
    for attempt in range(100):
        api = controllers[(number + attempt) % len(controllers)].api
        with contextlib.suppress(OSError, ValueError):
            answer = api.call("POST", "/api/v1/jobs", recipe, {"Idempotency-Key": f"job-{number}"})
            if answer.status in (200, 202):
                return answer.json()["job_id"]
        time.sleep(0.5)
    raise TimeoutError(f"job {number} is not accepted")


def await_end(controllers, jobs):
    def are_over():
        with contextlib.suppress(OSError, RuntimeError):
            return all(controllers[0].api.job(job)["finished_at"] for job in reversed(jobs))
    shoal.until(are_over, END_SECONDS, "all jobs are over")


def judge(api, database, machines, jobs, follower):
    states = [machine.state() for machine in machines]
    found = [api.job(job) for job in jobs]
    shoal.equal("every job succeeded", [job["reason"] for job in found if job["status"] != "succeeded"], [])
    shoal.equal("each host was installed once", [state["serial"] for state in states if state["installs"] != 1], [])
    shoal.equal("no installation was interrupted", [state["serial"] for state in states if state["interrupted_installs"]], [])
    left = [state["serial"] for state in states if any(medium["inserted"] for medium in state["media"].values())]
    shoal.equal("no medium is left", left, [])
    verdicts = [len({json.dumps(event["detail"].get("confidence")) for event in job["events"]
                     if event["op"] == "esxi.poll_power" and event["status"] == "succeeded"}) for job in found]
    shoal.equal("each job has one verdict", [count for count in verdicts if count != 1], [])
    ids = [int(line) for line in database.psql("SELECT id FROM events ORDER BY id", 5433).split()]
    first = min(follower.seen)
    shoal.equal("the reader missed no event", sorted(set(ids) - set(follower.seen) - set(range(first))), [])
    shoal.equal("and saw none twice", len(follower.seen), len(set(follower.seen)))
    audit = api.read("/api/v1/audit/verify")
    shoal.check("the chain of the audit log holds", audit["ok"], audit)
    taken = sum(1 for job in found for event in job["events"] if event["op"] == "job.take_up")
    print(f"{len(jobs)} jobs, {len(ids)} events, {taken} take-overs", file=sys.stderr)


def drain(controllers, machine):
    """A stop hands the jobs over within seconds, long before a lease ends."""
    first, second = controllers[0], controllers[2]
    second.api.add(machine)
    second.kill()
    job = first.api.submit(shoal.recipe(machine, completion_hook="poweroff", allow_powered_on=True))
    shoal.until(lambda: first.api.job(job)["step"] == "esxi.poll_power", 60, "the job watches its host")
    second.start()
    second.wait()
    stopped = time.time()
    shoal.equal("a controller stops on SIGTERM", first.stop(), 0)
    taken = shoal.until(lambda: take_up(second, job), 2 * TTL, "the job is handed over")
    print(f"handed over {taken - stopped:.1f} s after SIGTERM", file=sys.stderr)
    shoal.check("its job was handed over before its lease could end", taken - stopped < TTL / 2, f"{taken - stopped:.1f} s")
    shoal.equal("the job ended well", second.api.ended(job)["status"], "succeeded")


if __name__ == "__main__":
    main()
