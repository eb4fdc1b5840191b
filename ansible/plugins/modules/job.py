#!/usr/bin/python
# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: job
short_description: Install a server by a Shoal controller
version_added: 0.2.0
author: The Shoal authors (@shoal)
description:
  - Submits a job and waits for its end; the progress is shown while it runs. Fails where the job fails.
  - The disks of the server are erased.
extends_documentation_fragment: [shoal.provision.controller]
attributes:
  check_mode:
    description: The controller checks everything up to the identity of the server, and nothing is changed.
    support: full
options:
  server_serial:
    description: Serial number of the server.
    type: str
    required: true
  ks_cfg:
    description: Kickstart of an ESXi installation.
    type: str
  completion_hook:
    description: How the installer reports its end.
    type: str
  esxi_installer_url:
    description: Vendor ISO, in place of the controller's.
    type: str
  esxi_installer_sha256:
    description: SHA-256 of that ISO.
    type: str
  variables:
    description: O(ks_cfg) is a template, and these are its variables, beside those of the server.
    type: dict
  recipe:
    description: Further fields of the recipe, or all of them, as for Linux and Windows.
    type: dict
  change_id:
    description:
      - Names the change. A server whose newest job has succeeded under this name is not installed again, and a job that runs
        under it is waited for. Without it each run of the task installs.
    type: str
  wait:
    description: Whether the end is waited for.
    type: bool
    default: true
  timeout:
    description: So many seconds are waited. The job goes on after it.
    type: int
    default: 10800
"""

EXAMPLES = r"""
- name: Install ESXi
  shoal.provision.job:
    server_serial: CZ20300ABC
    ks_cfg: "{{ lookup('file', 'esx.cfg') }}"
    change_id: rollout-2026-12
"""

RETURN = r"""
job:
  description: The job, with V(status), V(verdict), and where it failed V(failed_step), V(failure_code) and V(reason).
  type: dict
  returned: when there is one
report:
  description: What the dry run found.
  type: dict
  returned: in check mode, where a job would be made
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.shoal.provision.plugins.module_utils.controller import ARGUMENTS, PATIENCE, Controller, given

KICKSTART = ["ks_cfg", "completion_hook", "esxi_installer_url", "esxi_installer_sha256"]
ACTIVE = ("queued", "provisioning")


def recipe(params):
    made = {"server_serial": params["server_serial"]}
    made.update(given(params, KICKSTART))
    if params["ks_cfg"] is not None:
        made["task_target"] = "install-esxi.target"
    if params["variables"] is not None:
        made.update(templated=True, variables=params["variables"])
    made.update(params["recipe"] or {})
    if params["change_id"]:
        made["metadata"] = dict(made.get("metadata") or {}, change_id=params["change_id"])
    return made


def job_of_change(controller, params):
    """The newest job of the server, if it is of this change and has not failed."""
    if not params["change_id"]:
        return None
    server = controller.find("servers", params["server_serial"])[0] or {}
    last = server.get("last_job") or {}
    if last.get("status") not in ACTIVE + ("succeeded",):
        return None
    job = controller.get("jobs", last["job_id"])
    return job if (job.get("metadata") or {}).get("change_id") == params["change_id"] else None


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            server_serial={"type": "str", "required": True},
            ks_cfg={"type": "str", "no_log": True},
            completion_hook={"type": "str"},
            esxi_installer_url={"type": "str"},
            esxi_installer_sha256={"type": "str"},
            variables={"type": "dict", "no_log": True},
            recipe={"type": "dict", "no_log": True},
            change_id={"type": "str"},
            wait={"type": "bool", "default": True},
            timeout={"type": "int", "default": 10800},
        ),
        supports_check_mode=True,
        required_one_of=[("ks_cfg", "recipe")],
    )
    controller, params = Controller(module), module.params
    job = job_of_change(controller, params)
    changed = job is None
    if job is None and module.check_mode:
        report = controller.ask("POST", ("jobs",), recipe(params), {"dry_run": "true"}, timeout=PATIENCE)[1]
        if not report["ok"]:
            module.fail_json(msg="%s: %s" % (report["failed_step"], report["reason"]), report=report)
        module.exit_json(changed=True, report=report)
    if job is None:
        job = controller.ask("POST", ("jobs",), recipe(params))[1]
    # The action of the same name waits, and shows the progress.
    module.exit_json(changed=changed, job=job)


if __name__ == "__main__":
    main()
