"""The commands of the documentation, each page followed by a reader of its own against a live controller and simulated BMCs.

Every block of commands is run as written, in order; what a reader would put in is put in: addresses, serial numbers, ids.
Pages with a driver of their own are named in `ELSEWHERE`. Invariant: a block that is neither run, here or elsewhere, nor
marked with the reason why not, fails.
"""
import contextlib
import json
import multiprocessing
import os
import pathlib
import re
import shutil
import sqlite3
import sys
import time

import pages
import release
import shoal
from pages import PROJECT

# Pages that another driver follows.
ELSEWHERE = {"docs/try-it.md": "practice_page.py", "docs/try-it-esxi.md": "documented_page.py", "docs/install.md": "install_page.py"}
SETTINGS = {"ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms", "ESXI_MIN_INSTALL_TIME": "2s", "ESXI_PROOF_FLOOR": "1s",
            "ESXI_INSTALLER_URL": "esxi.iso", "CONTROLLER_HTTP_ADDR": "0.0.0.0:8080", "SHOAL_SECRET_RACK7": "a-password"}
URL, BMC, SERIAL = "http://10.0.0.5:8080", "10.1.0.17", "CZ20300ABC"
KICKSTART = """vmaccepteula
rootpw Pract1ce-Only!
install --firstdisk=local --overwritevmfs
network --bootproto=dhcp --device=52:54:00:00:00:01
reboot
"""
PAGE_SECONDS = 240


def main():
    release.root_only()
    shoal.version(shoal.run(shoal.SHOAL, "--version").stdout.split()[1])
    everything_has_a_runner()
    context = multiprocessing.get_context("fork")
    readers = {each: context.Process(target=follow, args=each) for each in PAGES}
    for reader in readers.values():
        reader.start()
    for (page, part, _), reader in readers.items():
        reader.join(PAGE_SECONDS)
        print(report(page, part).read_text(), end="", flush=True)
        shoal.equal(f"{page} {part or ''}: it was followed to its end", reader.exitcode, 0)
        if reader.is_alive():
            reader.terminate()
            reader.join()


def everything_has_a_runner():
    """That each block of commands is run by somebody, or says why not."""
    followed = {(page, part) for page, part, _ in PAGES}
    documents = ["README.md", "ansible/README.md", *sorted(f"docs/{path.name}" for path in (PROJECT / "docs").glob("*.md"))]
    for page in documents:
        shoal.equal(f"{page}: every block is fenced", pages.indented(page), [])
        for block in pages.blocks(page):
            driver = block.mark.removeprefix("run by ") if block.mark.startswith("run by ") else ELSEWHERE.get(page)
            if driver:
                named = page in (PROJECT / "tests/outside" / driver).read_text()
                shoal.check(f"{block.name}: {driver} knows the page", named)
            elif block.language in pages.RUN and not block.mark.startswith("not run: "):
                is_run = not followed.isdisjoint({(page, None), (page, block.part)})
                shoal.check(f"{block.name}: the block is run", is_run, "neither run nor marked with a reason")
            elif block.language == "json":
                readable(block)


def readable(block):
    """A part of a document counts as one."""
    text = block.body.strip()
    try:
        json.loads(text if text.startswith(("{", "[")) else f"{{{text}}}")
    except ValueError as fault:
        shoal.check(f"{block.name}: it is JSON", False, fault)
    else:
        shoal.check(f"{block.name}: it is JSON", True)


def folder(page, part):
    return re.sub(r"[/ #]+", "-", f"{page}{part or ''}")


def report(page, part):
    """What a reader reports, who writes beside others."""
    return pathlib.Path(f"{folder(page, part)}.report")


def follow(page, part, prepare):
    begun = time.monotonic()
    os.dup2(os.open(report(page, part), os.O_WRONLY | os.O_CREAT), sys.stdout.fileno())
    release.own_network()
    for address in ("10.0.0.0/24", f"{BMC}/32"):
        shoal.run("ip", "address", "add", address, "dev", "lo", check=True)
    with shoal.folder(folder(page, part)), World(page) as world:
        prepare(world)
        world.follow(part)
        print(page, part or "", "took", round(time.monotonic() - begun), "s", file=sys.stderr)
    sys.exit(0)


