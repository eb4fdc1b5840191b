"""Configuration of the lab's second Redfish service: sushy-tools 2.2.0 exactly as it is shipped.

One CD slot, no serial number, every override read back as Continuous and lasting until it is changed,
204 for resets that it does not know. Only addresses, paths and the password are set. It rewrites the
definitions of the machines that it is asked about: give it a machine of its own while it is used.
"""
import os

LAB = os.environ["LAB"]

SUSHY_EMULATOR_LISTEN_IP = "127.0.0.1"
SUSHY_EMULATOR_LISTEN_PORT = 0
SUSHY_EMULATOR_LIBVIRT_URI = f"qemu:///system?socket={LAB}/run/libvirt-sock"
SUSHY_EMULATOR_STATE_DIR = f"{LAB}/state-stock"
SUSHY_EMULATOR_SSL_CERT = f"{LAB}/run/cert.pem"
SUSHY_EMULATOR_SSL_KEY = f"{LAB}/run/key.pem"
SUSHY_EMULATOR_AUTH_FILE = f"{LAB}/run/htpasswd"
