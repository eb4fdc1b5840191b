"""Configuration of the lab's Redfish service: sushy-tools 2.2.0, told to behave as a BMC does.

As shipped, that emulator has one CD slot, reports every boot override as Continuous, and answers 204
to resets that it does not know. This file puts a subclass of its libvirt driver in its place (nothing
of it is edited) with two CD slots that act on a running machine, an override that is read back as it
is and lasts for one start where it says Once, a serial number, and a refusal of unknown resets.

What it does not do: sessions, ETags, a PowerState that dips in a warm reboot, reading an image while
the machine runs (it fetches the whole image before it answers an insert).
"""
import json
import os
import xml.etree.ElementTree as ElementTree

import flask
import libvirt
import libvirt_qemu
from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources.systems import libvirtdriver

LAB = os.environ["LAB"]
SLOTS = {"CD1": 0, "CD2": 1}  # name of the slot: which cdrom of the machine it is
TARGETS = ("None", "Cd", "Hdd")
RESETS = ("On", "ForceOn", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi")

SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = 0
SUSHY_EMULATOR_LIBVIRT_URI = f"qemu:///system?socket={LAB}/run/libvirt-sock"
SUSHY_EMULATOR_STATE_DIR = f"{LAB}/state"
SUSHY_EMULATOR_SSL_CERT = f"{LAB}/run/cert.pem"
SUSHY_EMULATOR_SSL_KEY = f"{LAB}/run/key.pem"
SUSHY_EMULATOR_AUTH_FILE = f"{LAB}/run/htpasswd"
SUSHY_EMULATOR_VMEDIA_DEVICES = {
    slot: {"Name": f"Virtual {slot}", "MediaTypes": ["CD", "DVD"]} for slot in SLOTS
}


def drives(tree):
    """The hard disks and the cdroms of a machine's definition, each in order."""
    disks = tree.findall("devices/disk")
    return ([d for d in disks if d.get("device") == "disk"],
            [d for d in disks if d.get("device") == "cdrom"])


def boot_order(tree, target):
    """The drives that the firmware tries, in order, for an override target."""
    disks, cds = drives(tree)
    return cds + disks if target == "Cd" else disks


def definition(machine, live):
    flags = 0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE
    return ElementTree.fromstring(machine.XMLDesc(flags))


class Driver(libvirtdriver.LibvirtDriver):
    """The shipped driver with the behaviour above. Overrides live in this process."""

    overrides = {}  # UUID of the machine: (target, Once | Continuous)

    def set_boot_image(self, identity, device, boot_image=None, write_protected=True):
        if device not in SLOTS:
            raise error.BadRequest(f"there is no slot {device}")
        machine = self._get_domain(identity)
        changes = [(False, libvirt.VIR_DOMAIN_AFFECT_CONFIG)]
        if machine.isActive():
            # Forced: a guest that locked its tray does not keep a BMC from changing media.
            changes.append((True, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE))
        for live, flags in changes:
            drive = drives(definition(machine, live))[1][SLOTS[device]]
            for tag in ("source", "alias", "backingStore"):
                for old in drive.findall(tag):
                    drive.remove(old)
            drive.set("type", "file")
            if boot_image:
                ElementTree.SubElement(drive, "source", file=boot_image)
            try:
                machine.updateDeviceFlags(ElementTree.tostring(drive).decode(), flags)
            except libvirt.libvirtError as refusal:
                raise error.FishyError(f"cannot change the medium: {refusal}")

    def get_boot_device(self, identity):
        return self.overrides.get(self.uuid(identity), ("Hdd", ""))[0]

    def set_boot_device(self, identity, boot_source):
        body = flask.request.get_json(silent=True) or {}
        enabled = body.get("Boot", {}).get("BootSourceOverrideEnabled", "Continuous")
        if enabled not in ("Once", "Continuous", "Disabled") or boot_source not in TARGETS:
            raise error.BadRequest(f"no override {enabled} {boot_source}")
        machine, uuid = self._get_domain(identity), self.uuid(identity)
        if enabled == "Disabled" or boot_source == "None":
            self.overrides.pop(uuid, None)
            boot_source = "Hdd"
        else:
            self.overrides[uuid] = (boot_source, enabled)
        self._order_next_start(machine, boot_source)

    def _order_next_start(self, machine, target):
        """Writes the boot order that a cold start will use."""
        tree = ElementTree.fromstring(self.get_xml_desc(machine))
        for place in tree.findall("os") + tree.findall("devices/disk"):
            for old in place.findall("boot"):
                place.remove(old)
        for position, drive in enumerate(boot_order(tree, target), start=1):
            ElementTree.SubElement(drive, "boot", order=str(position))
        self._defineDomain(tree)

    def _order_next_reset(self, machine, target):
        """Changes the boot order of a running machine: QEMU tells the firmware at each reset."""
        tree = definition(machine, live=True)
        chosen = [drive.find("alias").get("name") for drive in boot_order(tree, target)]
        everything = [drive.find("alias").get("name") for drive in tree.findall("devices/disk")]
        for alias, index in [(alias, -1) for alias in everything] + [(a, n) for n, a in enumerate(chosen, 1)]:
            libvirt_qemu.qemuMonitorCommand(machine, json.dumps({
                "execute": "qom-set",
                "arguments": {"path": f"/machine/peripheral/{alias}", "property": "bootindex", "value": index},
            }), 0)

    def get_boot_mode(self, identity):
        return super().get_boot_mode(identity) or "Legacy"

    def set_boot_mode(self, identity, boot_mode):
        # As shipped this names firmware files that Debian keeps elsewhere, and the machine is broken.
        if boot_mode != self.get_boot_mode(identity):
            raise error.BadRequest(f"the boot mode of this machine is fixed, {boot_mode} is not it")

    def set_power_state(self, identity, state):
        if state not in RESETS:
            raise error.BadRequest(f"there is no reset {state}")
        machine, uuid = self._get_domain(identity), self.uuid(identity)
        was_on = machine.isActive()
        super().set_power_state(identity, state)
        starts = (state in ("On", "ForceOn") and not was_on) or (state == "ForceRestart" and was_on)
        if starts and self.overrides.get(uuid, ("", ""))[1] == "Once":
            # This start has its order already; every later one, warm or cold, boots from disk.
            del self.overrides[uuid]
            self._order_next_reset(machine, "Hdd")
            self._order_next_start(machine, "Hdd")


def complete_disarm():
    """A PATCH that disables the override need not name a target; the emulator wants one."""
    request = flask.request
    if request.method == "PATCH" and request.path.startswith("/redfish/v1/Systems/"):
        boot = (request.get_json(silent=True) or {}).get("Boot") or {}
        if boot.get("BootSourceOverrideEnabled") == "Disabled":
            boot.setdefault("BootSourceOverrideTarget", "None")


def tell_the_truth(response):
    """Reports the override as it is, and a serial number: LAB0000, LAB0001, ..."""
    request = flask.request
    if request.endpoint != "system_resource" or request.method != "GET" or response.status_code != 200:
        return response
    system = json.loads(response.get_data())
    target, enabled = Driver.overrides.get(system["UUID"], ("None", "Disabled"))
    system["SerialNumber"] = "LAB%04d" % int(system["UUID"][-12:], 16)
    system["Boot"].update({
        "BootSourceOverrideTarget": target,
        "BootSourceOverrideEnabled": enabled,
        "BootSourceOverrideTarget@Redfish.AllowableValues": list(TARGETS),
    })
    response.set_data(json.dumps(system))
    return response


libvirtdriver.LibvirtDriver = Driver
emulator.app.before_request(complete_disarm)
emulator.app.after_request(tell_the_truth)
