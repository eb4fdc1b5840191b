"""The Debian package of a release, on a booted Debian system that has nothing else: installed, upgraded, downgraded,
removed and purged.

The other version that it is upgraded from and downgraded to is the same package with a lower number. Looked at: what an
installation starts (nothing) and makes; upgrades and downgrades in each step of jobs, after which every job has succeeded
and every machine was installed once; that settings, key and database survive all but a purge, and what a purge leaves.
"""
import os
import pathlib
import shutil
import time

import booted
import release
import shoal
from booted import STATE, admin, ready

KEY = "/etc/credstore/shoal.master-key"
SETTINGS = "/etc/shoal/shoal.toml"
LOWER = "0.0.1-1"
SITE = """
tls_cert_file = "/etc/shoal/tls.crt"
tls_key_file = "/etc/shoal/tls.key"
media_addr = "127.0.0.1:8081"
esxi_installer_url = "/srv/installer.iso"
esxi_stable_window = "2s"
esxi_poll_interval = "200ms"
esxi_min_install_time = "2s"
esxi_proof_floor = "1s"
"""
# A package is exchanged when a job is seen in such a step.
MOMENTS = ("mount.maintenance", "boot.override", "reset", "esxi.poll_power")
SHELLS = {"/usr/share/bash-completion/completions/shoal", "/usr/share/zsh/vendor-completions/_shoal",
          "/usr/share/fish/vendor_completions.d/shoal.fish"}


def main():
    release.root_only()
    here = pathlib.Path.cwd()
    tree = release.debian("debian-root", "bookworm", "minbase", "systemd-sysv", "dbus", "bash-completion")
    pathlib.Path("packages").mkdir()
    newer, older = make_packages(pathlib.Path("packages"))
    pathlib.Path("srv").mkdir()
    shutil.copy(shoal.installer(), "srv/installer.iso")
    unbooted(tree, here, older)
    with booted.container(f"--directory={tree}", "--volatile=overlay", f"--bind-ro={here}/packages:/packages",
                          f"--bind-ro={here}/srv:/srv") as inside:
        installs(inside, older)
        configured(inside)
        with shoal.simulator(len(MOMENTS), "--install-seconds", "6") as machines:
            exchanged(inside, [newer, older], machines)
        removed(inside, newer)
        purged(inside)


def make_packages(folder):
    """That of the release, and itself with a lower version."""
    newer, older = folder / release.part("shoal_*_amd64.deb").name, folder / f"shoal_{LOWER}_amd64.deb"
    shutil.copy(release.part("shoal_*_amd64.deb"), newer)
    shoal.version(release.field(newer, "Version"))
    release.repacked(newer, LOWER, older)
    for platform in release.PLATFORMS:
        package = release.part(f"shoal_*_{platform}.deb")
        shoal.equal(f"the package of {platform} is one", release.field(package, "Architecture"), platform)
    return [f"/packages/{path.name}" for path in (newer, older)]


def unbooted(tree, here, package):
    """Into a file system that is not running, as image builders do."""
    ended = shoal.run("systemd-nspawn", "--quiet", f"--directory={tree}", "--volatile=overlay", "--register=no",
                      "--keep-unit", "--pipe", "--private-network", f"--machine=shoal-{os.getpid()}-still",
                      f"--bind-ro={here}/packages:/packages", "sh", "-c",
                      f"dpkg --install {package} && dpkg --purge shoal")
    shoal.check("it is installed and purged where no systemd runs", ended.returncode == 0, ended.stderr[-400:])


def dpkg(inside, *arguments):
    """What dpkg says; that it ends well is a check."""
    ended = inside.run("dpkg", "--force-confold", *arguments)
    shoal.check(f"dpkg {' '.join(arguments)}", ended.returncode == 0, (ended.stdout + ended.stderr)[-600:])
    return ended.stdout + ended.stderr


def state(inside, path):
    """Mode, owner and group."""
    return inside.run("stat", "--format=%a %U %G", path).stdout.strip()


def installs(inside, package):
    said = dpkg(inside, "--install", package)
    shoal.check("it says what to do next", "systemctl enable --now shoal" in said and KEY in said, said)
    shoal.equal("it starts nothing", inside.show("ActiveState", "UnitFileState"), ["inactive", "disabled"])
    shoal.equal("the key is root's alone", state(inside, KEY), "600 root root")
    shoal.equal("so is its folder", state(inside, "/etc/credstore"), "700 root root")
    shoal.equal("the settings are the service's to read", state(inside, SETTINGS), "640 root shoal-files")
    shoal.equal("so are passwords in files", state(inside, "/etc/shoal/bmc-secrets"), "750 root shoal-files")
    shoal.equal("the key has 32 bytes", inside.run("stat", "--format=%s", KEY).stdout.strip(), "32")
    inside.done("it is on the path", "shoal", "--version")
    listed = set(inside.run("dpkg", "--listfiles", "shoal").stdout.split())
    shoal.equal("every shell has completions", SHELLS - listed, set())
    inside.done("bash completes", "bash", "-c",
                "source /usr/share/bash-completion/completions/shoal; complete -p shoal; "
                "COMP_WORDS=(shoal job su) COMP_CWORD=2; _shoal shoal su job; [[ ${COMPREPLY[*]} == submit ]]")
    pages = [path for path in listed if path.startswith("/usr/share/man/man1/shoal")]
    shoal.check("every command has a page", len(pages) > 40 and all(path.endswith(".gz") for path in pages), pages)
    documents = {f"/usr/share/doc/shoal/{name}" for name in
                 ("README.md", "docs/operations.md", "docs/try-it-esxi.md", "docs/kickstart-rules/KS001.md", "copyright")}
    shoal.equal("the documents are there", documents - listed, set())
    shoal.check("so is the agent", "/usr/lib/shoal/shoal-agent" in listed, listed)


