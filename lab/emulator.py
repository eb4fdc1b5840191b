"""Configuration of the lab's Redfish service: sushy-tools 2.2.0, told to behave as a BMC does.

As shipped, that emulator has one CD slot, reports every boot override as Continuous, answers 204 to
resets that it does not know, and downloads an image before it answers an insert. This file puts
subclasses of its drivers in their place (nothing of it is edited): slots as the machine has drives,
which act on a running machine and which the guest can empty; an override that is read back as it is
and lasts for one start where it says Once; a serial number; a refusal of unknown resets.

BMCs differ, so each machine has traits, read from $LAB/run/traits/NAME.json at every request:

    media     "download": the image is fetched whole at insert. "stream": the machine's drive reads the
              URL piece by piece while the machine runs, by QEMU's own HTTP client
    shows     what the system resource says of boots: any of "LastResetTime", "BootProgress"
    override  "honest"; or "sticky": a one-time override stays armed until somebody disarms it
    slow      seconds that pass before a write begins

What it does not do: sessions, ETags, a PowerState that dips in a warm reboot.
"""
import contextlib
import datetime
import json
import os
import pathlib
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree

import flask
import libvirt
import libvirt_qemu
import requests
from sushy_tools import error
from sushy_tools.emulator import main as emulator
from sushy_tools.emulator.resources import vmedia
from sushy_tools.emulator.resources.systems import libvirtdriver

LAB = os.environ["LAB"]
URI = f"qemu:///system?socket={LAB}/run/libvirt-sock"
CD = {"MediaTypes": ["CD", "DVD"]}
SLOTS = {"CD1": CD, "CD2": CD, "USB1": {"MediaTypes": ["USBStick"]}}
TARGETS = ("None", "Cd", "Hdd")
RESETS = ("On", "ForceOn", "ForceOff", "GracefulShutdown", "GracefulRestart", "ForceRestart", "Nmi")
PLAIN = {"media": "download", "shows": [], "override": "honest", "slow": 0}
# Lines by which an operating system shows that it runs.
RUNNING = (b"STANDIN: installer starts", b"INSTALLED OK")
# How long a drive waits for a medium whose server is slow or away, before its guest sees an error.
PATIENCE_SECONDS = 90
READ_AHEAD_BYTES = 128 * 1024

SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = 0
SUSHY_EMULATOR_LIBVIRT_URI = URI
SUSHY_EMULATOR_STATE_DIR = f"{LAB}/state"
SUSHY_EMULATOR_SSL_CERT = f"{LAB}/run/cert.pem"
SUSHY_EMULATOR_SSL_KEY = f"{LAB}/run/key.pem"
SUSHY_EMULATOR_AUTH_FILE = f"{LAB}/run/htpasswd"
SUSHY_EMULATOR_VMEDIA_DEVICES = {slot: dict(kind, Name=f"Virtual {slot}") for slot, kind in SLOTS.items()}

# Requests and libvirt's events come in threads of their own.
media_lock = threading.RLock()


def traits(name):
    try:
        return {**PLAIN, **json.loads(pathlib.Path(LAB, f"run/traits/{name}.json").read_text())}
    except FileNotFoundError:
        return PLAIN


def definition(machine, live):
    flags = 0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE
    return ElementTree.fromstring(machine.XMLDesc(flags))


def is_stick(disk):
    return disk.find("target").get("bus") == "usb"


def drives(tree):
    """The hard disks and the cdroms of a machine's definition, each in order."""
    disks = [disk for disk in tree.findall("devices/disk") if not is_stick(disk)]
    return ([d for d in disks if d.get("device") == "disk"],
            [d for d in disks if d.get("device") == "cdrom"])


def slots(tree):
    """The slots of a machine's BMC: one a CD drive, and one for a stick where it has USB."""
    cds = [f"CD{number}" for number, _ in enumerate(drives(tree)[1], start=1)]
    has_usb = any(c.get("type") == "usb" and c.get("model") != "none" for c in tree.findall("devices/controller"))
    return cds + ["USB1"] * has_usb


def drive_of(tree, slot):
    return drives(tree)[1][int(slot[-1]) - 1]


def boot_order(tree, target):
    """The drives that the firmware tries, in order, for an override target."""
    disks, cds = drives(tree)
    return cds + disks if target == "Cd" else disks


