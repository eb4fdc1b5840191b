"""schemathesis against the API of a controller: requests that /openapi.json allows, and ones that it does not.

What it looks for: a 5xx, a status or a body that is not described, a request that is described and refused or
not described and taken, a route without its authentication. The controller knows a simulated machine and
its job, so that requests get further than "not found".
"""
import json
import pathlib
import xml.etree.ElementTree

import shoal

# What no schema says of a request: that an address is one, a name free, a kickstart sound, a validator current,
# an Idempotency-Key unused, a row's server known, a SHA-256 the body's, a URL allowed.
CONFIG = """
[phases.stateful.generation]
mode = "positive"
[[operations]]
include-name = ["POST /api/v1/jobs", "POST /api/v1/servers", "PATCH /api/v1/servers/{serial}",
  "PUT /api/v1/servers/{serial}", "DELETE /api/v1/servers/{serial}", "POST /api/v1/tokens",
  "POST /api/v1/jobs/{job_id}/retry", "POST /api/v1/images", "POST /api/v1/images/fetch", "POST /api/v1/batches",
  "POST /api/v1/batches/{batch_id}/resume", "POST /api/v1/import/servers"]
[operations.checks.positive_data_acceptance]
enabled = false
# An import reports each row that is wrong, and takes the others.
[[operations]]
include-name = ["POST /api/v1/import/servers"]
[operations.checks.negative_data_rejection]
enabled = false
"""
# Revoking by chance what it was given would end the run.
LEFT_OUT = "tokens_revoke"
EXAMPLES, SEED = "40", "1"


def main():
    shoal.version("schemathesis")
    settings = {"WRITES_PER_MINUTE": "1000000", "AUTH_FAILURES_PER_MINUTE": "1000000", "WEBHOOK_SECRET": "s" * 32}
    with shoal.simulator(1, "--tls") as [machine], shoal.controller(**settings) as controller:
        controller.add(machine)
        job = controller.submit(shoal.recipe(machine))
        pathlib.Path("schemathesis.toml").write_text(
            f'[parameters]\n"path.serial" = "{machine.serial}"\n"path.job_id" = "{job}"\n{CONFIG}')
        done = shoal.run(
            shoal.tool("st"), "run", f"{controller.url}/openapi.json", "--header",
            f"Authorization: Bearer {controller.token}", "--exclude-operation-id", LEFT_OUT, "--max-examples",
            EXAMPLES, "--seed", SEED, "--report", "junit", "--report-junit-path", "junit.xml", "--no-color")
        tell("junit.xml", done)
        shoal.equal("the controller is ready afterwards", controller.call("GET", "/readyz").status, 200)
        shoal.equal("its audit is sound", controller.read("/api/v1/audit/verify")["ok"], True)
    log = pathlib.Path("serve.log").read_text()
    shoal.check("nothing has panicked", "panicked" not in log)
    errors = [line for line in log.splitlines() if json_level(line) == "ERROR"]
    shoal.check("no error is logged", not errors, errors[:2])


def json_level(line):
    try:
        return json.loads(line).get("level")
    except ValueError:
        return None


def tell(report, done):
    cases = list(xml.etree.ElementTree.parse(report).iter("testcase"))
    for case in cases:
        faults = [fault for kind in ("failure", "error") for fault in case.findall(kind)]
        detail = " ".join((fault.text or fault.get("message") or "")[:600] for fault in faults)
        if case.find("skipped") is None:
            shoal.check(case.get("name"), not faults, detail)
    shoal.check("the run ended as its checks did", done.returncode == 0, done.stdout[-300:])


main()
