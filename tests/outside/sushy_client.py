"""sushy, OpenStack's Redfish library, against a simulated BMC: power, boot override, virtual media, reading.

Ironic and Metal3 drive every BMC through it. What it is told is compared with what is true of the machine.
"""
import pathlib

import sushy

import shoal


def main():
    shoal.version("sushy")
    image = shoal.installer("live.iso")
    with shoal.simulator(1, "--tls", "--install-seconds", "2") as [machine], shoal.served(".") as base:
        client = sushy.Sushy(machine.url + "/redfish/v1/", verify=False, auth=sushy.auth.SessionAuth(
            machine.username, machine.password))
        reading(client, machine)
        power(client.get_system_collection().get_members()[0], machine)
        boot(client.get_system_collection().get_members()[0], machine)
        media(client, machine, image, base)
        installation(client, machine, image, base)
        client._auth.close()
        shoal.equal("sessions: none is left behind", machine.state()["sessions"], 0)


def reading(client, machine):
    [system] = client.get_system_collection().get_members()
    shoal.equal("reading: one system with the machine's serial number", system.serial_number, machine.serial)
    shoal.check("reading: a UUID", bool(system.uuid))
    shoal.equal("reading: the system is off", system.power_state, sushy.PowerState.OFF)
    [manager] = client.get_manager_collection().get_members()
    shoal.equal("reading: the system's manager is the service's", [m.identity for m in system.managers],
                [manager.identity])
    shoal.check("reading: the manager's firmware version", bool(manager.firmware_version))
    shoal.check("reading: a chassis", len(client.get_chassis_collection().get_members()) == 1)
    shoal.check("reading: the session service", client.get_session_service().service_enabled)


def power(system, machine):
    def to(reset, expected, name):
        system.reset_system(reset)
        shoal.until(lambda: system.refresh() or system.power_state == expected, 20, name)
        shoal.equal(f"power: {name}", machine.state()["power"], expected.value)
    to(sushy.ResetType.ON, sushy.PowerState.ON, "On")
    to(sushy.ResetType.FORCE_RESTART, sushy.PowerState.ON, "ForceRestart")
    to(sushy.ResetType.FORCE_OFF, sushy.PowerState.OFF, "ForceOff")
    shoal.equal("power: the machine counted the same resets", machine.state()["resets"],
                {"On": 1, "ForceRestart": 1, "ForceOff": 1})
    try:
        system.reset_system("Somersault")
        shoal.check("power: a reset that does not exist is refused", False)
    except (sushy.exceptions.SushyError, ValueError) as refusal:
        shoal.check("power: a reset that does not exist is refused", True, refusal)


def boot(system, machine):
    for target, name in ((sushy.BootSource.CD, "Cd"), (sushy.BootSource.HDD, "Hdd"), (sushy.BootSource.PXE, "Pxe")):
        if target not in system.get_allowed_system_boot_source_values():
            shoal.skipped(f"boot override: {name}", "not among the allowable values")
            continue
        for enabled in (sushy.BootSourceOverrideEnabled.ONCE, sushy.BootSourceOverrideEnabled.CONTINUOUS):
            system.set_system_boot_options(target, enabled=enabled)
            system.refresh()
            shoal.equal(f"boot override: {name} {enabled.value}, as sushy reads it",
                        (system.boot.target, system.boot.enabled), (target, enabled))
            shoal.equal(f"boot override: {name} {enabled.value}, as it is",
                        machine.state()["boot_override"], {"enabled": enabled.value, "target": name})
    system.set_system_boot_options(enabled=sushy.BootSourceOverrideEnabled.DISABLED)
    shoal.equal("boot override: disabled", machine.state()["boot_override"]["enabled"], "Disabled")


def cd_slots(client):
    [manager] = client.get_manager_collection().get_members()
    slots = manager.virtual_media.get_members()
    return [slot for slot in slots if sushy.VirtualMediaType.CD in slot.media_types]


def media(client, machine, image, base):
    slots = cd_slots(client)
    shoal.equal("virtual media: two drives for CDs", len(slots), 2)
    for slot in slots:
        url = f"{base}/{pathlib.Path(image).name}"
        slot.insert_media(url, inserted=True, write_protected=True)
        slot.refresh()
        shoal.equal(f"virtual media: {slot.identity} inserted, as sushy reads it", (slot.inserted, slot.image),
                    (True, url))
        shoal.equal(f"virtual media: {slot.identity} inserted, as it is", machine.state()["media"][slot.identity],
                    {"inserted": True, "image": url})
        slot.eject_media()
        slot.refresh()
        shoal.check(f"virtual media: {slot.identity} ejected", not slot.inserted and not slot.image)
        slot.eject_media()
        shoal.check(f"virtual media: {slot.identity} ejected twice is no error", True)


def installation(client, machine, image, base):
    """The whole way that Ironic would go, by an image that installs by itself."""
    pathlib.Path("ks.cfg").write_text(shoal.KICKSTART)
    shoal.run(shoal.SHOAL, "iso", "prepare", image, "unattended.iso", "--ks", "ks.cfg")
    [system] = client.get_system_collection().get_members()
    cd_slots(client)[0].insert_media(f"{base}/unattended.iso")
    system.set_system_boot_options(sushy.BootSource.CD, enabled=sushy.BootSourceOverrideEnabled.ONCE)
    system.reset_system(sushy.ResetType.ON)
    shoal.until(lambda: machine.state()["guest"] == "installed", 60, "the machine is installed")
    state = machine.state()
    shoal.equal("installation: one, and not interrupted", (state["installs"], state["interrupted_installs"]), (1, 0))
    shoal.equal("installation: by the kickstart that was given", state["installed_ks_sha256"],
                shoal.sha256(shoal.KICKSTART))
    shoal.equal("installation: the one-time boot is used up", state["boot_override"]["enabled"], "Disabled")
    system.reset_system(sushy.ResetType.GRACEFUL_SHUTDOWN)
    shoal.until(lambda: system.refresh() or system.power_state == sushy.PowerState.OFF, 30, "it shuts down")
    shoal.equal("power: GracefulShutdown is obeyed by what was installed", machine.state()["power"], "Off")


main()
