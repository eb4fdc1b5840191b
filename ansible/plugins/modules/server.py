#!/usr/bin/python
# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: server
short_description: A server of the inventory of a Shoal controller
version_added: 0.2.0
author: The Shoal authors (@shoal)
description:
  - Adds, changes or removes a server. Only the fields that are given are changed.
extends_documentation_fragment: [shoal.provision.controller]
attributes:
  check_mode:
    description: Nothing is written.
    support: full
options:
  serial:
    description: Serial number, exactly as the BMC shows it.
    type: str
    required: true
  state:
    description: Whether the server is in the inventory.
    type: str
    choices: [present, absent]
    default: present
  bmc_address:
    description: URL of the BMC. Required for a new server.
    type: str
  bmc_username:
    description: Login at the BMC. Required for a new server.
    type: str
  bmc_password:
    description: Its password. Required for a new server, and where O(bmc_address) or O(tls) changes.
    type: str
  tls:
    description: How the certificate of the BMC is judged, V(verify), V(insecure) or V(pin:SHA256).
    type: str
  system_id:
    description: The System, where the BMC has several.
    type: str
  management_address:
    description: Address of the ESXi that will be installed.
    type: str
  protected:
    description: Whether jobs are refused.
    type: bool
  labels:
    description: Labels. Others of the server stay.
    type: dict
  variables:
    description: Values for templates of kickstarts. Others of the server stay.
    type: dict
  update_secrets:
    description:
      - The controller shows no password and no variable, so a change of one cannot be seen. With V(always) they are written
        on each run, which is reported as a change.
    type: str
    choices: [on_create, always]
    default: on_create
"""

EXAMPLES = r"""
- name: Add a server
  shoal.provision.server:
    serial: CZ20300ABC
    bmc_address: https://10.1.0.17
    bmc_username: admin
    bmc_password: "{{ vault_bmc_password }}"
    tls: insecure
    labels: {rack: "7"}
"""

RETURN = r"""
server:
  description: The record as the controller shows it.
  type: dict
  returned: when the server is present, but for a new one in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.shoal.provision.plugins.module_utils.controller import ARGUMENTS, Controller, given

PLAIN = ["bmc_address", "bmc_username", "tls", "system_id", "management_address", "protected"]
SECRET = ["bmc_password", "variables"]


def changes(params, server):
    """The merge patch that makes the record what was given."""
    patch = {name: value for name, value in given(params, PLAIN).items() if value != server.get(name)}
    labels = {name: str(value) for name, value in (params["labels"] or {}).items()}
    labels = {name: value for name, value in labels.items() if server.get("labels", {}).get(name) != value}
    if labels:
        patch["labels"] = labels
    new_names = set(params["variables"] or {}) - set(server.get("variable_names") or [])
    if params["update_secrets"] == "always":
        patch.update(given(params, SECRET))
    elif new_names:
        patch["variables"] = {name: params["variables"][name] for name in new_names}
    if params["bmc_password"] is not None and ("bmc_address" in patch or "tls" in patch):
        patch["bmc_password"] = params["bmc_password"]
    return patch


def ensure_present(module, controller, server, etag):
    if server is None:
        body = dict(given(module.params, ["serial"] + PLAIN + SECRET))
        body["labels"] = {name: str(value) for name, value in (module.params["labels"] or {}).items()}
        if not module.check_mode:
            server = controller.ask("POST", ("servers",), body)[1]
        return {"changed": True, "server": server} if server else {"changed": True}
    patch = changes(module.params, server)
    if patch and not module.check_mode:
        headers = {"If-Match": etag} if etag else {}
        server = controller.ask("PATCH", ("servers", module.params["serial"]), patch, headers=headers)[1]
    return {"changed": bool(patch), "server": server}


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            serial={"type": "str", "required": True},
            state={"type": "str", "choices": ["present", "absent"], "default": "present"},
            bmc_address={"type": "str"},
            bmc_username={"type": "str"},
            bmc_password={"type": "str", "no_log": True},
            tls={"type": "str"},
            system_id={"type": "str"},
            management_address={"type": "str"},
            protected={"type": "bool"},
            labels={"type": "dict"},
            variables={"type": "dict", "no_log": True},
            update_secrets={"type": "str", "choices": ["on_create", "always"], "default": "on_create", "no_log": False},
        ),
        supports_check_mode=True,
    )
    controller = Controller(module)
    server, etag = controller.find("servers", module.params["serial"])
    if module.params["state"] == "present":
        module.exit_json(**ensure_present(module, controller, server, etag))
    if server is not None and not module.check_mode:
        headers = {"If-Match": etag} if etag else {}
        controller.ask("DELETE", ("servers", module.params["serial"]), headers=headers)
    module.exit_json(changed=server is not None)


if __name__ == "__main__":
    main()