def up():
    return ready("https")


def controller_of(inside):
    return admin(inside, "https")


def configured(inside):
    """What an operator does after it, with a key that the service reads as a member of its group."""
    inside.done("a certificate is made", "shoal", "tls", "init", "--host", "127.0.0.1", "--dir", "/etc/shoal")
    inside.done("its key is given to the group", "sh", "-c", "chgrp shoal-files /etc/shoal/tls.key && "
                "chmod 0640 /etc/shoal/tls.key")
    inside.run("sh", "-c", f"cat >> {SETTINGS} <<'END'{SITE}END")
    inside.done("the settings are good", "env", f"DB_URL={STATE}/shoal.db", f"MASTER_KEY_FILE={KEY}", "shoal", "serve",
                "--check", "--config", SETTINGS)
    inside.done("the service is started", "systemctl", "enable", "--now", "shoal")
    shoal.until(up, shoal.START_SECONDS, "the service is ready")
    files = inside.files()
    shoal.check("all that it made is where the unit says", not [path for *_, path in files if "/var/shoal" in path], files)


def exchanged(inside, packages, machines):
    """The other version in each step, up and down, with what a site has as it was."""
    before = [inside.run("sha256sum", path).stdout for path in (KEY, SETTINGS)]
    for index, (moment, machine) in enumerate(zip(MOMENTS, machines)):
        package = packages[index % len(packages)]
        controller = controller_of(inside)
        controller.add(machine)
        job = controller.submit(shoal.recipe(machine))
        seen = wait_for(controller, job, moment)
        first = inside.show("MainPID")
        dpkg(inside, "--install", package)
        shoal.until(up, 60, "the service is ready")
        way = f"{'up' if package == packages[0] else 'down'} in {seen}"
        shoal.check(f"{way}: it was restarted", inside.show("MainPID") != first, first)
        shoal.equal(f"{way}: once", inside.show("ActiveState", "NRestarts"), ["active", "0"])
        shoal.equal(f"{way}: the job succeeds", controller_of(inside).ended(job)["status"], "succeeded")
        found = machine.state()
        shoal.equal(f"{way}: installed once, with one start", [found["installs"], found["interrupted_installs"]], [1, 0])
    after = [inside.run("sha256sum", path).stdout for path in (KEY, SETTINGS)]
    shoal.equal("key and settings are as they were", after, before)
    starts = [line for line in inside.journal() if line.startswith("Started shoal.service")]
    shoal.equal("every start of the service is one of these", len(starts), 1 + len(MOMENTS))


def wait_for(controller, job, moment):
    """Until a job is in a step, which may be a short one: a later step counts too, and is what is told."""
    order = [*MOMENTS, "cleanup"]
    end = time.monotonic() + 60
    while time.monotonic() < end:
        step = controller.job(job)["step"] or ""
        if step == moment or (step in order and order.index(step) > order.index(moment)):
            return step
        time.sleep(0.02)
    raise TimeoutError(f"{moment}: not within 60 s")


def removed(inside, package):
    known = [server["serial"] for server in controller_of(inside).read("/api/v1/servers")["servers"]]
    said = dpkg(inside, "--remove", "shoal")
    shoal.check("a removal says what stays", STATE in said and KEY in said, said)
    shoal.equal("the service is stopped", inside.show("ActiveState"), ["inactive"])
    shoal.equal("the program is gone", inside.run("which", "shoal").returncode, 1)
    for path in (KEY, SETTINGS, f"{STATE}/shoal.db", f"{STATE}/admin.token"):
        shoal.equal(f"{path} stays", inside.run("test", "-s", path).returncode, 0)
    dpkg(inside, "--install", package)
    shoal.equal("a new installation starts nothing", inside.show("ActiveState"), ["inactive"])
    inside.done("it can be started", "systemctl", "start", "shoal")
    shoal.until(up, shoal.START_SECONDS, "the service is ready")
    again = [server["serial"] for server in controller_of(inside).read("/api/v1/servers")["servers"]]
    shoal.equal("it knows what it knew", again, known)


def purged(inside):
    said = dpkg(inside, "--purge", "shoal")
    shoal.equal("the service is stopped by a purge", inside.show("ActiveState"), ["inactive"])
    for path in ("/var/lib/private/shoal", "/etc/shoal", "the group shoal-files"):
        shoal.check(f"a purge says that {path} goes", f"deletes {path}" in said, said)
    shoal.check("it says that the key stays", f"rm {KEY}" in said, said)
    left = inside.run("find", "/", "-xdev", "-name", "*shoal*", "-not", "-path", "/proc/*").stdout.split()
    shoal.equal("nothing but the key is left", [path for path in left if path != KEY], [])
    shoal.equal("the group is gone", inside.run("getent", "group", "shoal-files").returncode, 2)
    failed = inside.run("systemctl", "--failed", "--plain", "--no-legend").stdout
    shoal.check("systemd knows of no failure", "shoal" not in failed, failed)


main()
