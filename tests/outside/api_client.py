"""A client that openapi-python-client makes of /openapi.json, at work: a server, an installation, its events.

What the document says of bodies and answers is thereby read by a program that knows nothing else of the API.
"""
import importlib
import json
import pathlib
import sys

import shoal


def main():
    shoal.version("openapi-python-client")
    flags = ("--tls", "--install-seconds", "2")
    with shoal.simulator(1, *flags) as [machine], shoal.controller(**SETTINGS) as controller:
        generate(controller)
        drive(machine, controller)


SETTINGS = {"ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms", "ESXI_MIN_INSTALL_TIME": "2s",
            "ESXI_PROOF_FLOOR": "1s"}


def generate(controller):
    document = controller.call("GET", "/openapi.json").json()
    pathlib.Path("openapi.json").write_text(json.dumps(document))
    # Formatting is left out; an image is bytes to a client.
    pathlib.Path("config.json").write_text(json.dumps({
        "post_hooks": [], "content_type_overrides": {"application/x-iso9660-image": "application/octet-stream"}}))
    done = shoal.run(shoal.tool("openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none",
                     "--output-path", "made", "--config", "config.json", "--fail-on-warning")
    shoal.check("a client is made of the document without a warning", done.returncode == 0,
                (done.stdout + done.stderr)[-500:])
    operations = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    files = {file.stem for file in pathlib.Path("made/api").glob("*/*.py")}
    shoal.check("every operation has a function", operations <= files, operations - files)
    sys.path.insert(0, ".")


def call(operation, client, **arguments):
    """The function of an operation, wherever the generator has put it."""
    [file] = pathlib.Path("made/api").glob(f"*/{operation}.py")
    module = importlib.import_module(".".join(file.with_suffix("").parts))
    return module.sync_detailed(client=client, **arguments)


def patch(models, **changes):
    return models.ServerPatch.from_dict(changes)


def plain(value):
    return value.to_dict() if hasattr(value, "to_dict") else value


def drive(machine, controller):
    models = importlib.import_module("made.models")
    client = importlib.import_module("made.client").AuthenticatedClient(base_url=controller.url, token=controller.token)

    def done(operation, status, **arguments):
        answer = call(operation, client, **arguments)
        shoal.equal(f"{operation}: {status}", answer.status_code, status)
        return answer.parsed

    server = models.ServerInput(serial=machine.serial, bmc_address=machine.url, bmc_username=machine.username,
                                bmc_password=machine.password, tls=machine.tls)
    shoal.equal("the server that was made is the one that was given",
                done("servers_create", 201, body=server).serial, machine.serial)
    done("servers_update", 200, serial=machine.serial, body=patch(models, labels={"rack": "7", "row": "b"}))
    patched = done("servers_update", 200, serial=machine.serial, body=patch(models, labels={"row": None, "site": "x"}))
    shoal.equal("a patch merges labels, and takes away one that is null", patched.labels.to_dict(),
                {"rack": "7", "site": "x"})
    shoal.equal("and leaves the rest as it was", (patched.bmc_username, patched.protected), (machine.username, False))
    shoal.equal("the server is listed", [s.serial for s in done("servers_list", 200).servers], [machine.serial])
    checked = done("servers_check", 200, serial=machine.serial, body=models.CheckInput())
    shoal.equal("the check says that it is ready", checked.verdict, "ready")

    recipe = models.RecipeBody(task_target="install-esxi.target", server_serial=machine.serial, ks_cfg=shoal.KICKSTART,
                               metadata={"ticket": 7})
    shoal.check("a dry run is ok", done("jobs_create", 200, body=recipe, dry_run=True).ok)
    job = done("jobs_create", 202, body=recipe)
    call_again = call("jobs_create", client, body=recipe)
    shoal.equal("a second job on a busy server is refused, with a problem that says which job",
                (call_again.status_code, call_again.parsed.job_id), (409, job.job_id))
    shoal.until(lambda: call("jobs_show", client, job_id=job.job_id).parsed.finished_at, 120, "the job is over")
    job = done("jobs_show", 200, job_id=job.job_id)
    shoal.equal("it succeeded, and says by what evidence",
                (job.status, job.verdict.confidence, job.verdict.evidence[0].kind),
                ("succeeded", "probable", "second_boot"))
    shoal.equal("its status is one of an enumeration", job.status, models.JobStatus.SUCCEEDED)
    shoal.equal("its metadata is read back", plain(job.metadata), {"ticket": 7})
    shoal.equal("a retry of it needs force", call("jobs_retry", client, job_id=job.job_id,
                                                  body=models.RetryInput()).status_code, 409)
    shoal.equal("a forced retry can be a dry run",
                done("jobs_retry", 200, job_id=job.job_id, body=models.RetryInput(force=True), dry_run=True).ok, True)
    shoal.equal("the machine says the same", machine.state()["installs"], 1)
    events = done("events_of_one_job", 200, job_id=job.job_id, limit=500).events
    shoal.equal("its events are numbered without a gap", [event.seq for event in events],
                list(range(1, len(events) + 1)))
    shoal.equal("the list shows the job as it is", [(j.job_id, j.status) for j in done("jobs_list", 200).jobs],
                [(job.job_id, "succeeded")])
    shoal.equal("a job that is over cannot be cancelled",
                call("jobs_cancel", client, job_id=job.job_id, body=models.CancelInput()).status_code, 409)
    token = done("tokens_create", 201, body=models.TokenInput(name="reader", role=models.RoleName.VIEWER))
    reader = type(client)(base_url=controller.url, token=token.token)
    shoal.equal("a viewer reads", call("jobs_list", reader).status_code, 200)
    shoal.equal("a viewer does not submit", call("jobs_create", reader, body=recipe).status_code, 403)
    shoal.equal("the audit is sound", done("audit_verify", 200).ok, True)
    shoal.equal("the server is removed", call("servers_remove", client, serial=machine.serial).status_code, 204)


main()