class World(pages.Reader):
    """Four simulated servers as docs/try-it.md has them, one behind https://10.1.0.17, and a controller where the page has none."""

    def __enter__(self):
        here = os.getcwd()
        pathlib.Path("bin").mkdir()
        pathlib.Path("bin/shoal").symlink_to(shoal.SHOAL)
        for name in ("dist", "ansible"):
            pathlib.Path(name).symlink_to(PROJECT / name)
        os.environ.update(SETTINGS, HOME=here, PATH=f"{here}/bin:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
        self.machines = self.simulated(4, "--base-port", "9001", "--seed", "1", "--write-installer", "esxi.iso")
        (self.real,) = self.simulated(1, "--tls", "--serial-prefix", "CZ")
        self.behind(BMC)
        pathlib.Path("password").write_text(self.real.password + "\n")
        pathlib.Path("esx01.cfg").write_text(KICKSTART)
        self.own |= {SERIAL: self.real.serial, "/srv/iso/VMware-VMvisor-Installer-8.0U3.iso": f"{here}/esxi.iso"}
        return self

    def simulated(self, count, *flags, seconds=2):
        return self.servers.enter_context(shoal.simulator(count, "--install-seconds", str(seconds), *flags))

    def behind(self, address):
        """The one server's BMC, at an address of the page."""
        pages.relay(address, 443, int(self.real.url.rsplit(":", 1)[1]))

    def serve(self, inventory=None):
        """A controller, for pages that do not start one, and a shell that knows it."""
        self.started("shoal serve", "shoal serve")
        os.environ.update(SHOAL_URL=URL, SHOAL_TOKEN=self.token())
        for machine in (*self.machines, self.real) if inventory is None else inventory:
            self.controller().add(machine)

    def token(self):
        return pathlib.Path("var/shoal/admin.token").read_text().strip()

    def controller(self):
        return shoal.Controller(URL, self.token())

    def job(self, machine, **more):
        """An installation that is over, for a page that has one."""
        job = self.controller().submit({**shoal.recipe(machine), "ks_cfg": KICKSTART, **more})
        return self.controller().ended(job)["job_id"]

    def batch(self, machines, **more):
        recipe = {"task_target": "install-esxi.target", "ks_cfg": KICKSTART, "completion_hook": "poweroff"}
        body = {"recipe": recipe, "servers": [machine.serial for machine in machines], **more}
        return self.controller().call("POST", "/api/v1/batches", body).json()["batch_id"]


def kickstarts(world):
    world.serve()
    broken = KICKSTART.replace("--bootproto=dhcp --device=52:54:00:00:00:01", "--bootproto=static --device=vmnic0 --netmask=255.255.255.0")
    pathlib.Path("esx01.cfg").write_text(broken)
    world.exits = {"shoal kickstart lint esx01.cfg": 1, "shoal kickstart lint --esxi": 1}
    world.before["shoal job submit --server CZ20300ABC --ks esx01.cfg"] = lambda: pathlib.Path("esx01.cfg").write_text(KICKSTART)
    pathlib.Path("esx.cfg.j2").write_text(KICKSTART.replace("Pract1ce-Only!", "--iscrypted {{ root_password | sha512_crypt }}"))
    pathlib.Path("site.json").write_text('{"root_password": "Pract1ce-Only!"}')


def fleets(world):
    world.serve()
    for address in ("10.0.0.6", "10.0.0.17"):
        world.behind(address)
    columns = ["serial", "bmc_address", "bmc_username", "bmc_password", "tls", "labels.rack", "labels.hostname"]
    rows = [[machine.serial, machine.url, machine.username, machine.password, "none", "7", f"esx{number:02}"]
            for number, machine in enumerate(world.machines, 1)]
    fleet = "".join(",".join(row) + "\n" for row in [columns, *rows])
    pathlib.Path("fleet.csv").write_text(fleet)
    pathlib.Path("fleet.yaml").write_text("".join(f"- {json.dumps(dict(zip(columns[:5], row)))}\n" for row in rows))
    pathlib.Path("password.txt").write_text(world.machines[0].password)
    without = ("shoal server import fleet.csv --user root", lambda: pathlib.Path("fleet.csv").write_text(
        "".join(",".join([*row[:2], *row[4:]]) + "\n" for row in [columns, *rows])))
    again = ("shoal server export > fleet.csv", lambda: [world.controller().call(
        "PATCH", f"/api/v1/servers/{machine.serial}", {"bmc_username": machine.username, "bmc_password": machine.password, "tls": "none"})
        for machine in world.machines])
    world.before |= dict([without, again])
    world.answers["shoal server set CZ20300ABC --bmc"] = world.real.password
    pathlib.Path("esx7.toml").write_text('vlan = 10\ngateway = "10.0.0.1"\n')
    in_batches(world, rows)
    pathlib.Path("passwords.json").write_text('{"esx01.lab.example": "one", "esx02.lab.example": "two"}')
    world.own |= {"esx01.lab.example:443": f"{BMC}:443", "ID": "2f1b4c36-3a53-4e1e-9a34-1f1a1b1c1d1e"}


def in_batches(world, rows):
    """A kickstart and its hosts; and for each command a batch in the state that it is for."""
    pathlib.Path("esxi.ks").write_text(KICKSTART + "# {{ hostname }} {{ ip }}\n")
    listed = next(block.body for block in pages.blocks(world.page) if block.language == "csv")
    pathlib.Path("hosts.csv").write_text(listed.replace("ABC1", "SIM0001").replace("ABC2", "SIM0002"))
    kept = {}

    def submitted():
        """That of the page, which is what is exported in the end."""
        kept["submitted"] = world.controller().read("/api/v1/batches")["batches"][0]["batch_id"]
        world.own["BATCH"] = kept["submitted"]

    def running():
        """One row at a time, so that one has not started."""
        world.own["BATCH"] = kept["paused"] = world.batch(world.machines[2:], max_parallel=1)

    def failed():
        world.controller().call("PATCH", f"/api/v1/servers/{world.real.serial}", {"bmc_password": "wrong"})
        world.own["BATCH"] = world.batch([world.real])
        ended = lambda: world.controller().read(f"/api/v1/batches/{world.own['BATCH']}")["status"] == "finished"
        shoal.until(ended, 60, "the batch is over")

    def resumed():
        world.own["BATCH"] = kept["paused"]

    def exported():
        rows = world.controller().read(f"/api/v1/batches/{kept['submitted']}")["rows"]
        world.own |= {"BATCH": kept["submitted"], "JOB": rows[0]["job_id"]}

    world.before |= {"shoal batch watch BATCH": submitted, "shoal batch pause BATCH": running, "shoal batch retry BATCH": failed,
                     "shoal batch resume BATCH": resumed, "shoal export vcf": exported}


def operations(world):
    recipe = next(block.body for block in pages.blocks(world.page) if '"ks_cfg"' in block.body)
    pathlib.Path("recipe.json").write_text(recipe.replace(SERIAL, world.real.serial).replace("$6$…", "$6$salt$hash"))
    shutil.copy("esx01.cfg", "esx.cfg")
    pathlib.Path("shoal.toml").write_text('esxi_installer_url = "esxi.iso"\n')
    pathlib.Path("backup").mkdir()
    here = os.getcwd()
    first, second, *_ = world.machines
    world.own |= {"--server A": f"--server {first.serial}", "--server B": f"--server {second.serial}", "/backup": f"{here}/backup",
                  "--db shoal.db": "--db var/shoal/shoal.db", "master.key ": "var/shoal/master.key ", "/etc/shoal/shoal.toml": "shoal.toml", "FILE": "bundle.tar.gz"}

    def inventory():
        for machine in world.machines[:2]:
            world.controller().add(machine)

    def failed():
        """A job that has ended, and a server that it left; the password is put right."""
        failing = world.machines[2]
        world.controller().add(failing)
        world.controller().call("PATCH", f"/api/v1/servers/{failing.serial}", {"bmc_password": "wrong"})
        world.own |= {"JOB": world.job(failing), "SERIAL": failing.serial}
        world.controller().call("PATCH", f"/api/v1/servers/{failing.serial}", {"bmc_password": failing.password})

    def stopped():
        world.stop("shoal serve")
        (copy,) = pathlib.Path("backup").iterdir()
        copy.rename("backup/shoal-2026-11-27.backup")

    def unreadable():
        """A job of which another release has written something."""
        world.started("shoal serve", "shoal serve")
        job = world.controller().submit(shoal.recipe(world.machines[2]))
        world.stop("shoal serve")
        with contextlib.closing(sqlite3.connect("var/shoal/shoal.db")) as database, database:
            database.execute("UPDATE jobs SET facts = json_set(facts, '$.version', 99) WHERE id = ?", (job,))
        world.own["JOB"] = job
        world.started("shoal serve", "shoal serve")

    world.answers["shoal server release"] = "yes"
    world.before |= {"shoal job submit --server A": inventory, "shoal job show JOB": failed, "shoal restore": stopped,
                     "shoal job cancel JOB --force": unreadable}


def doctor(world):
    (one,) = world.simulated(1, "--persona", "one-cd")
    world.own[SERIAL] = one.serial
    world.serve([one])
    world.controller().call("PATCH", f"/api/v1/servers/{one.serial}", {"labels": {"rack": "7"}})


def simulator(world):
    world.serve([])
    world.own |= {"https://shoal.example": URL, "SHOAL_TOKEN=…": f"SHOAL_TOKEN={world.token()}"}
    world.own["--base-port 9001"] = "--base-port 9101"


def api(world):
    world.serve(world.machines)
    pathlib.Path("debian.raw.zst").write_bytes(os.urandom(100_000))


def examples(world):
    """Each language has an inventory of its own, empty."""
    world.serve([])
    # Simulated hosts are installed sooner.
    world.own |= {"sleep 10": "sleep 1", "time.sleep(5)": "time.sleep(1)"}


def linux(world):
    shoal.maintenance_iso()
    shoal.run("qemu-img", "create", "-f", "qcow2", "debian.qcow2", "1M", check=True)
    images = world.servers.enter_context(shoal.served("."))
    os.environ.update(MAINTENANCE_ISO_URL="maintenance.iso", IMAGES_ALLOW=f"{images}/")
    world.serve()
    (slow,) = world.simulated(1, "--serial-prefix", "SLOW", seconds=100)

    def hosted():
        world.own |= {"https://images.example/linux": images, "--sha256 …": f"--sha256 {shoal.sha256(image())}"}

    def image():
        return pathlib.Path("debian.raw.zst").read_bytes()

    def reported():
        """The URL of a job whose host is writing its disk."""
        world.controller().add(slow)
        recipe = {"task_target": "install-linux.target", "server_serial": slow.serial, "target_disk": {"serial": "any"},
                  "image": {"url": f"{images}/debian.raw.zst", "sha256": shoal.sha256(image())}}
        job = world.controller().submit(recipe)
        shoal.until(lambda: world.controller().job(job)["step"] == "await-webhook", 30, "the host is on")
        medium = world.controller().call("GET", f"/media/tasks/{job}/task.iso").body
        os.environ["REPORT_URL"] = re.search(rb'"report_url":\s*"([^"]+)"', medium)[1].decode()

    world.before |= {"shoal image add https://": hosted, 'curl -X POST "$REPORT_URL" -d \'{"status":"progress"': reported}


def by_hand(world):
    """Pages that start what they need."""


# Page, heading if not all of it, and who prepares the reader's world.
PAGES = [
    ("README.md", None, by_hand),
    ("docs/api-examples.md", "## curl", examples),
    ("docs/api-examples.md", "## Python", examples),
    ("docs/api.md", None, api),
    ("docs/doctor.md", None, doctor),
    ("docs/fleets.md", None, fleets),
    ("docs/kickstarts.md", None, kickstarts),
    ("docs/linux-windows.md", None, linux),
    ("docs/operations.md", None, operations),
    ("docs/security.md", None, by_hand),
    ("docs/simulator.md", None, simulator),
]

if __name__ == "__main__":
    main()
