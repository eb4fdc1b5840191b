"""`docs/install.md`, each way to install followed line by line on a booted Debian system of its own.

The archive; and the package, with upgrade, return to the older version, removal and purge, in the order of the page. The
newer version that the page names is the same package with a higher number. Not run: what needs a container engine, which
`container_image.py` does without one, and what makes a release.
"""
import pathlib
import re
import shutil

import booted
import release
import shoal
from booted import ready

PAGE = release.PROJECT / "docs/install.md"
HOME = "/srv/reader"
WITH_PACKAGE = ("Debian package", "Upgrade", "Roll back", "Remove")
# An editor needs a terminal and a person.
BY_HAND = "editor "


def main():
    release.root_only()
    text = PAGE.read_text()
    for name, sections in (("archive", ("Archive",)), ("package", WITH_PACKAGE)):
        with shoal.folder(name):
            follow(text, sections)


def follow(text, sections):
    """In a system of its own, with the files of the release under the names that the page has."""
    reader = pathlib.Path("reader").resolve()
    reader.mkdir()
    downloaded(text, reader)
    tree = release.debian("debian-root", "bookworm", "minbase", "systemd-sysv", "dbus", "bash-completion")
    with booted.container(f"--directory={tree}", "--volatile=overlay", f"--bind={reader}:{HOME}") as inside:
        # The page's reader answers what apt asks.
        inside.run("sh", "-c", "echo 'APT::Get::Assume-Yes true;' > /etc/apt/apt.conf.d/99yes")
        (reader / "variables").write_text("")
        commands(inside, text.split("\n## ")[0])
        for section in sections:
            commands(inside, part(text, section))
            state = "inactive" if section == "Remove" else "active"
            shoal.equal(f"{section}: the service is {state}", inside.show("ActiveState"), [state])


def downloaded(text, reader):
    first, *newer = sorted(set(re.findall(r"\./(shoal_[\d.]+-1_amd64\.deb)", text)))
    package = release.part("shoal_*_amd64.deb")
    shoal.version(release.field(package, "Version"))
    shutil.copy(package, reader / first)
    for name in newer:
        release.repacked(package, release.field(package, "Version") + "+newer", reader / name)
    for name in re.findall(r"(shoal-[\d.]+-amd64\.tar\.gz)", text)[:1]:
        shutil.copy(release.part("shoal-*-amd64.tar.gz"), reader / name)
    shutil.copy(release.SHIPPED / "SHA256SUMS", reader)


def part(text, name):
    return text.split(f"\n## {name}\n")[1].split("\n## ")[0]


def commands(inside, section):
    """Every line of its blocks, by a shell that keeps its variables."""
    for block in re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith(BY_HAND):
                script = f". {HOME}/variables; cd {HOME}; {line}\nended=$?; export -p > {HOME}/variables; exit $ended"
                ended = inside.run("bash", "-c", script)
                shoal.check(line, ended.returncode == 0, f"{ended.returncode} {(ended.stdout + ended.stderr)[-400:]}")
        # A person reads on more slowly than this.
        if "systemctl" in block:
            shoal.until(ready, shoal.START_SECONDS, "the service is ready")


main()
