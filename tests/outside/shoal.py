"""What the drivers in this folder share: this checkout's binary at work, and how a check is told.

A driver sets one program to work that nobody here wrote, and prints a line of JSON for every check that
the program made: {"check", "result", "detail"}, where result is passed, failed or skipped; and one with
the program's {"version"}; {"unfit"} tells why this machine cannot run it. It is run by `cargo xtask outside`, in a folder of its own that is empty at the
start; SHOAL is the binary.
Invariant: whatever a driver started has ended before it does, and ended well.
"""
import base64
import contextlib
import functools
import hashlib
import http.server
import importlib.metadata
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

SHOAL = os.path.abspath(os.environ.get("SHOAL", "target/debug/shoal"))
KICKSTART = "vmaccepteula\ninstall --firstdisk --overwritevmfs\nreboot\n"
START_SECONDS = 30
END_SECONDS = 30
UNVERIFIED = ssl._create_unverified_context()
# What the environment says of proxies is not meant for loopback.
DIRECT = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=UNVERIFIED))

# Certificates that the environment says are to be trusted outweigh a program's own flags, and are of no use here.
for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "http_proxy", "https_proxy", "all_proxy",
             "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(name, None)

# A driver that is asked to end ends what it started first.
signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))


def version(told):
    """What is at work, for the report: a version, or the name of a Python package that has one."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        told = importlib.metadata.version(told)
    print(json.dumps({"version": told}), flush=True)


def check(name, passed, detail=""):
    tell(name, "passed" if passed else "failed", detail)


def skipped(name, why):
    tell(name, "skipped", why)


def unfit(why):
    """This machine cannot run the program at all, and the report says so."""
    print(json.dumps({"unfit": why}), flush=True)
    sys.exit(0)


def equal(name, found, expected):
    """A check that shows both sides where they differ."""
    check(name, found == expected, "" if found == expected else f"{found!r} is not {expected!r}")


def tell(name, result, detail):
    print(json.dumps({"check": name, "result": result, "detail": str(detail)}), flush=True)


def tool(path):
    """A program of the virtual environment that this driver runs in."""
    return str(pathlib.Path(sys.executable).parent / path)


def run(*command, **options):
    """A program to its end, with what it said; its output is in the driver's log too."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    print("$", *command, f"-> {done.returncode}", done.stdout, done.stderr, sep="\n", file=sys.stderr)
    return done


def until(condition, seconds, what):
    """Waits for a truth and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not after {seconds} s")


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def request(url, method="GET", body=None, headers=None):
    """One request without help from any library of ours or theirs."""
    headers = dict(headers or {})
    if body is not None:
        headers["Content-Type"], body = "application/json", json.dumps(body).encode()
    asked = urllib.request.Request(url, body, headers, method=method)
    try:
        with DIRECT.open(asked, timeout=60) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as refusal:
        return Answer(refusal.code, refusal.headers, refusal.read())


@contextlib.contextmanager
def process(command, log, environment=None, stdout=None):
    """A program for as long as it is needed; it is asked to end, and must do so by itself."""
    with open(log, "ab") as written:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout or written, stderr=written,
                                 env={**os.environ, **(environment or {})})
    try:
        yield child
        ended = child.poll()
        if ended is not None:
            raise RuntimeError(f"{command[0]} has ended with {ended}: see {log}")
        child.terminate()
        child.wait(END_SECONDS)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def free_ports(count):
    with contextlib.ExitStack() as stack:
        return [stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(count)]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class served:
    """A folder on loopback by Python's own web server, which knows no ranges."""

    def __init__(self, folder):
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return "http://127.0.0.1:%d" % self.server.server_port

    def __exit__(self, *_):
        self.server.shutdown()


class Machine:
    """One simulated BMC, as `shoal sim` tells of it."""

    def __init__(self, line):
        self.serial, self.url = line["serial"], line["bmc_address"]
        self.username, self.password, self.tls = line["username"], line["password"], line.get("tls")

    def state(self):
        """The truth, which no Redfish client sees."""
        return request(f"{self.url}/sim/v1/state").json()

    def redfish(self, path, method="GET", body=None):
        pair = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        answer = request(self.url + path, method, body, {"Authorization": f"Basic {pair}"})
        return answer.json() if answer.body else None


@contextlib.contextmanager
def simulator(count, *flags):
    """`shoal sim` with machines of the generic persona."""
    command = [SHOAL, "sim", "--count", str(count), *flags]
    with process(command, "sim.log", stdout=subprocess.PIPE) as child:
        machines = []
        for line in child.stdout:
            line = json.loads(line)
            if line.get("ready"):
                break
            machines.append(Machine(line))
        yield machines


class Controller:
    """A running `shoal serve`."""

    def __init__(self, url, token):
        self.url, self.token = url.rstrip("/"), token
        self.headers = {"Authorization": f"Bearer {token}"}

    def call(self, method, path, body=None, headers=None):
        return request(self.url + path, method, body, {**self.headers, **(headers or {})})

    def read(self, path):
        answer = self.call("GET", path)
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.body[:300]}")
        return answer.json()

    def add(self, machine):
        server = {"serial": machine.serial, "bmc_address": machine.url, "bmc_username": machine.username,
                  "bmc_password": machine.password, "tls": machine.tls or "verify"}
        answer = self.call("POST", "/api/v1/servers", server)
        if answer.status != 201:
            raise RuntimeError(f"{machine.serial} is refused: {answer.status} {answer.body[:300]}")

    def submit(self, recipe):
        answer = self.call("POST", "/api/v1/jobs", recipe)
        if answer.status != 202:
            raise RuntimeError(f"the job is refused: {answer.status} {answer.body[:300]}")
        return answer.json()["job_id"]

    def job(self, job_id):
        return self.read(f"/api/v1/jobs/{job_id}")

    def ended(self, job_id):
        """The job, once its cleanup is over too."""
        until(lambda: self.job(job_id)["finished_at"], 120, "the job is over")
        return self.job(job_id)


