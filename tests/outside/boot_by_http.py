"""QEMU, booting what a controller serves straight over HTTP: the installer on one drive, the task ISO on another.

No BMC and no emulator in between: the firmware, ISOLINUX and a Linux kernel read the patched image by ranges
through curl, as QEMU's block driver asks for them. The serial console and the disk tell what came of it.
"""
import os
import pathlib
import re
import subprocess

import shoal

LIMIT_SECONDS = 240


def main():
    shoal.version(re.search(r"version (\S+)", shoal.run("qemu-system-x86_64", "--version").stdout)[1])
    settings = {"ESXI_INSTALLER_URL": os.environ["SHOAL_STANDIN"]}
    # The simulated machine only keeps the job, and with it the media, alive.
    with shoal.simulator(1, "--tls", "--install-seconds", "900") as [machine], shoal.controller(**settings) as controller:
        controller.add(machine)
        controller.submit(shoal.recipe(machine, ks_cfg=KICKSTART))
        media = shoal.until(lambda: mounted(machine), 60, "both media are mounted")
        for layout in ("bios", "uefi"):
            boot(layout, media)


KICKSTART = "vmaccepteula\nrootpw VMware1!\ninstall --firstdisk --overwritevmfs\nreboot --noeject\n"


def mounted(machine):
    """The URLs of both media, once the machine was started from them."""
    state = machine.state()
    urls = [medium["image"] for _, medium in sorted(state["media"].items()) if medium["inserted"]]
    return urls if state["starts"] == 1 and len(urls) == 2 else None


def boot(layout, media):
    disk = pathlib.Path(f"{layout}.img")
    with open(disk, "wb") as file:
        file.truncate(2 << 30)
    command = ["qemu-system-x86_64", "-machine", "q35", "-m", "512", "-display", "none", "-serial", "stdio",
               "-no-reboot", "-net", "none"]
    if layout == "uefi":
        variables = pathlib.Path("variables.fd")
        variables.write_bytes(pathlib.Path("/usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes())
        for file, flags in (("/usr/share/OVMF/OVMF_CODE_4M.fd", ",readonly=on"), (variables, "")):
            command += ["-drive", f"if=pflash,format=raw,file={file}{flags}"]
    command += ["-drive", f"file={disk},format=raw,media=disk,if=none,id=disk", "-device", "ide-hd,drive=disk,bus=ide.2"]
    for number, url in enumerate(media):
        command += ["-drive", f"file={url},format=raw,media=cdrom,readonly=on,if=none,id=cd{number}",
                    "-device", f"ide-cd,drive=cd{number},bus=ide.{number},bootindex={number}"]
    with open(f"{layout}.serial", "wb") as console:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=console, timeout=LIMIT_SECONDS).returncode
    shown = pathlib.Path(f"{layout}.serial").read_text(errors="replace")
    shoal.equal(f"{layout}: QEMU ends when the machine reboots", ended, 0)
    shoal.check(f"{layout}: the installer was told where its kickstart is",
                "kernelopt=runweasel ks=cdrom:/KS.CFG" in shown, shown[-800:])
    complete = f"INSTALL COMPLETE sha256={shoal.sha256(KICKSTART)}"
    shoal.check(f"{layout}: it installed by this very kickstart", complete in shown, shown[-800:])
    with open(disk, "rb") as written:
        written.seek(440)
        shoal.equal(f"{layout}: the disk bears its mark", written.read(4), b"SINS")
    disk.unlink()


main()
