"""What `cargo xtask dist` has made, for the drivers that test it, and the Debian systems that they test it in.

Invariant: a release without amd64, or a platform of which a part is missing, fails; it is not skipped.
"""
import contextlib
import ctypes
import fcntl
import http.client
import os
import pathlib
import shutil
import tarfile

import shoal

PROJECT = pathlib.Path(__file__).parents[2]
SHIPPED = PROJECT / "target/shipped"
# A release may have been made for the first one only.
PLATFORMS = ["amd64"] + (["arm64"] if list(SHIPPED.glob("*arm64*")) else [])
# Number of the machine in the header of a program.
MACHINES = {"amd64": 62, "arm64": 183}
EMULATOR = "/usr/bin/qemu-aarch64-static"
CLONE_NEWNET = 0x40000000


def part(pattern):
    """The one file of the release of that name."""
    found = sorted(SHIPPED.glob(pattern))
    if len(found) != 1:
        raise RuntimeError(f"{SHIPPED} has {len(found)} files {pattern}: run `cargo xtask dist` first")
    return found[0]


def unpacked(platform, folder):
    """The archive of a platform."""
    with tarfile.open(part(f"shoal-*-{platform}.tar.gz")) as archive:
        archive.extractall(folder)
    return next(pathlib.Path(folder).iterdir()).resolve()


def debian(name, suite, variant, *packages):
    """The tree of a Debian system with these packages, made once by mmdebstrap."""
    place = PROJECT / "target/outside" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    # The drivers run side by side.
    with open(place.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "etc").is_dir():
            made = shoal.run("mmdebstrap", "--quiet", f"--variant={variant}", f"--include={','.join(packages)}", suite,
                             str(place))
            if made.returncode != 0:
                raise RuntimeError(f"mmdebstrap: {made.stderr}")
    return place


def repacked(package, version, to):
    """The same package with another version."""
    tree = pathlib.Path(f"{to}.tree").resolve()
    shoal.run("dpkg-deb", "--raw-extract", str(package), str(tree), check=True)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines(keepends=True)
    control.write_text("".join(f"Version: {version}\n" if line.startswith("Version:") else line for line in lines))
    shoal.run("dpkg-deb", "--root-owner-group", "--build", "-Zgzip", "-z1", str(tree), str(to), check=True)
    shutil.rmtree(tree)


def field(package, name):
    return shoal.run("dpkg-deb", "--field", str(package), name).stdout.strip()


def own_network():
    """Loopback, all its ports and nothing else, for this process and what it starts."""
    if ctypes.CDLL(None).unshare(CLONE_NEWNET) != 0:
        raise RuntimeError("no network of its own")
    shoal.run("ip", "link", "set", "lo", "up", check=True)


def ready(url):
    with contextlib.suppress(OSError, http.client.HTTPException):
        return shoal.request(f"{url}/readyz").status == 200


def program(path):
    """Of a program: the machine, and the kinds of its segments and sections."""
    data = path.read_bytes()
    word = lambda at, size: int.from_bytes(data[at:at + size], "little")
    segments, sections = (word(32, 8), word(54, 2), word(56, 2)), (word(40, 8), word(58, 2), word(60, 2))
    kinds = lambda table, at: {word(table[0] + i * table[1] + at, 4) for i in range(table[2])}
    return word(18, 2), kinds(segments, 0), kinds(sections, 4)


def root_only():
    if os.geteuid() != 0:
        shoal.unfit("only root can do this")
