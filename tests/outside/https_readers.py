"""Clients that offer HTTP/2, at the media of a job and at the API over HTTPS: QEMU's curl driver, nbdkit's curl plugin
(which is how OpenBMC reads virtual media), and Chromium.

Each reads a whole image, or a page; what it read is compared with what curl reads by HTTP/1.1.
"""
import pathlib
import re

import shoal


def main():
    shoal.version(re.search(r"(\d\S*)", shoal.run("nbdkit", "--version").stdout)[1])
    with shoal.simulator(1, "--tls", "--install-seconds", "600") as [machine], \
            shoal.controller(**shoal.tls()) as controller:
        controller.add(machine)
        controller.submit(shoal.recipe(machine))
        shoal.until(lambda: machine.state()["starts"] == 1, 60, "the machine is started")
        for slot, medium in sorted(machine.state()["media"].items()):
            if medium["inserted"]:
                image(slot, medium["image"])
        page(controller.url + "/healthz")


def image(slot, url):
    whole = pathlib.Path("whole")
    shoal.run("curl", "--insecure", "--http1.1", "--silent", "--show-error", "--output", str(whole), url)
    expected = whole.read_bytes()
    qemu = "json:" + shoal.json.dumps({"driver": "raw", "file": {"driver": "https", "url": url, "sslverify": "off"}})
    # One read at a time: with several in flight, QEMU 7.2 can miss the end of one although every byte of it came.
    reads(slot, "QEMU's curl driver", expected, "qemu-img", "convert", "-m", "1", "-O", "raw", qemu, "copy")
    reads(slot, "nbdkit's curl plugin", expected, "nbdkit", "--exit-with-parent", "-U", "-", "curl", f"url={url}",
          "sslverify=false", "--run", "nbdcopy \"$uri\" copy")


def reads(slot, reader, expected, *command):
    copy = pathlib.Path("copy")
    copy.unlink(missing_ok=True)
    done = shoal.run(*command, timeout=120)
    found = copy.read_bytes() if copy.exists() else b""
    shoal.check(f"{slot}: {reader} reads the image over HTTPS", done.returncode == 0 and found == expected,
                f"{done.returncode}, {len(found)} of {len(expected)} bytes: {done.stderr[-300:]}")


def page(url):
    done = shoal.run("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--ignore-certificate-errors", "--user-data-dir=chromium", "--dump-dom", url, timeout=120)
    shoal.check("Chromium shows /healthz over HTTPS", "instance_id" in done.stdout, done.stdout[-300:] + done.stderr[-300:])


main()
