"""A container with systemd as its first process, for the drivers that look at a service in it.

Not what is in it: that is the caller's. Invariant: nothing of it outlives the driver.
"""
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess

import shoal

LISTENER = ("127.0.0.1", 8080)
ADDRESS = "%s:%d" % LISTENER
STATE = "/var/lib/shoal"


@contextlib.contextmanager
def container(*root, network="--private-network"):
    """A booted system, whose network this process joins; all that runs in it ends with it."""
    command = ["systemd-nspawn", "--boot", network, "--register=no", "--keep-unit",
               f"--machine=shoal-{os.getpid()}", "--console=pipe", *root]
    with open("container.log", "ab") as log:
        nspawn = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def children():
        with contextlib.suppress(OSError):
            return pathlib.Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children").read_text().split()
        return []

    def first_process():
        if nspawn.poll() is not None:
            shoal.unfit(f"no container can be booted: {pathlib.Path('container.log').read_text()[-500:]}")
        for child in children():
            # Until it runs the container's own program it has nspawn's name.
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return None

    def is_up(leader):
        return Inside(leader).run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    try:
        try:
            leader = shoal.until(first_process, 60, "a container boots")
            shoal.until(lambda: is_up(leader), 60, "its systemd is up")
        except TimeoutError as late:
            shoal.unfit(str(late))
        join_network(leader)
        yield Inside(leader)
    finally:
        # Its first process outlives nspawn, and nothing outlives that one.
        for child in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        nspawn.kill()
        nspawn.wait(30)


def join_network(leader):
    """From here on, loopback is the container's, for this process and all that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{leader}/ns/net") as network:
        if libc.setns(network.fileno(), 0x40000000) != 0:
            raise OSError(ctypes.get_errno(), "setns")


class Inside:
    """The container, as root sees it in there."""

    def __init__(self, leader):
        self.enter = ["nsenter", "--target", str(leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"]

    def run(self, *command):
        return shoal.run(*self.enter, *command, env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"})

    def done(self, name, *command):
        """A check that a command ends well; what it said."""
        ended = self.run(*command)
        shoal.check(name, ended.returncode == 0, ended.stderr)
        return ended.stdout

    def read(self, path):
        return self.run("cat", path).stdout

    def show(self, *properties):
        return [self.run("systemctl", "show", "--value", "-p", name, "shoal").stdout.strip() for name in properties]

    def journal(self):
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit=shoal").stdout.splitlines()

    def files(self):
        """All of the service's own, with owner and mode."""
        listed = self.run("find", f"{STATE}/", "-printf", "%U %m %y %p\n").stdout.splitlines()
        return [line.split(" ", 3) for line in listed]


def ready(scheme="http"):
    with contextlib.suppress(OSError):
        return shoal.request(f"{scheme}://{ADDRESS}/readyz").status == 200


def admin(inside, scheme="http"):
    return shoal.Controller(f"{scheme}://{ADDRESS}", inside.read(f"{STATE}/admin.token").strip())
