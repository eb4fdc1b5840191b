"""`dist/shoal.service` under systemd itself, in a container of this machine's own /usr.

systemd-nspawn boots the machine's systemd with an empty /var and an /etc of what the unit's own header says; the
driver joins its network. Looked at: who the service is and what it may do, as the kernel tells it; an installation
in which it is killed; and what operators do as root beside it, or while it is stopped.
"""
import os
import pathlib
import re
import secrets
import shutil
import ssl
import stat
import time

import booted
import pages
import shoal
from booted import ADDRESS, LISTENER, STATE, admin, ready

UNIT = pathlib.Path(__file__).parents[2] / "dist/shoal.service"
KEY = "/etc/credstore/shoal.master-key"
# What an operator's shell is told, since the unit's settings are in the unit.
AS_OPERATOR = ["env", f"DB_URL={STATE}/shoal.db", f"MASTER_KEY_FILE={KEY}"]
GUIDE = "docs/operations.md"
SETTINGS = {"esxi_installer_url": "/srv/installer.iso", "esxi_stable_window": "2s", "esxi_poll_interval": "200ms",
            "esxi_min_install_time": "2s", "esxi_proof_floor": "1s"}
# What `cargo xtask dist` asks of the unit too.
MOST_EXPOSED = 1.5


def main():
    if os.geteuid() != 0:
        shoal.unfit("only root can boot a container")
    shoal.version(re.match(r"systemd (\d+)", shoal.run("systemd-nspawn", "--version").stdout)[1])
    make_etc(pathlib.Path("etc"))
    pathlib.Path("srv").mkdir()
    shutil.copy(shoal.installer(), "srv/installer.iso")
    pathlib.Path("local/bin").mkdir(parents=True)
    shutil.copy(shoal.SHOAL, "local/bin/shoal")
    here = pathlib.Path.cwd()
    with booted.container("--directory=/", "--volatile=yes", f"--bind={here}/etc:/etc",
                          f"--bind-ro={here}/local:/usr/local", f"--bind-ro={here}/srv:/srv") as inside:
        confined(inside)
        measured(inside)
        with shoal.simulator(2, "--install-seconds", "6") as machines:
            installs_though_killed(inside, machines[0])
            operated(inside, machines)
            starts_at_any_time(inside, machines)
            in_production(inside, machines[1])
        inside.run("systemctl", "stop", "shoal")
        shoal.equal("it stops when it is asked to", inside.show("Result", "ExecMainStatus"), ["success", "0"])
        refused = [line for line in inside.journal() if "not permitted" in line or "ermission denied" in line]
        shoal.equal("nothing that it asked of the kernel was refused", refused, [])


