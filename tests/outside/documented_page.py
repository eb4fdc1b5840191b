"""`docs/try-it-esxi.md`, followed line by line on a booted Debian system that has nothing but the package.

Every command of its blocks is run as written, in order, by a shell that keeps its variables; files are those of its blocks.
What a reader would put in is put in: serial number, pins, hashes. The server is a simulated iLO 6 at the page's own
address. Looked at: how each command ends, what the page says that it shows, the messages of the table of steps, and the
machine in the end. Not run: section 6, which is about failures, and what is marked as an exception below.
"""
import contextlib
import datetime
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import socket
import threading
import time

import booted
import release
import shoal

PAGE = release.PROJECT / "docs/try-it-esxi.md"
HOME = "/srv/reader"
VARIABLES = f"{HOME}/variables"
CONTROLLER, BMC = "10.0.0.5", "10.1.0.17"
# What the page has in the place of a reader's own.
SERIAL, ISO = "CZ20300ABC", "VMware-VMvisor-Installer-8.0U3.iso"
# Longer than ESXI_PROOF_FLOOR, as every real installation is.
INSTALL_SECONDS = "70"
# The page says that it ends so: nothing is pinned yet.
PIN_SHOWN = f"shoal server pin {SERIAL}"


def main():
    release.root_only()
    tree = release.debian("debian-root", "bookworm", "minbase", "systemd-sysv", "dbus", "bash-completion")
    pathlib.Path("reader").mkdir()
    shutil.copy(release.part("shoal_*_amd64.deb"), "reader")
    shutil.copy(shoal.installer(), f"reader/{ISO}")
    blocks = read(PAGE.read_text())
    begun = time.monotonic()
    here = pathlib.Path.cwd()
    with booted.container(f"--directory={tree}", "--volatile=overlay", f"--bind={here}/reader:{HOME}") as inside:
        for address in (CONTROLLER, BMC):
            shoal.run("ip", "address", "add", f"{address}/32", "dev", "lo", check=True)
        with shoal.simulator(1, "--persona", "ilo6", "--tls", "--install-seconds", INSTALL_SECONDS) as machines:
            relay(BMC, 443, int(machines[0].url.rsplit(":", 1)[1]))
            Reader(inside, machines[0]).follow(blocks)
            state = machines[0].state()
            shoal.equal("the host runs what was installed", [state["installs"], state["interrupted_installs"]], [1, 0])
    took = datetime.timedelta(seconds=round(time.monotonic() - begun))
    shoal.version(f"in {took}")


def read(text):
    """Heading, language and lines of each block, before the section about failures."""
    text = text.split("\n## 6.")[0]
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    for heading, section in zip(parts[1::2], parts[2::2]):
        for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
            yield heading, language, body


def relay(address, port, to):
    """The BMC at the page's address."""
    server = socket.create_server((address, port))

    def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                bmc = socket.create_connection(("127.0.0.1", to))
                for pair in ((client, bmc), (bmc, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Reader:
    """Somebody who follows the page, and knows the own server."""

    def __init__(self, inside, machine):
        self.inside, self.machine, self.shown = inside, machine, ""
        pathlib.Path("reader/password").write_text(machine.password + "\n")
        pathlib.Path("reader/variables").write_text("")
        hashed = shoal.run("openssl", "passwd", "-6", "page").stdout.strip()
        digest = hashlib.sha256(pathlib.Path(f"reader/{ISO}").read_bytes()).hexdigest()
        self.own = {SERIAL: machine.serial, 'sha256 = "…"': f'sha256 = "{digest}"', "$6$…": hashed}

    def put_in(self, text):
        """The page's text with what the reader knows by now."""
        for written, own in self.own.items():
            text = text.replace(written, own)
        return text

    def follow(self, blocks):
        for heading, language, body in blocks:
            if language == "sh":
                self.shown = "".join(self.command(line) for line in joined(body))
            elif language == "toml":
                self.append("/etc/shoal/shoal.toml", body)
            elif body.startswith("vmaccepteula"):
                self.append(f"{HOME}/esx01.cfg", body)
            elif language == "text":
                self.compare(heading, body)

    def command(self, line):
        """One line of a block, and what it printed."""
        own, expected = self.put_in(line), 1 if line == PIN_SHOWN else 0
        if " --watch" in own:
            # The page says that it asks.
            own = f"echo yes | script --quiet --return --command {shlex.quote(own)} /dev/null"
        script = f". {VARIABLES}; cd {HOME}; {own}\nended=$?; export -p > {VARIABLES}; exit $ended"
        ended = self.inside.run("bash", "-c", script)
        shoal.check(line, ended.returncode == expected, f"{ended.returncode} {(ended.stdout + ended.stderr)[-500:]}")
        self.learn(ended.stdout + ended.stderr)
        if " --watch" in line:
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
        for line in body.splitlines():
            stem = re.split(r"…|pin:|SIM0001|\d{4}|CZ2", line)[0].rstrip()
            columns = {"2.": 2, "4.": 1}.get(heading[:2])
            wanted = re.match(rf"(\S+( \S+)*\s*){{0,{columns or 9}}}", stem)[0].rstrip() if columns else stem
            if wanted:
                shoal.check(f"shown: {wanted}", wanted in self.shown, self.shown[-300:])

    def steps(self, shown):
        """The messages that the table of steps has, but for those that depend on the machine."""
        table = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `") or line.startswith("| | `")]
        messages = {text for row in table for text in re.findall(r"`([a-z][^`…]* [^`…]*)`", row[2]) if "_" not in text}
        for message in sorted(messages - {"task ISO mounted in slot"}):
            shoal.check(f"seen: {message}", message in shown, shown[-1500:])


def joined(body):
    """Commands of a block, one a line."""
    return [line for line in body.replace("\\\n", " ").splitlines() if line.strip()]


main()
