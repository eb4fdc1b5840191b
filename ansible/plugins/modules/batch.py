#!/usr/bin/python
# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: batch
short_description: Install many servers under common limits
version_added: 0.2.0
author: The Shoal authors (@shoal)
description:
  - Submits a batch and waits for its end. Fails where a row does not succeed.
  - The disks of the servers are erased.
extends_documentation_fragment: [shoal.provision.controller]
attributes:
  check_mode:
    description: The controller checks every row up to the identity of its server, and nothing is changed.
    support: full
options:
  recipe:
    description: The recipe of all rows, without a server.
    type: dict
    required: true
  servers:
    description: Serial numbers, or rows with V(serial), V(variables) and V(recipe).
    type: list
    elements: raw
  labels:
    description: All servers with these labels, in the form V(name=value), in place of O(servers).
    type: list
    elements: str
  name:
    description: A name for people.
    type: str
  limits:
    description: Further fields of the batch, such as V(canary), V(max_parallel), V(max_failures) and V(per_label_parallel).
    type: dict
    default: {}
  change_id:
    description: Names the change. The same batch under the same name within 24 hours is the same one.
    type: str
    required: true
  wait:
    description: Whether the end is waited for.
    type: bool
    default: true
  timeout:
    description: So many seconds are waited. The batch goes on after it.
    type: int
    default: 86400
"""

EXAMPLES = r"""
- name: Install a rack
  shoal.provision.batch:
    recipe: {task_target: install-esxi.target, ks_cfg: "{{ lookup('file', 'esx.cfg') }}"}
    labels: [rack=12]
    limits: {canary: 1, max_parallel: 20}
    change_id: rack-12
"""

RETURN = r"""
batch:
  description: The batch, with its rows.
  type: dict
  returned: when there is one
report:
  description: What the dry run found.
  type: dict
  returned: in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.shoal.provision.plugins.module_utils.controller import ARGUMENTS, PATIENCE, Controller, given


def is_over(batch):
    """Nothing of it will happen without a person."""
    if batch["status"] in ("halted", "paused"):
        return batch["counts"]["running"] == 0
    return batch["finished_at"] is not None


def main():
    module = AnsibleModule(
        argument_spec=dict(
            ARGUMENTS,
            recipe={"type": "dict", "required": True, "no_log": True},
            servers={"type": "list", "elements": "raw"},
            labels={"type": "list", "elements": "str"},
            name={"type": "str"},
            limits={"type": "dict", "default": {}},
            change_id={"type": "str", "required": True},
            wait={"type": "bool", "default": True},
            timeout={"type": "int", "default": 86400},
        ),
        supports_check_mode=True,
        required_one_of=[("servers", "labels")],
        mutually_exclusive=[("servers", "labels")],
    )
    controller, params = Controller(module), module.params
    body = dict(params["limits"], **given(params, ["recipe", "servers", "labels", "name"]))
    if module.check_mode:
        report = controller.ask("POST", ("batches",), body, {"dry_run": "true"}, timeout=PATIENCE)[1]
        if not report["ok"]:
            bad = ["%s: %s" % (row["server_serial"], row["reason"]) for row in report["rows"] if not row["ok"]]
            module.fail_json(msg="; ".join(bad), report=report)
        module.exit_json(changed=True, report=report)
    key = {"Idempotency-Key": params["change_id"]}
    status, batch = controller.ask("POST", ("batches",), body, headers=key, timeout=PATIENCE)
    changed = status == 202
    if params["wait"]:
        batch = controller.await_end(("batches", batch["batch_id"]), is_over, params["timeout"])
        if batch["counts"]["succeeded"] != batch["counts"]["total"]:
            bad = ["%s: %s" % (row["server_serial"], row["reason"] or row["state"])
                   for row in batch["rows"] if row["state"] != "succeeded"]
            module.fail_json(msg="batch %s is %s; %s" % (batch["batch_id"], batch["status"], "; ".join(bad)),
                             batch=batch, changed=changed)
    module.exit_json(changed=changed, batch=batch)


if __name__ == "__main__":
    main()
