"""Debian's docker-registry (the distribution project's), with images that skopeo has pushed and a login that it made.

The registry has TLS by an authority of its own and accounts by htpasswd; another one speaks plain HTTP. Looked at: what
submitting a recipe says of each fault, a simulated installation, and the layer as curl reads it meanwhile.
"""
import contextlib
import json
import pathlib
import random
import re
import socket

import shoal

USER, PASSWORD = "installer", "planted-password"
TITLE = "org.opencontainers.image.title"
LAYER = random.Random(3).randbytes(3_000_001)
SETTINGS = {"MAINTENANCE_ISO_URL": "maintenance.iso", "ESXI_POLL_INTERVAL": "200ms"}


def main():
    shoal.version(re.search(r"\d+\.\d+\.\d+", shoal.run("docker-registry", "--version").stdout)[0])
    certificates()
    shoal.maintenance_iso()
    shoal.run("htpasswd", "-Bbc", "accounts", USER, PASSWORD, check=True)
    with registry("secure", True) as secure, registry("plain", False) as plain:
        log_in(secure)
        push(layout("disk", [layer(LAYER, "debian.raw.zst")]), f"{secure}/images/debian:12", "auth.json")
        push(layout("two", [layer(b"one", "a"), layer(b"two", "b")]), f"{secure}/images/two:1", "auth.json")
        push(layout("disk", [layer(LAYER, "debian.raw.zst")]), f"{plain}/images/debian:12", None)
        with shoal.simulator(1, "--install-seconds", "20") as [machine]:
            refusals(machine, secure, plain)
            installs(machine, secure, plain)


def certificates():
    """An authority, and a certificate of it for the loopback address."""
    pathlib.Path("extensions").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    shoal.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
              "-days", "2", "-subj", "/CN=An authority of this test", check=True)
    shoal.run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "registry.key", "-out", "registry.csr",
              "-subj", "/CN=127.0.0.1", check=True)
    shoal.run("openssl", "x509", "-req", "-in", "registry.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2",
              "-set_serial", "2", "-extfile", "extensions", "-out", "registry.crt", check=True)


@contextlib.contextmanager
def registry(name, is_secure):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    http = {"addr": address, "secret": "x"}
    config = {"version": 0.1, "log": {"level": "info"}, "http": http,
              "storage": {"filesystem": {"rootdirectory": str(pathlib.Path(name).resolve())}}}
    if is_secure:
        http["tls"] = {"certificate": "registry.crt", "key": "registry.key"}
        config["auth"] = {"htpasswd": {"realm": "registry", "path": "accounts"}}
    # JSON is YAML.
    pathlib.Path(f"{name}.yml").write_text(json.dumps(config))
    scheme = "https" if is_secure else "http"
    with shoal.process(["docker-registry", "serve", f"{name}.yml"], f"{name}.log"):
        shoal.until(lambda: answers(f"{scheme}://{address}/v2/"), shoal.START_SECONDS, "the registry answers")
        yield address


def answers(url):
    with contextlib.suppress(OSError):
        return shoal.request(url).status in (200, 401)


def log_in(address):
    """By skopeo, into a file as docker's."""
    pathlib.Path("trusted").mkdir()
    pathlib.Path("trusted/ca.crt").write_bytes(pathlib.Path("ca.crt").read_bytes())
    done = shoal.run("skopeo", "login", "--authfile", "auth.json", "--cert-dir", "trusted", "-u", USER,
                     "-p", PASSWORD, address)
    shoal.equal("skopeo logs in", done.returncode, 0)


def layer(content, title):
    return content, {"mediaType": "application/octet-stream", "digest": "sha256:" + shoal.sha256(content),
                     "size": len(content), "annotations": {TITLE: title}}