def put(drive, image):
    """Puts an image (a path, a URL or nothing) into a drive of a machine's definition."""
    for tag in ("source", "alias", "backingStore"):
        for old in drive.findall(tag):
            drive.remove(old)
    url = urllib.parse.urlsplit(image or "")
    if not url.scheme:
        drive.set("type", "file")
        if image:
            ElementTree.SubElement(drive, "source", file=image)
        return
    drive.set("type", "network")
    source = ElementTree.SubElement(drive, "source", protocol=url.scheme, name=url.path.lstrip("/"))
    port = url.port or {"http": 80, "https": 443}[url.scheme]
    ElementTree.SubElement(source, "host", name=url.hostname, port=str(port))
    if url.scheme == "https":
        ElementTree.SubElement(source, "ssl", verify="no")
    ElementTree.SubElement(source, "readahead", size=str(READ_AHEAD_BYTES))
    ElementTree.SubElement(source, "timeout", seconds=str(PATIENCE_SECONDS))


class Media(vmedia.StaticDriver):
    """The shipped slots, as many as the machine has, and streamed where its traits say so."""

    @property
    def devices(self):
        return slots(definition(emulator.app.systems._get_domain(flask.request.view_args["identity"]), False))

    def _get_device(self, identity, device):
        machine = emulator.app.systems._get_domain(identity)
        if device not in slots(definition(machine, False)):
            raise error.NotFound(f"there is no slot {device}")
        return super()._get_device(identity, device)

    def insert_image(self, identity, device, image_url, inserted=True, write_protected=True,
                     username=None, password=None):
        name = emulator.app.systems.name(identity)
        if traits(name)["media"] == "download":
            return super().insert_image(identity, device, image_url, inserted, write_protected,
                                        username=username, password=password)
        answer = requests.head(image_url, verify=False, timeout=30)
        if answer.status_code >= 400:
            raise error.FishyError(f"the image server says {answer.status_code}", code=400)
        slot = self._get_device(identity, device)
        slot.update(Image=image_url, ImageName=os.path.basename(image_url), Inserted=inserted,
                    WriteProtected=write_protected, UserName=username or "", Password=password or "")
        self._devices.update({(identity, device): slot})
        return image_url

    def note_guest_eject(self, identity, device):
        slot = self._get_device(identity, device)
        slot.update(Image="", ImageName="", Inserted=False)
        self._devices.update({(identity, device): slot})


class Driver(libvirtdriver.LibvirtDriver):
    """The shipped driver with the behaviour above. Overrides and boots live in this process."""

    overrides = {}  # UUID of the machine: (target, Once | Continuous)
    boots = {}  # UUID of the machine: (when, length of its console then)

    def set_boot_image(self, identity, device, boot_image=None, write_protected=True):
        machine = self._get_domain(identity)
        if device not in slots(definition(machine, False)):
            raise error.BadRequest(f"there is no slot {device}")
        change = self._change_stick if device == "USB1" else self._change_cd
        with media_lock:
            try:
                change(machine, device, boot_image)
            except libvirt.libvirtError as refusal:
                raise error.FishyError(f"cannot change the medium: {refusal}")

    def _change_cd(self, machine, slot, image):
        changes = [(False, libvirt.VIR_DOMAIN_AFFECT_CONFIG)]
        if machine.isActive():
            # Forced: a guest that locked its tray does not keep a BMC from changing media.
            changes.append((True, libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_DEVICE_MODIFY_FORCE))
        for live, flags in changes:
            drive = drive_of(definition(machine, live), slot)
            put(drive, image)
            machine.updateDeviceFlags(ElementTree.tostring(drive).decode(), flags)

    def _change_stick(self, machine, _, image):
        """A stick is no drive that may be empty: it is plugged in and pulled out."""
        for live in [False] + [True] * machine.isActive():
            flags = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else libvirt.VIR_DOMAIN_AFFECT_CONFIG
            for stick in filter(is_stick, definition(machine, live).findall("devices/disk")):
                machine.detachDeviceFlags(ElementTree.tostring(stick).decode(), flags)
            if image:
                stick = ElementTree.Element("disk", device="disk")
                ElementTree.SubElement(stick, "driver", name="qemu", type="raw")
                ElementTree.SubElement(stick, "target", dev="sdu", bus="usb", removable="on")
                ElementTree.SubElement(stick, "readonly")
                put(stick, image)
                machine.attachDeviceFlags(ElementTree.tostring(stick).decode(), flags)

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
        if boot_source == "Hdd" and machine.isActive():
            self._order_next_reset(machine, boot_source)

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
        everything = [drive.find("alias").get("name") for group in drives(tree) for drive in group]
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
        is_once = self.overrides.get(uuid, ("", ""))[1] == "Once"
        if starts and is_once and traits(machine.name())["override"] == "honest":
            # This start has its order already; every later one, warm or cold, boots from disk.
            del self.overrides[uuid]
            self._order_next_reset(machine, "Hdd")
            self._order_next_start(machine, "Hdd")


