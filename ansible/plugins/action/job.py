# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the module of the same name and shows how far the installation is until it has ended."""
from __future__ import annotations

import time

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

ACTIVE = ("queued", "provisioning")
CONTROLLER = ("url", "token", "validate_certs", "ca_path")
EVERY = 5


def progress_of(job):
    """One line for people: where the job is, and what its host has read."""
    read, total = (job.get("progress") or {}).get("installer_bytes_read"), (job.get("progress") or {}).get("installer_bytes_total")
    share = ", %d %% of the installer read" % (100 * read // total) if read and total else ""
    return "%s: %s%s" % (job["server_serial"], job.get("step") or job["status"], share)


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        waits = arguments.pop("wait", True)
        result = self.module("job", dict(arguments, wait=False), task_vars)
        job = result.get("job") or {}
        if self._task.check_mode or result.get("failed") or str(waits).lower() in ("false", "no", "0"):
            return result
        asked = {name: arguments[name] for name in CONTROLLER if name in arguments}
        end, shown = time.monotonic() + float(arguments.get("timeout", 10800)), None
        while job.get("status") in ACTIVE:
            if time.monotonic() > end:
                return dict(result, failed=True, msg="job %s has not ended in time; it goes on" % job["job_id"])
            time.sleep(EVERY)
            look = self.module("job_info", dict(asked, job_id=job["job_id"]), task_vars)
            if look.get("status", 200) >= 500 or "job" not in look:
                if look.get("status", 500) < 500:
                    return dict(result, **look)
                continue
            job = look["job"]
            if progress_of(job) != shown:
                shown = progress_of(job)
                Display().display(shown)
        result["job"] = job
        if job["status"] != "succeeded":
            why = "%s: %s" % (job.get("failed_step") or job["status"], job.get("reason"))
            return dict(result, failed=True, msg=why)
        return result

    def module(self, name, arguments, task_vars):
        return self._execute_module(module_name="shoal.provision." + name, module_args=arguments, task_vars=task_vars)