def layout(name, layers):
    """An OCI image layout, as artifacts are laid out by their tools."""
    blobs = pathlib.Path(name, "blobs/sha256")
    blobs.mkdir(parents=True, exist_ok=True)

    def keep(content):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        (blobs / shoal.sha256(content)).write_bytes(content)
        return {"digest": "sha256:" + shoal.sha256(content), "size": len(content)}

    for content, _ in layers:
        keep(content)
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **keep({"architecture": "amd64", "os": "linux"})}
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [described for _, described in layers]}
    pathlib.Path(name, "index.json").write_text(json.dumps(
        {"schemaVersion": 2, "manifests": [{"mediaType": kind, **keep(manifest)}]}))
    pathlib.Path(name, "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return name


def push(name, reference, logins):
    access = ["--authfile", logins, "--dest-cert-dir", "trusted"] if logins else ["--dest-tls-verify=false"]
    done = shoal.run("skopeo", "--insecure-policy", "copy", "--preserve-digests", *access, f"oci:{name}",
                     f"docker://{reference}")
    shoal.equal(f"skopeo pushes {reference.split('/', 1)[1]}", done.returncode, 0)


def recipe(machine, reference):
    return {"task_target": "install-linux.target", "server_serial": machine.serial,
            "target_disk": {"serial": "DISK0001"}, "oci_url": reference}


@contextlib.contextmanager
def controller(name, allowed, **settings):
    with shoal.folder(name):
        files = {key: f"../{value}" for key, value in settings.pop("files", {}).items()}
        settings = {**SETTINGS, "MAINTENANCE_ISO_URL": "../maintenance.iso", "IMAGES_ALLOW": allowed, **files, **settings}
        with shoal.controller(**settings) as serving:
            yield serving


def refusal(serving, machine, reference):
    answer = serving.call("POST", "/api/v1/jobs?dry_run=true", recipe(machine, reference))
    errors = answer.json().get("errors", [])
    return f"{answer.status} " + "; ".join(error["message"] for error in errors)


def refusals(machine, secure, plain):
    """What an operator is told, one setting after the other."""
    allowed = f"https://{secure}/images/,https://{plain}/"
    with controller("untrusting", allowed) as serving:
        serving.add(machine)
        says(serving, machine, f"{secure}/images/debian:12", "add its authority with CA_FILE")
        says(serving, machine, f"{plain}/images/debian:12", "add it to REGISTRY_PLAIN_HTTP")
        says(serving, machine, f"{secure}/others/debian:12", "IMAGES_ALLOW")
    with controller("anonymous", allowed, files={"CA_FILE": "ca.crt"}) as serving:
        serving.add(machine)
        says(serving, machine, f"{secure}/images/debian:12", "requires a login for images/debian (401)")
    wrong = json.loads(pathlib.Path("auth.json").read_text())
    wrong["auths"][secure]["auth"] = "d3Jvbmc6d3Jvbmc="
    pathlib.Path("wrong.json").write_text(json.dumps(wrong))
    files = {"CA_FILE": "ca.crt", "REGISTRY_AUTH_FILE": "wrong.json"}
    with controller("rejected", allowed, files=files) as serving:
        serving.add(machine)
        says(serving, machine, f"{secure}/images/debian:12", "rejects the login")


def says(serving, machine, reference, words):
    found = refusal(serving, machine, reference)
    shoal.check(f"a refusal says: {words}", found.startswith("422 ") and words in found, found)


def installs(machine, secure, plain):
    files = {"CA_FILE": "ca.crt", "REGISTRY_AUTH_FILE": "auth.json"}
    allowed = f"https://{secure}/images/,http://{plain}/"
    with controller("installing", allowed, files=files, REGISTRY_PLAIN_HTTP=plain) as serving:
        serving.add(machine)
        says(serving, machine, f"{secure}/images/debian:13", "has no tag 13 in images/debian (404)")
        says(serving, machine, f"{secure}/images/ubuntu:1", "(404)")
        says(serving, machine, f"{secure}/images/two:1", "has 2 layers")
        answer = serving.call("POST", "/api/v1/jobs?dry_run=true", recipe(machine, f"{plain}/images/debian:12"))
        shoal.equal("the registry without TLS is asked where the settings name it", answer.status, 200)
        job_id = serving.submit(recipe(machine, f"{secure}/images/debian:12"))
        image = serving.job(job_id)["registry_image"]
        shoal.equal("the layer that the job shows", image["layer"], "sha256:" + shoal.sha256(LAYER))
        inspected = shoal.run("skopeo", "inspect", "--authfile", "../auth.json", "--cert-dir", "../trusted",
                              f"docker://{secure}/images/debian:12")
        shoal.equal("the digest that skopeo sees", image["digest"], json.loads(inspected.stdout)["Digest"])
        task_recipe = shoal.until(lambda: read_recipe(serving, job_id), 60, "the task ISO is there")
        read_by_curl(task_recipe["image"])
        job = serving.ended(job_id)
        shoal.equal("the installation succeeds", job["status"], "succeeded")
        shoal.equal("its verdict", job["verdict"]["confidence"], "proven")
        shoal.equal("what the host wrote", machine.state().get("installed_image_sha256"), shoal.sha256(LAYER))
        gone = shoal.run("curl", "-s", "-o", "gone", "-w", "%{http_code}", task_recipe["image"]["url"])
        shoal.equal("after the job the image is gone", gone.stdout, "404")
        secrets_in_log(pathlib.Path("serve.log").read_text(), json.dumps(job) + json.dumps(task_recipe))


def read_recipe(serving, job_id):
    """`/recipe.json`, by xorriso from the ISO that operators read."""
    answer = serving.call("GET", f"/media/tasks/{job_id}/task.iso")
    if answer.status != 200:
        return None
    pathlib.Path("task.iso").write_bytes(answer.body)
    shoal.run("xorriso", "-osirrox", "on", "-indev", "task.iso", "-extract", "/recipe.json", "recipe.json", check=True)
    return json.loads(pathlib.Path("recipe.json").read_text())


def read_by_curl(image):
    shoal.equal("the recipe's digest and size", (image["sha256"], image["size"]), (shoal.sha256(LAYER), len(LAYER)))
    url = image["url"]
    for name, options, expected in (
        ("whole", [], LAYER),
        ("a part", ["-r", "1000000-1999999"], LAYER[1_000_000:2_000_000]),
        ("the end", ["-r", "-7"], LAYER[-7:]),
        ("from a byte on", ["-C", "2999999"], LAYER[2_999_999:]),
    ):
        # curl continues a file that is there.
        pathlib.Path("read").unlink(missing_ok=True)
        shoal.run("curl", "-sf", *options, "-o", "read", url, check=True)
        shoal.check(f"curl reads {name}", pathlib.Path("read").read_bytes() == expected)
    head = shoal.run("curl", "-sfI", url).stdout.lower()
    shoal.check("HEAD names the size", f"content-length: {len(LAYER)}" in head, head)


def secrets_in_log(log, shown):
    pair = json.loads(pathlib.Path("../auth.json").read_text())["auths"]
    [login] = [entry["auth"] for entry in pair.values()]
    for name, text in (("the log", log), ("the job and the recipe", shown)):
        found = [secret for secret in (PASSWORD, login) if secret in text]
        shoal.equal(f"{name} holds no login", found, [])


main()
