"""The collection `shoal.provision` under ansible-core: an inventory, checks, installations and a batch by its modules.

Each module runs as a task of an operator would; what it returns is read from the file that ansible writes of it.
"""
import json
import os
import pathlib
import shutil
import sys

import pages
import shoal

SECRETS = {"bmc_password": "canary-password", "ks_cfg": "canary-kickstart", "token": "canary-token", "variables": "canary-variable"}
MODULES = ["server", "job", "job_info", "batch", "bmc_check"]
SETTINGS = {"ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms", "ESXI_MIN_INSTALL_TIME": "2s", "ESXI_PROOF_FLOOR": "1s"}
KICKSTART = f"vmaccepteula\nrootpw {SECRETS['ks_cfg']}\ninstall --firstdisk --overwritevmfs\nnetwork --bootproto=dhcp\nreboot\n"


def main():
    shoal.version("ansible-core")
    source = pathlib.Path(__file__).resolve().parents[2] / "ansible"
    shutil.copytree(source, "ansible_collections/shoal/provision")
    os.environ.update(ANSIBLE_COLLECTIONS_PATH=os.getcwd(), ANSIBLE_LOCALHOST_WARNING="false", HOME=os.getcwd(),
                      ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8", ANSIBLE_INTERPRETER_PYTHON=sys.executable)
    documents()
    sanity()
    with shoal.simulator(4, "--install-seconds", "2") as machines, shoal.controller(**SETTINGS) as controller:
        play = Play(controller)
        inventory(play, controller, machines[0])
        checks(play, controller, machines)
        installations(play, controller, machines)
        batches(play, controller, machines)
        secrets_stay(play)
    plays()


class Play:
    """Modules as tasks, on this machine; everything that ansible shows is kept."""

    def __init__(self, controller):
        self.controller, self.shown = controller, ""

    def run(self, module, check=False, token=None, **arguments):
        arguments = {"url": self.controller.url, **arguments}
        command = [shoal.tool("ansible"), "localhost", "--connection", "local", "--tree", "results", "-vvv",
                   "--extra-vars", f"ansible_python_interpreter={sys.executable}",
                   "--module-name", f"shoal.provision.{module}", "--args", json.dumps(arguments)]
        environment = {**os.environ, "SHOAL_TOKEN": token or self.controller.token}
        done = shoal.run(*command, *(["--check"] if check else []), env=environment)
        self.last = done.stdout + done.stderr
        self.shown += self.last
        return {**json.loads(pathlib.Path("results/localhost").read_text()), "failed": done.returncode != 0}


def documents():
    for module in MODULES:
        done = shoal.run(shoal.tool("ansible-doc"), "--type", "module", "--json", f"shoal.provision.{module}")
        found = json.loads(done.stdout or "{}").get(f"shoal.provision.{module}", {})
        shoal.check(f"{module} is documented, with examples and results", all(found.get(part) for part in ("doc", "examples", "return")),
                    done.stderr[-300:])
    done = shoal.run(shoal.tool("ansible-galaxy"), "collection", "build", "ansible_collections/shoal/provision", "--output-path", "built")
    shoal.check("the collection can be built", done.returncode == 0, done.stderr[-300:])

def sanity():
    """ansible-test's own checks of sources and documentation, but for those that need more than Python."""
    place = pathlib.Path("sanity/ansible_collections/shoal/provision")
    shutil.copytree("ansible_collections/shoal/provision", place)
    for command in (["init", "--quiet"], ["add", "--all"]):
        shoal.run("git", *command, cwd=place, check=True)
    # It would download a script that does what this one does.
    cache = pathlib.Path(".ansible/test/cache")
    cache.mkdir(parents=True)
    (cache / "get_pip_24_2.py").write_text("import ensurepip\nensurepip.bootstrap()\n")
    left_out = [flag for test in ("pylint", "pslint", "shellcheck", "import") for flag in ("--skip-test", test)]
    python = "%d.%d" % sys.version_info[:2]
    done = shoal.run(shoal.tool("ansible-test"), "sanity", "--python", python, *left_out, cwd=place)
    if "Could not fetch" in done.stderr or "Temporary failure in name resolution" in done.stderr:
        shoal.skipped("ansible-test finds nothing", "its requirements cannot be downloaded")
    else:
        faults = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        shoal.check("ansible-test finds nothing", done.returncode == 0, "; ".join(faults)[-800:])


def record(machine, **changes):
    return {"serial": machine.serial, "bmc_address": machine.url, "bmc_username": machine.username,
            "bmc_password": machine.password, "tls": machine.tls or "verify", **changes}


def inventory(play, controller, machine):
    server = record(machine, labels={"rack": 7}, variables={"root": SECRETS["variables"]})
    path = f"/api/v1/servers/{machine.serial}"
    shoal.check("check mode reports a new server", play.run("server", check=True, **server)["changed"])
    shoal.equal("and adds none", controller.call("GET", path).status, 404)
    added = play.run("server", **server)
    shoal.equal("a server is added", (added["changed"], added["server"]["labels"]), (True, {"rack": "7"}))
    shoal.check("a second run changes nothing", not play.run("server", **server)["changed"])
    moved = {**server, "labels": {"rack": 8, "row": "a"}}
    shoal.check("check mode reports a change", play.run("server", check=True, **moved)["changed"])
    shoal.equal("and makes none", controller.read(path)["labels"], {"rack": "7"})
    shoal.equal("labels are merged", play.run("server", **moved)["server"]["labels"], {"rack": "8", "row": "a"})
    shoal.check("once", not play.run("server", **moved)["changed"])
    shoal.check("secrets are written where that is wanted", play.run("server", update_secrets="always", **moved)["changed"])
    wrong = play.run("server", serial="NEW1", bmc_address="ftp://10.0.0.1", bmc_username="admin", bmc_password="a-password")
    shoal.check("a wrong field is named", wrong.get("failed") and "/bmc_address" in wrong["msg"], wrong.get("msg"))
    refused = play.run("server", serial=machine.serial, token=SECRETS["token"])
    shoal.equal("a wrong token fails", (refused.get("failed"), refused.get("status")), (True, 401))
    away = play.run("server", serial=machine.serial, url="http://127.0.0.1:9")
    shoal.check("so does a controller that is not there", away.get("failed") and "cannot reach the controller" in away["msg"], away.get("msg"))
    shoal.check("a server is removed", play.run("server", serial=machine.serial, state="absent")["changed"])
    shoal.check("once", not play.run("server", serial=machine.serial, state="absent")["changed"])


def checks(play, controller, machines):
    for machine in machines[:3]:
        play.run("server", **record(machine))
    play.run("server", **record(machines[3], bmc_password=SECRETS["bmc_password"]))
    good = play.run("bmc_check", serial=machines[0].serial)
    shoal.check("a server is checked", good["report"]["verdict"].startswith("ready"), good)
    bad = play.run("bmc_check", serial=machines[3].serial)
    shoal.check("one that cannot be installed fails", bad.get("failed") and bad["msg"] == bad["report"]["sentence"], bad.get("msg"))
    shoal.check("unless that is not wanted", not play.run("bmc_check", serial=machines[3].serial, fail=False).get("failed"))


def installations(play, controller, machines):
    wanted = {"server_serial": machines[0].serial, "ks_cfg": KICKSTART, "change_id": "tuesday"}
    dry = play.run("job", check=True, **wanted)
    shoal.equal("check mode checks a job", (dry["changed"], dry["report"]["ok"]), (True, True))
    shoal.equal("and makes none", controller.read("/api/v1/jobs")["jobs"], [])
    done = play.run("job", **wanted)
    shoal.equal("a server is installed", (done["changed"], done["job"]["status"]), (True, "succeeded"))
    shoal.check("with a verdict", done["job"]["verdict"]["confidence"], done["job"])
    shoal.check("and its progress was shown", f"\n{machines[0].serial}: " in play.last, play.last[-800:])
    shoal.equal("the installation happened once", machines[0].state()["installs"], 1)
    again = play.run("job", **wanted)
    shoal.equal("a second run installs nothing", (again["changed"], again["job"]["job_id"]), (False, done["job"]["job_id"]))
    failed = play.run("job", server_serial=machines[3].serial, ks_cfg=KICKSTART)
    shoal.equal("a failed job fails the task, with its code",
                (failed.get("failed"), failed["job"]["failure_code"]), (True, "bmc_login_refused"))
    shoal.check("and its reason", failed["msg"].startswith("resolve-server: "), failed["msg"])
    refused = play.run("job", server_serial=machines[0].serial, recipe={"task_target": "nonsense"})
    shoal.check("a recipe that is refused names the field", refused.get("failed") and "/task_target" in refused["msg"], refused.get("msg"))


def batches(play, controller, machines):
    serials = [machine.serial for machine in machines[1:3]]
    recipe = {"task_target": "install-esxi.target", "ks_cfg": KICKSTART}
    wanted = {"recipe": recipe, "servers": serials, "limits": {"canary": 1}, "change_id": "rack-7"}
    dry = play.run("batch", check=True, **wanted)
    shoal.equal("check mode checks a batch", (dry["changed"], dry["report"]["ok"]), (True, True))
    done = play.run("batch", **wanted)
    shoal.equal("a batch is installed", (done["changed"], done["batch"]["counts"]["succeeded"]), (True, 2))
    again = play.run("batch", **wanted)
    shoal.equal("a second run is the same batch", (again["changed"], again["batch"]["batch_id"]), (False, done["batch"]["batch_id"]))
    failed = play.run("batch", **{**wanted, "servers": [machines[3].serial], "change_id": "rack-8"})
    shoal.check("a failed row fails the task", failed.get("failed") and machines[3].serial in failed["msg"], failed.get("msg"))


def plays():
    """The plays of the documents, with the collection as they install it."""
    source = pathlib.Path(shoal.__file__).parents[2] / "ansible"
    os.environ["PATH"] = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    for page, name in (("ansible/README.md", "."), ("docs/api-examples.md", "ansible")):
        with shoal.folder(page.replace("/", "-")), shoal.simulator(1, "--install-seconds", "2") as (machine,), \
                shoal.controller(**SETTINGS) as controller, pages.Reader(page) as reader:
            shutil.copytree(source, name, dirs_exist_ok=True)
            for kickstart in ("esx.cfg", "esx01.cfg"):
                pathlib.Path(kickstart).write_text(KICKSTART)
            pathlib.Path("vault.yml").write_text(json.dumps({"vault_bmc_password": machine.password}))
            pathlib.Path("admin.token").write_text(controller.token)
            os.environ.update(ANSIBLE_COLLECTIONS_PATH=os.getcwd(), BMC_PASSWORD=machine.password, SHOAL_TOKEN=controller.token)
            reader.own = {"CZ20300ABC": machine.serial, "SIM0001": machine.serial, "tls: insecure": "tls: none"}
            reader.own |= {address: machine.url for address in ("https://10.1.0.17", "http://127.0.0.1:9001")}
            reader.own |= {url: controller.url for url in ("https://shoal.example:8443", "http://127.0.0.1:8080")}
            for block in pages.marked(page, "ansible_collection.py"):
                reader.do(block)
            shoal.equal(f"{page}: it is installed, once", machine.state()["installs"], 1)


def secrets_stay(play):
    for what, secret in SECRETS.items():
        shoal.check(f"no output shows a {what}", secret not in play.shown, play.shown[max(0, play.shown.find(secret) - 200):][:400])
    shoal.check("nor the controller's token", play.controller.token not in play.shown)


if __name__ == "__main__":
    main()
