"""`docs/try-it-esxi.md`, followed word for word on a booted Debian system that has nothing but the package, to an installed host.

The host is a machine of the lab (QEMU with UEFI behind a Redfish service), at the page's own address; its installer is the
lab's stand-in for VMware's, which boots, reads the kickstart, writes the disk and reboots. Every command of the page's blocks
is run as written, in order, by a shell that keeps its variables; files are those of its blocks. What a reader would put in
is put in: serial number, pins, hashes, the id of a job. For the section about failures an installation fails first, since
the machine hangs in its self test. Looked at: how each command ends, what the page says that it shows, the
messages of the table of steps, and console, disk and drives of the machine.
"""
import contextlib
import datetime
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import time

import booted
import pages
import release
import shoal

PAGE = "docs/try-it-esxi.md"
HOME = "/srv/reader"
SETTINGS = "/etc/shoal/shoal.toml"
CONTROLLER, BMC = "10.0.0.5", "10.1.0.17"
# What the page has in the place of a reader's own.
SERIAL, ISO = "CZ20300ABC", "VMware-VMvisor-Installer-8.0U3.iso"
# The machine of the lab: the first one with UEFI, whose BMC streams its media and shows boots.
MACHINE, TRAITS = 1, '{"media": "stream", "shows": ["LastResetTime", "BootProgress"]}'
# The stand-in is through sooner than any real installation, and than ESXI_PROOF_FLOOR.
KICKSTART_MORE = "# standin: delay=install:70\n"
# The page says that it ends so: nothing is pinned yet.
PIN_SHOWN = f"shoal server pin {SERIAL}"
# The one set of lines that is not there for a machine of which nothing is to be said.
ADVICE = "What to do:"
WAIT_SECONDS = 600


def main():
    release.root_only()
    tree = release.debian("debian-root", "bookworm", "minbase", "systemd-sysv", "dbus", "bash-completion")
    pathlib.Path("reader").mkdir()
    shutil.copy(release.part("shoal_*_amd64.deb"), "reader")
    shutil.copy(os.environ["SHOAL_STANDIN"], f"reader/{ISO}")
    release.own_network()
    for address in (CONTROLLER, BMC):
        shoal.run("ip", "address", "add", f"{address}/32", "dev", "lo", check=True)
    here = pathlib.Path.cwd()
    with laboratory() as host, booted.container(f"--directory={tree}", "--volatile=overlay", f"--bind={here}/reader:{HOME}",
                                                network=f"--network-namespace-path=/proc/{os.getpid()}/ns/net") as inside:
        pages.relay(BMC, 443, host.port)
        reader = Reader(inside, host)
        begun = time.monotonic()
        reader.follow(lambda number: number < 6)
        host.installed("the page", 1)
        took = datetime.timedelta(seconds=round(time.monotonic() - begun))
        reader.let_one_fail()
        reader.follow(lambda number: number >= 6)
        host.installed("the retry", 2)
        reader.links()
    shoal.version(f"installed in {took}")


@contextlib.contextmanager
def laboratory():
    """A lab of its own in this network, with the Redfish service that the usual one has installed."""
    usual = pathlib.Path(os.environ["SHOAL_STANDIN"]).parent
    place = pathlib.Path("lab").resolve()
    place.mkdir()
    (place / "venv").symlink_to(usual / "venv")
    os.environ["LAB"] = str(place)
    try:
        up = shoal.run(release.PROJECT / "lab/up", str(MACHINE + 1))
        if up.returncode != 0:
            raise RuntimeError(f"the lab does not come up: {up.stdout} {up.stderr}")
        (place / f"run/traits/vm{MACHINE}.json").write_text(TRAITS)
        yield Host(place)
    finally:
        shoal.run(release.PROJECT / "lab/down")


class Host:
    """The machine, as its console and its BMC show it."""

    def __init__(self, place):
        self.serial = f"LAB{MACHINE:04}"
        self.password = (place / "run/password").read_text().strip()
        self.url = (place / "run/url").read_text().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.console = place / f"log/vm{MACHINE}.serial"
        self.machine = shoal.Machine({"serial": self.serial, "bmc_address": self.url, "username": "admin", "password": self.password})
        self.system = f"/redfish/v1/Systems/00000000-0000-0000-0000-{MACHINE:012x}"

    def shown(self):
        return self.console.read_text(errors="replace") if self.console.exists() else ""

    def installed(self, what, times):
        """The disk boots, and was written once for each success."""
        shoal.until(lambda: self.shown().count("INSTALLED OK firmware=uefi") >= times, 240, "the installed system is up")
        shoal.equal(f"{what}: the machine was installed, once", self.shown().count("INSTALL COMPLETE"), times)
        slots = [self.machine.redfish(slot["@odata.id"]) for slot in self.machine.redfish(f"{self.system}/VirtualMedia")["Members"]]
        shoal.equal(f"{what}: its drives are empty", [slot["Inserted"] for slot in slots], [False] * len(slots))

    def hangs(self):
        """Stops it at its next start, before its firmware reads a drive."""
        is_on = lambda: self.virsh("domstate").stdout.strip() == "running"
        shoal.until(is_on, WAIT_SECONDS, "the machine was started")
        self.virsh("suspend")

    def virsh(self, verb):
        return shoal.run("virsh", "-q", "-c", f"qemu:///system?socket={os.environ['LAB']}/run/libvirt-sock", verb, f"vm{MACHINE}")

    def off(self):
        """As by its power button, held down."""
        self.machine.redfish(f"{self.system}/Actions/ComputerSystem.Reset", "POST", {"ResetType": "ForceOff"})


