#!/usr/bin/python
# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_check
short_description: Whether a server can be installed
version_added: 0.2.0
author: The Shoal authors (@shoal)
description:
  - Has the controller check the BMC of a server. Fails where the server cannot be installed.
extends_documentation_fragment: [shoal.provision.controller]
attributes:
  check_mode:
    description: The BMC is read; no medium is mounted.
    support: full
options:
  serial:
    description: Serial number of the server.
    type: str
    required: true
  probe_media:
    description: Whether a small image is mounted as well, which shows that media reach the BMC.
    type: bool
    default: false
  fail:
    description: Whether a server that cannot be installed is a failure of the task.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check a server before it is installed
  shoal.provision.bmc_check:
    serial: CZ20300ABC
    probe_media: true
"""

RETURN = r"""
report:
  description: What was found, with V(verdict), V(sentence) and V(checks).
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.shoal.provision.plugins.module_utils.controller import ARGUMENTS, PATIENCE, Controller


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            serial={"type": "str", "required": True},
            probe_media={"type": "bool", "default": False},
            fail={"type": "bool", "default": True},
        ),
        supports_check_mode=True,
    )
    probes = module.params["probe_media"] and not module.check_mode
    path = ("servers", module.params["serial"], "check")
    report = Controller(module).ask("POST", path, {"probe_media": probes}, timeout=PATIENCE)[1]
    if module.params["fail"] and report["verdict"] == "not_ready":
        module.fail_json(msg=report["sentence"], report=report)
    module.exit_json(changed=False, report=report)


if __name__ == "__main__":
    main()