def make_etc(etc):
    """The unit as its header has it installed, and what a machine is that has been booted before."""
    (etc / "systemd/system/multi-user.target.wants").mkdir(parents=True)
    shutil.copy(UNIT, etc / "systemd/system")
    (etc / "systemd/system/multi-user.target.wants/shoal.service").symlink_to("/etc/systemd/system/shoal.service")
    (etc / "machine-id").write_text(secrets.token_hex(16) + "\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    for name in ("passwd", "group", "nsswitch.conf"):
        shutil.copy(pathlib.Path("/etc") / name, etc)
    (etc / "shoal").mkdir()
    (etc / "shoal/shoal.toml").write_text("".join(f'{name} = "{value}"\n' for name, value in SETTINGS.items()))
    (etc / "credstore").mkdir(mode=0o700)
    (etc / "credstore/shoal.master-key").write_bytes(secrets.token_bytes(32))
    (etc / "credstore/shoal.master-key").chmod(0o600)


def confined(inside):
    """Who it is."""
    shoal.until(ready, shoal.START_SECONDS, "the service is ready")
    shoal.equal("it is up", inside.show("ActiveState", "NRestarts"), ["active", "0"])
    status = dict(line.split(":\t", 1) for line in inside.read(f"/proc/{inside.show('MainPID')[0]}/status").splitlines()
                  if ":\t" in line)
    uids = set(status["Uid"].split())
    shoal.check("it is one user, not root", len(uids) == 1 and uids != {"0"}, uids)
    user = uids.pop()
    shoal.check("that user is in no file", f":{user}:" not in inside.read("/etc/passwd"), user)
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        shoal.equal(f"no capability in {kind}", int(status[kind], 16), 0)
    shoal.equal("no privilege can be gained", status["NoNewPrivs"], "1")
    shoal.equal("system calls are filtered", status["Seccomp"], "2")
    files = inside.files()
    shoal.check("its files are there", any(path.endswith("/shoal.db") for *_, path in files), files)
    shoal.equal("they are its own", {owner for owner, *_ in files}, {user})
    shoal.equal("nobody else reads them", [path for _, mode, kind, path in files
                                           if int(mode, 8) & (stat.S_IRWXG | stat.S_IRWXO)], [])
    shoal.equal("no key is among them", [path for *_, path in files if "key" in path], [])
    told = inside.run("systemd-analyze", "security", "--no-pager", "shoal.service").stdout
    exposed = float(re.search(r"exposure level for shoal.service: ([\d.]+)", told)[1])
    shoal.check(f"systemd finds its exposure to be {MOST_EXPOSED} at most", exposed <= MOST_EXPOSED, exposed)


def measured(inside):
    """That the sandbox hides nothing of the process from its own metrics."""
    page = admin(inside).call("GET", "/metrics").body.decode()
    values = dict(re.findall(r"^(process_\w+) (\S+)$", page, re.MULTILINE))
    for name in ("cpu_seconds_total", "max_fds", "open_fds", "resident_memory_bytes", "start_time_seconds", "threads",
                 "virtual_memory_bytes"):
        shoal.check(f"process_{name} is told", f"process_{name}" in values, values)
    begun = float(values.get("process_start_time_seconds", 0))
    shoal.check("it began a moment ago", 0 <= time.time() - begun < 120, begun)


def installs_though_killed(inside, machine):
    controller = admin(inside)
    controller.add(machine)
    job = controller.submit(shoal.recipe(machine))
    shoal.until(lambda: controller.job(job)["step"] == "esxi.poll_power", 60, "the installation is watched")
    inside.run("systemctl", "kill", "--signal=KILL", "shoal")
    shoal.until(lambda: inside.show("NRestarts") == ["1"] and ready(), 60, "systemd starts it again")
    shoal.equal("a job goes on after a kill", controller.ended(job)["status"], "succeeded")
    state = machine.state()
    shoal.equal("its machine was installed once", [state["installs"], state["interrupted_installs"]], [1, 0])


def operated(inside, machines):
    """What operators do as root: beside the service, and while it is stopped."""
    in_one_go, _, _, by_given_key = pages.marked(GUIDE, "systemd_unit.py")
    reader = pages.Reader(GUIDE, "/run", inside.run)
    first, second = "/backup/shoal.backup", "/backup/second.backup"
    inside.run("mkdir", "/backup")
    inside.done("the audit is whole", *AS_OPERATOR, "shoal", "audit", "verify", "--db", f"{STATE}/shoal.db",
                "--master-key-file", KEY)
    admin(inside).add(machines[1])
    reader.do(in_one_go)
    goes_on(inside, "with the new key", machines)
    inside.run("systemctl", "stop", "shoal")
    inside.run("cp", KEY, f"{KEY}.old")
    pathlib.Path("etc/credstore/shoal.master-key").write_bytes(secrets.token_bytes(32))
    reader.do(by_given_key)
    inside.run("rm", f"{KEY}.old")
    goes_on(inside, "with the key that was given", machines)
    inside.run("systemctl", "stop", "shoal")
    refused = inside.run(*AS_OPERATOR, "shoal", "restore", first)
    shoal.check("a backup from before the rotation needs the key of then", refused.returncode == 1, refused.stdout)
    inside.done("a backup is taken of the stopped one", *AS_OPERATOR, "shoal", "backup", second)
    inside.done("it is put back", *AS_OPERATOR, "shoal", "restore", second)
    goes_on(inside, "after a restore", machines)
    inside.run("systemctl", "stop", "shoal")
    inside.run("rm", "-r", STATE, "/var/lib/private/shoal")
    inside.done("it is put back on a machine that had none", *AS_OPERATOR, "shoal", "restore", second)
    goes_on(inside, "on another machine", machines)


def starts_at_any_time(inside, machines):
    """More starts in a row than systemd allows by default; scripts that rotate keys and restore come near to it."""
    for _ in range(6):
        inside.run("systemctl", "restart", "shoal")
    goes_on(inside, "after six starts in a row", machines)


def in_production(inside, machine):
    """TLS for the API, plain media on port 80, a BMC's password in a file; as docs/operations.md has it."""
    _, files, settings, _ = pages.marked(GUIDE, "systemd_unit.py")
    pages.Reader(GUIDE, "/run", inside.run).do(files)
    secret = pathlib.Path("etc/shoal/bmc-secrets/rack7")
    secret.write_text(machine.password)
    secret.chmod(0o640)
    inside.run("chgrp", "shoal-files", "/etc/shoal/bmc-secrets/rack7")
    changes = pathlib.Path("etc/systemd/system/shoal.service.d")
    changes.mkdir()
    (changes / "site.conf").write_text(settings.body.replace("10.0.0.5:80", "127.0.0.1:80"))
    inside.run("systemctl", "daemon-reload")
    inside.run("systemctl", "restart", "shoal")
    shoal.until(lambda: ready("https"), shoal.START_SECONDS, "the service is ready")
    controller = admin(inside, "https")
    named = controller.call("PATCH", f"/api/v1/servers/{machine.serial}", {"bmc_password": "file:rack7"})
    shoal.equal("a password in a file is taken", named.status, 200)
    job = controller.submit(shoal.recipe(machine))
    shoal.equal("a machine is installed in this way", controller.ended(job)["status"], "succeeded")
    first = ssl.get_server_certificate(LISTENER)
    inside.done("tls init --force", "shoal", "tls", "init", "--host", "127.0.0.1", "--dir", "/etc/shoal", "--force")
    shoal.until(lambda: ssl.get_server_certificate(LISTENER) != first, 30, "the new certificate is shown")
    shoal.equal("a new certificate needs no start", inside.show("NRestarts", "ActiveState"), ["0", "active"])


def goes_on(inside, when, machines):
    inside.run("systemctl", "start", "shoal")
    try:
        shoal.until(ready, shoal.START_SECONDS, "the service is ready")
    except TimeoutError as late:
        shoal.check(f"it goes on {when}", False, inside.journal()[-3:])
        raise late
    known = [server["serial"] for server in admin(inside).read("/api/v1/servers")["servers"]]
    shoal.equal(f"it goes on {when}", known, [machine.serial for machine in machines])
    owners = {owner for owner, *_ in inside.files()}
    shoal.equal(f"its files are its own {when}", len(owners), 1)


main()
