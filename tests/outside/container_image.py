"""The container images of a release, without a container engine: unpacked as an engine would, and started.

Looked at: digests, configuration (a user without privileges, volume, entry point), what is in the one layer; the program
started as that user, with that environment and nothing else, an installation by it, and its end by the signal that
engines send.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import tarfile

import release
import shoal

USER = 65532
STATE = "/var/lib/shoal"
FILES = {"tmp", "usr", "usr/bin", "usr/bin/shoal", "var", "var/lib", "var/lib/shoal"}


def main():
    release.root_only()
    release.own_network()
    shoal.version(release.part("shoal-*-amd64.oci.tar").name.split("-")[1])
    for platform in release.PLATFORMS:
        image = Image(platform)
        described(platform, image)
        machine, *_ = release.program(image.root / "usr/bin/shoal")
        shoal.equal(f"{platform}: the program is one of the platform", machine, release.MACHINES[platform])
    started(Image("amd64", "run"))


class Image:
    """An image of the release, its layers in a folder."""

    def __init__(self, platform, name=""):
        self.place = pathlib.Path(f"{platform}{name}").resolve()
        with tarfile.open(release.part(f"shoal-*-{platform}.oci.tar")) as archive:
            archive.extractall(self.place / "oci")
        index = json.loads((self.place / "oci/index.json").read_text())
        manifest = json.loads(self.blob(index["manifests"][0]["digest"]))
        self.settings = json.loads(self.blob(manifest["config"]["digest"]))
        self.config = self.settings["config"]
        self.root = self.place / "root"
        self.owners = {}
        for layer in manifest["layers"]:
            self.unpack(layer["digest"])

    def blob(self, digest):
        data = self.path(digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest.removeprefix("sha256:"):
            raise RuntimeError(f"{digest} is another blob")
        return data

    def path(self, digest):
        return self.place / "oci/blobs" / digest.replace(":", "/")

    def unpack(self, digest):
        self.blob(digest)
        with tarfile.open(self.path(digest)) as layer:
            self.owners.update({entry.name.strip("/"): (entry.uid, entry.mode & 0o7777) for entry in layer})
            layer.extractall(self.root, numeric_owner=True)


def described(platform, image):
    shoal.equal(f"{platform}: its platform", image.settings["architecture"], platform)
    shoal.equal(f"{platform}: its user", image.config["User"], f"{USER}:{USER}")
    shoal.equal(f"{platform}: what it runs", [*image.config["Entrypoint"], *image.config["Cmd"]],
                ["/usr/bin/shoal", "serve"])
    shoal.equal(f"{platform}: its volume", list(image.config["Volumes"]), [STATE])
    shoal.equal(f"{platform}: its signal", image.config["StopSignal"], "SIGTERM")
    shoal.equal(f"{platform}: nothing else is in it", set(image.owners), FILES)
    shoal.equal(f"{platform}: its volume is its own", image.owners["var/lib/shoal"], (USER, 0o700))
    shoal.equal(f"{platform}: it cannot change itself", image.owners["usr/bin/shoal"], (0, 0o755))


def started(image):
    """As an engine starts it; the installer is mounted, as a site would do."""
    os.link(shoal.installer(), image.root / "installer.iso")
    (image.root / "installer.iso").chmod(0o644)
    settings = dict(line.split("=", 1) for line in image.config["Env"])
    settings |= {"ESXI_INSTALLER_URL": "/installer.iso", "ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms",
                 "ESXI_MIN_INSTALL_TIME": "2s", "ESXI_PROOF_FLOOR": "1s", "MEDIA_BASE_URL": "http://127.0.0.1:8080"}
    command = ["env", "--ignore-environment", *(f"{name}={value}" for name, value in settings.items()),
               "/usr/sbin/chroot", f"--userspec={USER}:{USER}", str(image.root), *image.config["Entrypoint"],
               *image.config["Cmd"]]
    url = "http://127.0.0.1:8080"
    with shoal.process(command, "image.log") as child:
        shoal.until(lambda: release.ready(url), shoal.START_SECONDS, "the container is ready")
        files = [path for path in (image.root / "var/lib/shoal").rglob("*")]
        shoal.equal("its files are its user's", {path.stat().st_uid for path in files}, {USER})
        controller = shoal.Controller(url, (image.root / "var/lib/shoal/admin.token").read_text().strip())
        with shoal.simulator(1, "--install-seconds", "4") as machines:
            controller.add(machines[0])
            job = controller.ended(controller.submit(shoal.recipe(machines[0])))
            shoal.equal("it installs a machine", job["status"], "succeeded")
    shoal.equal("it ends by the signal that engines send", child.returncode, 0)
    with contextlib.suppress(FileNotFoundError):
        shoal.equal("it leaves nothing outside its volume", [path.name for path in (image.root / "tmp").iterdir()], [])


main()
