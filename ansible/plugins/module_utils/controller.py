# Copyright: The Shoal authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a Shoal controller, and what its answers mean to a module."""
from __future__ import annotations

import json
import time
from urllib.parse import quote, urlencode

from ansible.module_utils.basic import env_fallback
from ansible.module_utils.urls import fetch_url

# A BMC that hangs keeps a check or a dry run for minutes.
PATIENCE = 600

ARGUMENTS = {
    "url": {"type": "str", "default": "http://127.0.0.1:8080", "fallback": (env_fallback, ["SHOAL_URL"])},
    "token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["SHOAL_TOKEN"])},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}


class Controller:
    """A controller as a module's parameters name it. A refusal ends the module, with what the controller said."""

    def __init__(self, module):
        self.module = module
        self.base = module.params["url"].rstrip("/") + "/api/v1"

    def get(self, *path, **query):
        return self.ask("GET", path, query=query)[1]

    def find(self, *path):
        """The answer and its ETag; nothing where there is no such thing."""
        status, answer, headers = self.send("GET", path)
        if status == 404:
            return None, None
        self.judge(status, answer, (200,))
        return answer, headers.get("etag")

    def ask(self, method, path, body=None, query=None, headers=None, good=(200, 201, 202, 204), timeout=60):
        """The status and the JSON of an answer that must be one of the good ones."""
        status, answer, unused_headers = self.send(method, path, body, query, headers, timeout)
        self.judge(status, answer, good)
        return status, answer

    def send(self, method, path, body=None, query=None, headers=None, timeout=60):
        url = "/".join([self.base, *[quote(part, safe="") for part in path]])
        if query:
            url += "?" + urlencode(query)
        headers = dict(headers or {}, Accept="application/json")
        if self.module.params["token"]:
            headers["Authorization"] = "Bearer " + self.module.params["token"]
        data = None
        if body is not None:
            headers["Content-Type"], data = "application/json", json.dumps(body)
        response, info = fetch_url(self.module, url, data=data, headers=headers, method=method, timeout=timeout,
                                   ca_path=self.module.params["ca_path"])
        status = info["status"]
        if status == -1:
            self.module.fail_json(msg="cannot reach the controller at %s: %s" % (self.base, info["msg"]))
        # The body of a refusal has been read already.
        text = info.get("body") or (response.read() if response is not None else "")
        try:
            answer = json.loads(text) if text else None
        except ValueError:
            self.module.fail_json(msg="%s %s: the answer %s is not of a Shoal controller" % (method, url, status))
        return status, answer, {name.lower(): value for name, value in info.items()}

    def judge(self, status, answer, good):
        if status in good:
            return
        problem = answer if isinstance(answer, dict) else {}
        errors = ["%s: %s" % (error["pointer"], error["message"]) for error in problem.get("errors") or []]
        said = "; ".join([problem.get("detail") or "the controller refused", *errors])
        self.module.fail_json(msg=said, status=status, problem=problem)

    def await_end(self, path, is_over, timeout, every=5):
        """What is at the path once it is over. A controller that restarts meanwhile is waited for."""
        end = time.monotonic() + timeout
        while True:
            status, answer, unused_headers = self.send("GET", path)
            if status < 500:
                self.judge(status, answer, (200,))
                if is_over(answer):
                    return answer
            if time.monotonic() > end:
                self.module.fail_json(msg="%s has not ended in %s s; it goes on" % ("/".join(path), timeout))
            time.sleep(every)


def given(params, names):
    """Those of the parameters that were given."""
    return {name: params[name] for name in names if params[name] is not None}
