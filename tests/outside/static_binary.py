"""The static binaries of a release, in file systems with nothing else in them, and among another libc's modules.

Looked at: that they need no loader and hold no symbols; that the controller works in an empty root (a whole demo:
database, TLS, threads); that names are found in /etc/hosts and by DNS, and that an unknown one is an error in words; the
same beside a foreign glibc whose nsswitch.conf names modules, of which a static glibc dies. That of arm64 runs under
QEMU.
"""
import contextlib
import os
import pathlib
import shutil
import socket
import threading

import release
import shoal

INTERPRETER, SYMBOLS = 3, 2
NAMES = {"hosts": "in-hosts.example.test", "DNS": "in-dns.example.test"}
UNKNOWN = "nowhere.example.test"


def main():
    release.root_only()
    tree = release.debian("foreign-root", "trixie", "extract", "libc6", "libnss-myhostname")
    release.own_network()
    with dns(), shoal.controller() as controller:
        for platform in release.PLATFORMS:
            files = release.unpacked(platform, pathlib.Path(platform))
            shape(platform, files)
            emulator = None if platform == "amd64" else release.EMULATOR
            empty = Root(f"{platform}-empty", files, emulator)
            shoal.version(empty.run("shoal", "--version").stdout.split()[1])
            works(platform, empty)
            unresolved(f"{platform}, without /etc", empty, controller, NAMES["hosts"])
            resolves(f"{platform}, alone", empty, controller)
        foreign = Root("foreign", release.unpacked("amd64", "again"), None, tree)
        resolves("amd64, beside another glibc", foreign, controller)


def shape(platform, files):
    names = ["shoal"] + (["shoal-agent"] if platform == "amd64" else [])
    for name in names:
        machine, segments, sections = release.program(files / name)
        shoal.equal(f"{platform}: {name} is a program of the platform", machine, release.MACHINES[platform])
        shoal.check(f"{platform}: {name} needs no loader", INTERPRETER not in segments, segments)
        shoal.check(f"{platform}: {name} is stripped", SYMBOLS not in sections, sections)
    machine, *_ = release.program(files / "shoal-agent")
    shoal.equal(f"{platform}: the agent is for the hosts", machine, release.MACHINES["amd64"])


class Root:
    """A file system that holds the programs, and an emulator where they need one."""

    def __init__(self, name, files, emulator, tree=None):
        self.path, self.emulator = pathlib.Path(name).resolve(), emulator
        if tree:
            shutil.copytree(tree, self.path, symlinks=True, ignore=lambda folder, names: {"dev"} & set(names))
        self.path.mkdir(exist_ok=True)
        for program in (files / "shoal", files / "shoal-agent", *([emulator] if emulator else [])):
            shutil.copy(program, self.path)

    def run(self, name, *arguments, **environment):
        """A program in there, without any variable of ours."""
        enter = ["chroot", str(self.path)] + (["/" + pathlib.Path(self.emulator).name] if self.emulator else [])
        return shoal.run(*enter, f"/{name}", *arguments, env={"PATH": os.environ["PATH"], **environment})

    def configure(self):
        """How names are found: by file, then DNS, and what most distributions have beside these."""
        etc = self.path / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "hosts").write_text(f"127.0.0.1 localhost {NAMES['hosts']}\n")
        (etc / "resolv.conf").unlink(missing_ok=True)
        (etc / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        (etc / "nsswitch.conf").write_text("hosts: files myhostname resolve dns\n")


def works(platform, root):
    shown = root.run("shoal", "demo", TMPDIR="/")
    shoal.check(f"{platform}: a demo in an empty root", shown.returncode == 0 and "SIM0001 succeeded after" in shown.stdout,
                (shown.stdout + shown.stderr)[-400:])
    if platform == "amd64":
        shown = root.run("shoal-agent", "--version")
        shoal.check(f"{platform}: the agent starts in an empty root", shown.stdout.startswith("shoal-agent "), shown)


def asks(root, controller, name):
    """A command that has to find a name."""
    url = controller.url.replace("127.0.0.1", name)
    return root.run("shoal", "server", "list", SHOAL_URL=url, SHOAL_TOKEN=controller.token)


def resolves(where, root, controller):
    root.configure()
    for source, name in NAMES.items():
        answer = asks(root, controller, name)
        shoal.check(f"{where}: a name by {source}", answer.returncode == 0, f"{answer.returncode} {answer.stderr}")
    unresolved(where, root, controller, UNKNOWN)


def unresolved(where, root, controller, name):
    answer = asks(root, controller, name)
    shoal.check(f"{where}: a name that is not found is an error in words",
                answer.returncode == 1 and name in answer.stderr, f"{answer.returncode} {answer.stderr}")


@contextlib.contextmanager
def dns():
    """A server of one name's one address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=answer_all, args=(server,), daemon=True).start()
    yield
    server.close()


def answer_all(server):
    with contextlib.suppress(OSError):
        while True:
            question, sender = server.recvfrom(512)
            server.sendto(answered(question), sender)


def answered(question):
    """The address for a question of type A of the known name, nothing for its other types, else NXDOMAIN."""
    end = question.index(0, 12)
    labels, at = [], 12
    while at < end:
        labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
        at += 1 + question[at]
    known, kind = ".".join(labels) == NAMES["DNS"], int.from_bytes(question[end + 1:end + 3], "big")
    address = bytes.fromhex("c00c000100010000003c0004") + bytes([127, 0, 0, 1]) if known and kind == 1 else b""
    flags = bytes.fromhex("8180" if known else "8183")
    counts = bytes([0, 1, 0, 1 if address else 0, 0, 0, 0, 0])
    return question[:2] + flags + counts + question[12:end + 5] + address


main()
