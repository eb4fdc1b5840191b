#!/usr/bin/python
# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

DOCUMENTATION = r"""
module: job_info
short_description: A job of a Shoal controller
version_added: 0.2.0
author: The Shoal authors (@shoal)
description:
  - Reads a job with its events, verdict and progress.
extends_documentation_fragment: [shoal.provision.controller]
attributes:
  check_mode:
    description: It only reads.
    support: full
options:
  job_id:
    description: Id of the job.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Read a job
  shoal.provision.job_info:
    job_id: "{{ started.job.job_id }}"
"""

RETURN = r"""
job:
  description: The job as the controller shows it.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.shoal.provision.plugins.module_utils.controller import ARGUMENTS, Controller


def main():
    module = AnsibleModule(
        argument_spec=dict(ARGUMENTS, job_id={"type": "str", "required": True}),
        supports_check_mode=True,
    )
    module.exit_json(changed=False, job=Controller(module).get("jobs", module.params["job_id"]))


if __name__ == "__main__":
    main()
