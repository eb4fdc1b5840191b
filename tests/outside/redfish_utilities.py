"""DMTF's redfish_utilities against a simulated BMC: `rf_virtual_media.py`, `rf_boot_override.py`, `rf_power_reset.py`.

Command lines as DMTF ships them; what they did is read from the machine, not from what they say.
"""
import functools
import http.server
import pathlib
import threading

import shoal


def main():
    shoal.version("redfish-utilities")
    pathlib.Path("ks.cfg").write_text(shoal.KICKSTART)
    shoal.run(shoal.SHOAL, "iso", "prepare", shoal.installer(), "unattended.iso", "--ks", "ks.cfg")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=".")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/unattended.iso"
    with shoal.simulator(1, "--tls", "--install-seconds", "2") as [machine]:
        virtual_media(machine, url)
        boot_and_reset(machine, url)
    server.shutdown()


def rf(machine, name, *arguments):
    return shoal.run(shoal.tool(f"rf_{name}.py"), "-r", machine.url, "-u", machine.username, "-p",
                     machine.password, *arguments)


def succeeds(machine, name, *arguments):
    done = rf(machine, name, *arguments)
    shoal.check(f"rf_{name}.py {' '.join(arguments[:3])}", done.returncode == 0, done.stdout[-300:])
    return done.stdout


def virtual_media(machine, url):
    told = succeeds(machine, "virtual_media", "info")
    shoal.check("rf_virtual_media.py info: names both drives", "CD1" in told and "CD2" in told, told)
    for slot in ("CD1", "CD2"):
        succeeds(machine, "virtual_media", "insert", "--id", slot, "--image", url)
        shoal.equal(f"insert: {slot} holds the image", machine.state()["media"][slot],
                    {"inserted": True, "image": url})
        told = succeeds(machine, "virtual_media", "info")
        shoal.check(f"rf_virtual_media.py info: shows what {slot} holds", url in told, told)
        succeeds(machine, "virtual_media", "eject", "--id", slot)
        shoal.check(f"eject: {slot} is empty", not machine.state()["media"][slot]["inserted"])
    done = rf(machine, "virtual_media", "insert", "--id", "Floppy9", "--image", url)
    shoal.check("rf_virtual_media.py insert: a drive that is not there is refused", done.returncode != 0)


def boot_and_reset(machine, url):
    succeeds(machine, "boot_override", "-info")
    succeeds(machine, "boot_override", "-t", "Hdd")
    shoal.equal("boot override: Hdd, once", machine.state()["boot_override"], {"enabled": "Once", "target": "Hdd"})
    succeeds(machine, "boot_override", "-t", "None")
    shoal.equal("boot override: none", machine.state()["boot_override"]["enabled"], "Disabled")
    succeeds(machine, "power_reset", "-info")
    succeeds(machine, "power_reset", "-t", "On")
    shoal.until(lambda: machine.state()["power"] == "On", 20, "the machine is on")
    succeeds(machine, "power_reset", "-t", "ForceOff")
    shoal.until(lambda: machine.state()["power"] == "Off", 20, "the machine is off")
    succeeds(machine, "power_reset", "-t", "On")
    shoal.until(lambda: machine.state()["power"] == "On", 20, "the machine is on again")
    succeeds(machine, "virtual_media", "insert", "--id", "CD1", "--image", url)
    succeeds(machine, "boot_override", "-t", "Cd", "-reset")
    shoal.until(lambda: machine.state()["guest"] == "installed", 60, "the machine is installed")
    state = machine.state()
    shoal.equal("installation: one, by the kickstart that was given", (state["installs"], state["installed_ks_sha256"]),
                (1, shoal.sha256(shoal.KICKSTART)))
    shoal.equal("sessions: none is left behind", state["sessions"], 0)


main()
