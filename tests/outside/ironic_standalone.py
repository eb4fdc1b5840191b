"""OpenStack Ironic, standalone in one process, deploying a boot ISO to a simulated machine.

Its redfish hardware type is how most open clouds drive BMCs: power, boot device, virtual media, in the order and
with the retries that Ironic chose. What it did is read from the machine.
"""
import json
import pathlib

import shoal

CONFIG = """
[DEFAULT]
auth_strategy = noauth
rpc_transport = none
state_path = {here}/state
host = localhost
enabled_hardware_types = redfish
enabled_boot_interfaces = redfish-virtual-media
enabled_deploy_interfaces = ramdisk
enabled_power_interfaces = redfish
enabled_management_interfaces = redfish
enabled_inspect_interfaces = no-inspect
enabled_bios_interfaces = no-bios
enabled_raid_interfaces = no-raid
enabled_vendor_interfaces = no-vendor
enabled_console_interfaces = no-console
enabled_rescue_interfaces = no-rescue
enabled_firmware_interfaces = no-firmware
enabled_network_interfaces = noop
enabled_storage_interfaces = noop
[api]
host_ip = 127.0.0.1
port = {port}
[conductor]
automated_clean = false
[database]
connection = sqlite:///{here}/ironic.db
[deploy]
http_root = {here}/http
http_url = {files}
[oslo_messaging_notifications]
driver = noop
[redfish]
use_swift = false
[json_rpc]
auth_strategy = noauth
"""
# The newest that this release knows of what is used here; interfaces by name since 1.31.
HEADERS = {"X-OpenStack-Ironic-API-Version": "1.82"}
# The installer asks for Enter at its end: Ironic's boot device lasts, and a reboot would install anew.
KICKSTART = "vmaccepteula\ninstall --firstdisk --overwritevmfs\n"


def main():
    shoal.version("ironic")
    here, [port] = pathlib.Path().resolve(), shoal.free_ports(1)
    pathlib.Path("http").mkdir()
    pathlib.Path("state").mkdir()
    image = shoal.installer("installer.iso")
    pathlib.Path("ks.cfg").write_text(KICKSTART)
    shoal.run(shoal.SHOAL, "iso", "prepare", image, "http/unattended.iso", "--ks", "ks.cfg")
    with shoal.served("http") as files, shoal.simulator(1, "--tls", "--install-seconds", "2") as [machine]:
        pathlib.Path("ironic.conf").write_text(CONFIG.format(here=here, port=port, files=files))
        shoal.run(shoal.tool("ironic-dbsync"), "--config-file", "ironic.conf", "create_schema")
        command = [shoal.tool("ironic"), "--config-file", "ironic.conf"]
        with shoal.process(command, "ironic.log"):
            ironic = Ironic(f"http://127.0.0.1:{port}")
            shoal.until(ironic.has_driver, 90, "Ironic knows its driver")
            deploy(ironic, machine, f"{files}/unattended.iso")


class Ironic:
    def __init__(self, base):
        self.base = base

    def call(self, method, path, body=None):
        answer = shoal.request(f"{self.base}/v1/{path}", method, body, HEADERS)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.body[:500]}")
        return answer.json() if answer.body else None

    def has_driver(self):
        try:
            return [d for d in self.call("GET", "drivers")["drivers"] if d["name"] == "redfish" and d["hosts"]]
        except OSError:
            return False

    def move(self, node, target, reached):
        """Asks for a provision state and waits for where that leads."""
        self.call("PUT", f"nodes/{node}/states/provision", {"target": target})

        def arrived():
            seen = self.call("GET", f"nodes/{node}")
            if seen["provision_state"].endswith(("failed", "error")):
                raise RuntimeError(f"{target}: {seen['provision_state']}: {seen['last_error']}")
            return seen["provision_state"] == reached and not seen["target_provision_state"]
        shoal.until(arrived, 180, f"the node is {reached}")
        shoal.check(f"a node that is to be {target} becomes {reached}", True)


def deploy(ironic, machine, image):
    [system] = machine.redfish("/redfish/v1/Systems")["Members"]
    node = ironic.call("POST", "nodes", {
        "driver": "redfish", "name": "machine", "deploy_interface": "ramdisk",
        "boot_interface": "redfish-virtual-media",
        "driver_info": {"redfish_address": machine.url, "redfish_system_id": system["@odata.id"],
                        "redfish_username": machine.username, "redfish_password": machine.password,
                        "redfish_verify_ca": False},
        "instance_info": {"boot_iso": image},
        "properties": {"capabilities": "boot_mode:uefi"},
    })["uuid"]
    checks = ironic.call("GET", f"nodes/{node}/validate")
    for name in ("boot", "deploy", "management", "power"):
        shoal.equal(f"its {name} interface is content with the machine", checks[name]["result"], True)
    ironic.move(node, "manage", "manageable")
    shoal.equal("it reads the power as it is", ironic.call("GET", f"nodes/{node}")["power_state"], "power off")
    ironic.move(node, "provide", "available")
    ironic.move(node, "active", "active")
    state = machine.state()
    shoal.equal("the machine is on", state["power"], "On")
    inserted = {slot: medium["image"] for slot, medium in state["media"].items() if medium["inserted"]}
    shoal.check("one drive holds a boot ISO", len(inserted) == 1 and ".iso" in json.dumps(inserted), inserted)
    shoal.until(lambda: machine.state()["installs"] == 1, 60, "the machine is installed")
    state = machine.state()
    shoal.equal("by the kickstart on it", state["installed_ks_sha256"], shoal.sha256(KICKSTART))
    shoal.equal("nothing was interrupted", state["interrupted_installs"], 0)
    ironic.move(node, "deleted", "available")
    state = machine.state()
    shoal.equal("after the removal the machine is off", state["power"], "Off")
    shoal.check("and its drives are empty", not any(m["inserted"] for m in state["media"].values()), state["media"])


main()