class Reader:
    """Somebody who follows the page, and knows the own server."""

    def __init__(self, inside, host):
        self.inside, self.host, self.shown = inside, host, ""
        pathlib.Path("reader/password").write_text(host.password + "\n")
        pathlib.Path("reader/variables").write_text("")
        hashed = shoal.run("openssl", "passwd", "-6", "page").stdout.strip()
        digest = hashlib.sha256(pathlib.Path(f"reader/{ISO}").read_bytes()).hexdigest()
        self.own = {SERIAL: host.serial, 'sha256 = "…"': f'sha256 = "{digest}"', "$6$…": hashed}

    def put_in(self, text):
        """The page's text with what the reader knows by now."""
        for written, own in self.own.items():
            text = text.replace(written, own)
        return text

    def follow(self, wanted):
        """The sections of these numbers."""
        for block in pages.blocks(PAGE):
            number = re.match(r"## (\d)\.", block.heading)
            if not number or not wanted(int(number[1])):
                continue
            if block.language == "sh":
                self.shown = "".join(self.command(command) for command in pages.commands(block.body))
            elif block.language == "toml":
                self.append(SETTINGS, block.body)
            elif block.body.startswith("vmaccepteula"):
                self.append(f"{HOME}/esx01.cfg", block.body + KICKSTART_MORE)
            elif block.language == "text":
                self.compare(block.heading, block.body)

    def command(self, line):
        """One line of a block, and what it printed."""
        if line.startswith("shoal server release"):
            self.host.off()
        own, expected = self.put_in(line), 1 if line == PIN_SHOWN else 0
        if " --watch" in own or "server release" in own:
            # The page says that it asks.
            own = f"{{ sleep 1; echo yes; }} | script --quiet --return --command {shlex.quote(own)} /dev/null"
        script = f". {HOME}/variables; cd {HOME}; {own}\nended=$?; export -p > {HOME}/variables; exit $ended"
        ended = self.inside.run("bash", "-c", script)
        shoal.check(line, ended.returncode == expected, f"{ended.returncode} {(ended.stdout + ended.stderr)[-500:]}")
        self.learn(ended.stdout + ended.stderr)
        if " --watch" in line and "submit" in line:
            self.steps(ended.stdout)
        return ended.stdout + ended.stderr

    def append(self, path, body):
        self.inside.run("bash", "-c", f"cat >> {path} <<'END'\n{self.put_in(body)}END")

    def learn(self, shown):
        """The pins, of which the page shows the first digits of its own."""
        if found := re.search(r"SHOAL_TLS=pin:([0-9a-f]{64})", shown):
            self.own["pin:b54772e2…"] = f"pin:{found[1]}"
        if found := re.search(r"the BMC shows pin:([0-9a-f]{64})", shown):
            self.own["d34e7b02…"] = found[1]

    def compare(self, heading, body):
        """What the page shows: its lines without values of one machine must be there, of the others their beginning."""
        for line in body.split(ADVICE)[0].splitlines():
            stem = re.split(r"…|pin:|SIM0001|\d+ sectors|\d{4}|CZ2", line)[0].rstrip()
            columns = {"## 2.": 2, "## 4.": 1}.get(heading[:5])
            wanted = re.match(rf"(\S+( \S+)*\s*){{0,{columns or 9}}}", stem)[0].rstrip() if columns else stem
            if wanted:
                shoal.check(f"shown: {wanted}", wanted in self.shown, self.shown[-300:])

    def steps(self, shown):
        """The messages that the table of steps has, but for those that depend on the machine."""
        page = (release.PROJECT / PAGE).read_text()
        table = [line.split("|") for line in page.splitlines() if line.startswith("| `") or line.startswith("| | `")]
        messages = {text for row in table for text in re.findall(r"`([a-z][^`…]* [^`…]*)`", row[2]) if "_" not in text}
        for message in sorted(messages - {"task ISO mounted in slot", "installer with the kickstart mounted in slot"}):
            shoal.check(f"seen: {message}", message in shown, shown[-1500:])

    def let_one_fail(self):
        """A second installation, of a host that was off and hangs; a shorter limit spares half an hour."""
        self.host.off()
        self.settings('esxi_boot_timeout = "20s"')
        self.command("shoal job submit --server CZ20300ABC --ks esx01.cfg --hook poweroff --yes")
        self.host.hangs()
        listed = lambda: re.search(r"\b[0-9a-f]{32}\b", self.inside_shell("shoal job list --status failed"))
        self.own["JOB"] = shoal.until(listed, WAIT_SECONDS, "the job has failed")[0]
        self.settings('esxi_boot_timeout = "30m"')

    def settings(self, line):
        """The same setting with another value, and a start."""
        name = line.split(" ")[0]
        self.inside.run("bash", "-c", f"sed -i '/^{name} /d' {SETTINGS}; echo '{line}' >> {SETTINGS}; systemctl restart shoal")
        shoal.until(lambda: self.host.serial in self.inside_shell("shoal server list"), 60, "the service is up")

    def inside_shell(self, command):
        ended = self.inside.run("bash", "-c", f". {HOME}/variables; cd {HOME}; {command}")
        return ended.stdout

    def links(self):
        """The links of the page lead to files of the package."""
        page = (release.PROJECT / PAGE).read_text()
        for file in sorted(set(re.findall(r"\]\(([\w-]+\.md)", page))):
            found = self.inside.run("test", "-s", f"/usr/share/doc/shoal/docs/{file}")
            shoal.equal(f"{file} is in the package", found.returncode, 0)


main()