@contextlib.contextmanager
def folder(name):
    """A folder of its own for a part of a driver."""
    before, here = os.getcwd(), pathlib.Path(name)
    here.mkdir()
    os.chdir(here)
    try:
        yield here
    finally:
        os.chdir(before)


def tls():
    """Settings of a controller that serves its API and its media over HTTPS, by a certificate made here."""
    run(SHOAL, "tls", "init", "--host", "localhost", "--host", "127.0.0.1", "--dir", ".", check=True)
    return {"TLS_CERT_FILE": "tls.crt", "TLS_KEY_FILE": "tls.key"}


@contextlib.contextmanager
def controller(**settings):
    """`shoal serve` on a free port, with a folder of its own and a stand-in installer."""
    token = secrets.token_hex(16)
    environment = {
        "CONTROLLER_HTTP_ADDR": "127.0.0.1:0",
        "DB_URL": "controller/shoal.db",
        "TASK_ISO_DIR": "controller/task-isos",
        "INSTALLER_CACHE_DIR": "controller/installers",
        "IMAGES_DIR": "controller/images",
        "MASTER_KEY_FILE": "controller/master.key",
        "SHOAL_BOOTSTRAP_TOKEN": token,
        "LOG_FORMAT": "json",
        **settings,
    }
    environment.setdefault("ESXI_INSTALLER_URL", installer())
    pathlib.Path("controller").mkdir()
    log = pathlib.Path("serve.log")
    with process([SHOAL, "serve"], log, environment):
        url = until(lambda: listening(log), START_SECONDS, "shoal serve listens")
        until(lambda: request(url.rstrip("/") + "/readyz").status == 200, START_SECONDS, "shoal serve is ready")
        yield Controller(url, token)


def listening(log):
    """The URL that a controller says it listens at."""
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError):
            line = json.loads(line)
            if "listens" in str(line) and (url := find(line, "url")):
                return url
    return None


def find(tree, key):
    if not isinstance(tree, dict):
        return None
    return tree.get(key) or next(filter(None, (find(branch, key) for branch in tree.values())), None)


def installer(name="installer.iso"):
    """An ISO laid out as VMware's, made by xorriso; nothing in it runs."""
    boot_cfg = ("bootstate=0\ntitle=Loading ESXi installer\ntimeout=5\nprefix=\nkernel=/b.b00\n"
                "kernelopt=runweasel cdromBoot\nmodules=/k.b00 --- /s.v00\nbuild=8.0.3-0.0.24022510\nupdated=0\n")
    sizes = {"B.B00": 300_000, "K.B00": 1_000_000, "S.V00": 2_000_000, "ISOLINUX.BIN": 24_576,
             "MBOOT.C32": 90_000, "EFIBOOT.IMG": 262_144, "EFI/BOOT/BOOTX64.EFI": 65_536}
    noise, tree = random.Random(1), pathlib.Path(name + ".tree")
    (tree / "EFI/BOOT").mkdir(parents=True)
    for path in ("BOOT.CFG", "EFI/BOOT/BOOT.CFG"):
        (tree / path).write_text(boot_cfg)
    for path, size in sizes.items():
        (tree / path).write_bytes(noise.randbytes(size))
    made = run("xorriso", "-as", "mkisofs", "-iso-level", "1", "-V", "ESXI-OUTSIDE", "-A", "ESXIMAGE",
               "-b", "ISOLINUX.BIN", "-c", "BOOT.CAT", "-no-emul-boot", "-boot-load-size", "4",
               "-boot-info-table", "-eltorito-alt-boot", "-e", "EFIBOOT.IMG", "-no-emul-boot",
               "-o", name, str(tree))
    if made.returncode != 0:
        raise RuntimeError(f"xorriso: {made.stderr}")
    return str(pathlib.Path(name).resolve())


def maintenance_iso():
    """An ISO that boots a Linux, as far as a simulated machine does; nothing in it runs."""
    noise, tree = random.Random(2), pathlib.Path("maintenance")
    for path in ("isolinux", "boot/grub", "EFI/BOOT"):
        (tree / path).mkdir(parents=True)
    (tree / "isolinux/isolinux.cfg").write_text(
        "default m\nlabel m\nkernel /boot/vmlinuz\ninitrd /boot/initrd.img\nappend quiet\n")
    (tree / "boot/grub/grub.cfg").write_text("linux /boot/vmlinuz quiet\ninitrd /boot/initrd.img\nboot\n")
    for path, size in {"isolinux/isolinux.bin": 24_576, "boot/grub/efi.img": 262_144, "EFI/BOOT/BOOTX64.EFI": 98_304,
                 "boot/vmlinuz": 1 << 20, "boot/initrd.img": 4 << 20}.items():
        (tree / path).write_bytes(noise.randbytes(size))
    run("xorriso", "-as", "mkisofs", "-R", "-V", "MAINTENANCE", "-b", "isolinux/isolinux.bin",
        "-c", "isolinux/boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table",
        "-eltorito-alt-boot", "-e", "boot/grub/efi.img", "-no-emul-boot", "-o", "maintenance.iso", str(tree),
        check=True)


def recipe(machine, **more):
    return {"task_target": "install-esxi.target", "server_serial": machine.serial, "ks_cfg": KICKSTART, **more}


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()