def console_of(machine):
    return pathlib.Path(LAB, f"log/{machine.name()}.serial")


def console_size(machine):
    with contextlib.suppress(FileNotFoundError):
        return console_of(machine).stat().st_size
    return 0


def note_boot(machine):
    Driver.boots[machine.UUIDString()] = (datetime.datetime.now(datetime.timezone.utc), console_size(machine))


def boot_progress(machine, since, power):
    """What a firmware tells its BMC. The operating system's part is read off the console."""
    if power != "On":
        return "None"
    text = b""
    with contextlib.suppress(FileNotFoundError):
        text = console_of(machine).read_bytes()[since:]
    if any(line in text for line in RUNNING):
        return "OSRunning"
    return "OSBootStarted" if text.strip() else "SystemHardwareInitializationComplete"


def on_lifecycle(_, machine, event, *__):
    if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
        note_boot(machine)


def on_reboot(_, machine, *__):
    note_boot(machine)


def on_tray(_, machine, alias, reason, __):
    """A tray that opens with its medium in it was opened by the guest: the BMC takes the medium out."""
    if reason != libvirt.VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN:
        return
    with media_lock, contextlib.suppress(libvirt.libvirtError):
        for number, drive in enumerate(drives(definition(machine, True))[1], start=1):
            opened = drive.find("target").get("tray") == "open" and drive.find("source") is not None
            if opened and drive.find("alias").get("name") == alias:
                emulator.app.systems._change_cd(machine, f"CD{number}", None)
                emulator.app.vmedia.note_guest_eject(machine.UUIDString(), f"CD{number}")


def watch_machines():
    """Follows what happens to the machines; the connection lives as long as this process."""
    connection = libvirt.open(URI)
    for event, note in ((libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle),
                        (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, on_reboot),
                        (libvirt.VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, on_tray)):
        connection.domainEventRegisterAny(None, event, note, None)
    while True:
        libvirt.virEventRunDefaultImpl()


def take_time():
    """A BMC that is slow at what changes something."""
    request = flask.request
    parts = request.path.split("/")
    if request.method in ("PATCH", "POST") and parts[1:4] == ["redfish", "v1", "Systems"]:
        time.sleep(traits(f"vm{int(parts[4][-12:], 16)}")["slow"])


def complete_disarm():
    """A PATCH that disables the override need not name a target; the emulator wants one."""
    request = flask.request
    if request.method == "PATCH" and request.path.startswith("/redfish/v1/Systems/"):
        boot = (request.get_json(silent=True) or {}).get("Boot") or {}
        if boot.get("BootSourceOverrideEnabled") == "Disabled":
            boot.setdefault("BootSourceOverrideTarget", "None")


def tell_the_truth(response):
    """Reports the override as it is, a serial number (LAB0000, LAB0001, ...), and boots where it may."""
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
    shows = traits(system["Name"])["shows"]
    when, since = Driver.boots.get(system["UUID"], (None, 0))
    if "LastResetTime" in shows and when:
        system["LastResetTime"] = when.isoformat(timespec="seconds")
    if "BootProgress" in shows:
        machine = emulator.app.systems._get_domain(system["UUID"])
        system["BootProgress"] = {"LastState": boot_progress(machine, since, system["PowerState"])}
    response.set_data(json.dumps(system))
    return response


libvirtdriver.LibvirtDriver = Driver
vmedia.StaticDriver = Media
emulator.app.before_request(take_time)
emulator.app.before_request(complete_disarm)
emulator.app.after_request(tell_the_truth)
libvirt.virEventRegisterDefaultImpl()
threading.Thread(target=watch_machines, daemon=True).start()
