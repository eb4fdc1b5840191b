"""Chromium at the web interface of a controller with 200 simulated hosts.

It signs in, follows an installation live to its verdict, cancels a job, sees a batch halt, runs the doctor, tries markup
in texts of others, has axe-core judge every page, and uses the pages without JavaScript, in dark, at 390 pixels and by
keyboard. The browser's own log shows what its CSP has blocked, and every request that it made. Pictures are left in the
folder of the run.
"""
import contextlib
import http.server
import importlib.resources
import json
import re
import sys
import threading
import time
import urllib.error
import urllib.request

import browser as chromium
import shoal

HOSTS = 200
# In the inventory, for the time that the largest page takes.
MANY = 1_000
# As long as a part of a page may take to change.
SECONDS = 60
SETTINGS = {"ESXI_STABLE_WINDOW": "3s", "ESXI_POLL_INTERVAL": "500ms", "ESXI_MIN_INSTALL_TIME": "3s",
            "ESXI_PROOF_FLOOR": "1s", "WORKER_CONCURRENCY": "32"}
EVIL = "\"><img src=x onerror=\"window.evil=1\"><script>window.evil=1</script>"
MARKUP = "<script>window.evil=1</script>"


def main():
    shoal.version(re.search(r"[\d.]+", shoal.run("chromium", "--version").stdout)[0])
    with contextlib.ExitStack() as stack:
        machines = stack.enter_context(shoal.simulator(HOSTS, "--install-seconds", "4"))
        without_drives = ["--fault", "no-slots", "--serial-prefix", "BAD"]
        bad = stack.enter_context(shoal.simulator(2, *without_drives))
        controller = stack.enter_context(shoal.controller(**SETTINGS))
        liar = machines.pop()
        liar.url = stack.enter_context(Liar(liar.url))
        for number, machine in enumerate([*machines, *bad, liar]):
            controller.add(machine)
            labels = {"rack": f"r{number // 20 + 1:02}", "site": "fra1"}
            controller.call("PATCH", f"/api/v1/servers/{machine.serial}", {"labels": labels})
        controller.call("PATCH", f"/api/v1/servers/{liar.serial}", {"labels": {"rack": "r10", "note": EVIL}})
        start = stack.enter_context(chromium.driver())
        with start() as browser:
            sign_in(browser, controller)
            be_live(browser, controller, machines)
            act(browser, controller, machines)
            batch = halt(browser, controller, machines, bad)
            be_attacked(browser, controller, liar)
            look(browser, controller, pages(controller, machines, batch))
            be_many(browser, controller)
            stay(browser, controller)
        with start(javascript=False) as browser:
            do_without_script(browser, controller, machines, pages(controller, machines, batch))


class Liar:
    """A BMC whose texts are markup: it passes on what a simulated one answers, and refuses every image."""

    def __init__(self, url):
        class Handler(http.server.BaseHTTPRequestHandler):
            def pass_on(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
                if "InsertMedia" in self.path:
                    fault = {"code": "Base.1.0.GeneralError", "message": EVIL, "@Message.ExtendedInfo": [{"Message": EVIL}]}
                    return self.answer(400, {}, json.dumps({"error": fault}).encode())
                kept = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
                asked = urllib.request.Request(url + self.path, body, kept, method=self.command)
                try:
                    answer = shoal.DIRECT.open(asked, timeout=60)
                except urllib.error.HTTPError as refusal:
                    answer = refusal
                status, text = answer.status, answer.read()
                if text.startswith(b"{"):
                    told = json.loads(text)
                    told.update({key: EVIL for key in ("Model", "Manufacturer") if key in told})
                    text = json.dumps(told).encode()
                self.answer(status, answer.headers, text)

            def answer(self, status, headers, text):
                self.send_response(status)
                for name in ("Content-Type", "Location", "X-Auth-Token", "ETag", "Allow"):
                    if name in headers:
                        self.send_header(name, headers[name])
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_DELETE = pass_on

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()


def pages(controller, machines, batch):
    """Every page, by a name for its picture, with a part of its text."""
    serial = machines[0].serial
    job = controller.read(f"/api/v1/jobs?server_serial={serial}")["jobs"][0]["job_id"]
    token = next(one["id"] for one in controller.read("/api/v1/tokens")["tokens"])
    return {
        "fleet": ("/", serial), "job": (f"/jobs/{job}", "What the host has read"),
        "retry": (f"/jobs/{job}/retry", "install --firstdisk"), "server": (f"/servers/{serial}", "Learned behaviour"),
        "release": (f"/servers/{serial}/release", "Release the server"), "batches": ("/batches", "halted"),
        "batch": (f"/batches/{batch}", "halted"), "resume": (f"/batches/{batch}/resume", "hosts are reset"),
        "kickstart": ("/kickstart", "Render for a host"), "audit": ("/audit", "server.add"),
        "verify": ("/audit/verify", "are unchanged"), "tokens": ("/tokens", "SHOAL_BOOTSTRAP_TOKEN"),
        "revoke": (f"/tokens/{token}/revoke", "Revoke"), "unknown": ("/nothing", "no such page"),
    }


def sign_in(browser, controller):
    browser.open(controller.url + "/batches")
    shoal.check("a page leads to the sign-in", "/sign-in" in browser.address(), browser.address())
    browser.type("#token", "not a token")
    browser.click("main form button")
    shoal.check("a wrong token is refused", "invalid, expired or revoked" in browser.text(), browser.text())
    browser.type("#token", controller.token)
    browser.click("main form button")
    shoal.equal("the sign-in leads back to the page", browser.address(), controller.url + "/batches")


def be_live(browser, controller, machines):
    """An installation from its start to its verdict, on a page that is not loaded again."""
    job = controller.submit(shoal.recipe(machines[0], completion_hook="poweroff"))
    browser.open(f"{controller.url}/jobs/{job}")
    browser.run("window.same = true")
    seen = set()

    def is_over():
        seen.add(browser.text("#job-head").splitlines()[0])
        return any("succeeded" in text for text in seen)
    shoal.until(is_over, SECONDS, "the page shows the verdict")
    shoal.check("the job page followed the installation", len(seen) > 2, seen)
    shoal.until(lambda: "Retry" in browser.text("#job-actions"), SECONDS, "its buttons are those of a job that has ended")
    shoal.check("it was not loaded again", browser.run("return window.same === true"))
    shoal.until(lambda: "Proven" in browser.text("#job-verdict"), SECONDS, "the verdict is explained")
    shoal.until(lambda: "Start the installed system" in browser.text("#job-timeline"), SECONDS, "the steps are complete")
    shoal.check("the kickstart's read is in the map", browser.run(
        "return [...document.querySelectorAll('#job-reads svg')].some(svg => svg.ariaLabel.includes('kickstart was read'))"))
    browser.open(controller.url + "/?group=rack")
    browser.run("window.same = true")
    for machine in machines[1:8]:
        controller.submit(shoal.recipe(machine))
    row = f"#row-{machines[1].serial}"
    shoal.until(lambda: "installing" in browser.text(row), SECONDS, "the fleet shows the start")
    browser.view(1280, "light", 640)
    browser.picture("fleet-live")
    shoal.until(lambda: "succeeded" in browser.text(row), SECONDS, "the fleet shows the end")
    shoal.check("the fleet was not loaded again", browser.run("return window.same === true"))


def act(browser, controller, machines):
    machine = machines[9]
    job = controller.submit(shoal.recipe(machine))
    browser.open(f"{controller.url}/jobs/{job}/cancel")
    shoal.check("the page that asks names the host", machine.serial in browser.text() and machine.url in browser.text())
    browser.click("main button.danger")
    shoal.check("the job is cancelled", "Cancel requested" in browser.text(), browser.text())
    shoal.equal("the API says the same", controller.ended(job)["status"], "cancelled")
    browser.open(f"{controller.url}/servers/{machine.serial}")
    browser.click("form[action$='/check'] button")
    shoal.until(lambda: "WHAT TO DO" in browser.text().upper(), SECONDS, "the doctor's report is shown")
    shoal.check("the doctor's report names its checks", "reach" in browser.text(), browser.text())


def halt(browser, controller, machines, bad):
    """A batch whose canary fails: it halts before the browser's eyes, is resumed, and is cancelled."""
    servers = [machine.serial for machine in [*bad, machines[11]]]
    recipe = {"task_target": "install-esxi.target", "ks_cfg": shoal.KICKSTART}
    answer = controller.call("POST", "/api/v1/batches", {"name": "rack 7", "recipe": recipe, "servers": servers,
                                                         "canary": 1, "max_parallel": 1, "max_failures": 0})
    shoal.equal("the batch is accepted", answer.status, 202)
    batch = answer.json()["batch_id"]
    browser.open(f"{controller.url}/batches/{batch}")
    browser.run("window.same = true")
    shoal.until(lambda: "halted" in browser.text("#batch-head"), SECONDS, "the batch page shows the halt")
    shoal.check("the batch page was not loaded again", browser.run("return window.same === true"))
    shoal.check("it says why", "a canary row failed" in browser.text("#batch-head"), browser.text("#batch-head"))
    failed = f"#row-{bad[0].serial}"
    shoal.until(lambda: "failed" in browser.text(failed), SECONDS, "the row of the host shows its failure")
    shoal.check("the row says what the BMC lacks", "virtual media" in browser.text(failed).lower(), browser.text(failed))
    browser.picture("batch-halted")
    browser.click("a[href$='/resume']")
    waiting = browser.text()
    shoal.check("the resume page names the hosts", machines[11].serial in waiting and bad[1].serial in waiting, waiting)
    browser.click("main button.danger")
    shoal.check("the batch continues", "The batch continues." in browser.text(), browser.text())
    shoal.until(lambda: "halted" in browser.text("#batch-head"), SECONDS, "the second failure halts the batch again")
    shoal.equal("the host behind it was left alone", controller.read(f"/api/v1/batches/{batch}")["rows"][2]["state"], "waiting")
    return batch


def be_attacked(browser, controller, liar):
    """Markup in what a BMC says, in a label, in a kickstart and in the URL stays text."""
    job = controller.submit(shoal.recipe(liar))
    shoal.equal("the BMC of the markup refuses the image", controller.ended(job)["status"], "failed")
    browser.open(f"{controller.url}/servers/{liar.serial}")
    browser.click("form[action$='/inspect'] button")
    shown = {f"/jobs/{job}": True, f"/jobs/{job}/retry": True, f"/servers/{liar.serial}": True, "/?group=-": True,
             f"/?q={liar.serial}": True, "/?q=%22%3E" + MARKUP: False, f"/audit?actor={MARKUP}": False,
             f"/servers/{MARKUP}": False, f"/jobs/{MARKUP}": False}
    for path, is_shown in shown.items():
        browser.open(controller.url + path)
        shoal.check(f"nothing of {path[:20]} is executed", browser.run("return window.evil === undefined"))
        shoal.check(f"nothing of {path[:20]} is an element", browser.run(
            "return document.querySelector('main img, main script') === null"))
        if is_shown:
            shoal.check(f"{path[:20]} shows it as text", "onerror=" in browser.text(), browser.text()[:2_000])
    browser.open(controller.url + "/kickstart")
    browser.type("#ks_cfg", f"</textarea>{EVIL}\n")
    browser.click("form[action='/kickstart/lint'] button")
    shoal.check("nothing of a kickstart is executed", browser.run("return window.evil === undefined"))
    shoal.check("its line is marked", browser.run("return document.querySelectorAll('.source li.marked').length") > 0)
    browser.type("#server_serial", liar.serial)
    browser.click("button[formaction='/kickstart/render']")
    shoal.check("nothing of a rendered kickstart is executed", browser.run("return window.evil === undefined"))


def look(browser, controller, pages):
    """Each page fits its width, in light and dark, and breaks no rule of axe-core."""
    axe = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()
    for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]:
        browser.view(width, scheme)
        for name, (path, part) in pages.items():
            browser.open(controller.url + path)
            fits = browser.run("return document.documentElement.scrollWidth <= innerWidth")
            shoal.check(f"{name} fits {width} pixels, {scheme}", fits)
            shoal.check(f"{name} shows its part, {width}, {scheme}", part in browser.text(), browser.text()[:2_000])
            shoal.equal(f"{name} is accessible, {width}, {scheme}", browser.breaches(axe), [])
            browser.picture(f"{name}-{width}-{scheme}")
    browser.view(1280, "light")
    browser.open(controller.url + "/")
    # Tab, as a key of the keyboard.
    keys = [{"type": "keyDown", "value": "\ue004"}, {"type": "keyUp", "value": "\ue004"}]
    browser.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})
    shoal.equal("the first tab stop skips to the content", browser.run("return document.activeElement.className"), "skip")


def be_many(browser, controller):
    """The largest page; the time is a figure and no check."""
    known = len(controller.read("/api/v1/servers?limit=500")["servers"])
    for number in range(MANY - known):
        server = {"serial": f"MANY{number:04}", "bmc_address": f"https://10.0.{number // 250}.{number % 250 + 1}",
                  "bmc_username": "root", "bmc_password": "calvin-calvin", "labels": {"rack": f"r{number // 20 + 20}"}}
        controller.call("POST", "/api/v1/servers", server)
    browser.open(controller.url + "/")
    paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    painted = shoal.until(lambda: browser.run(paint), SECONDS, "the fleet is painted")
    rows = browser.run("return document.querySelectorAll('tbody tr').length")
    shoal.equal("all hosts are on one page", rows, MANY)
    size = browser.run("return performance.getEntriesByType('navigation')[0].encodedBodySize")
    shoal.check("the page has less than 200 KB", 0 < size < 200_000, size)
    print(f"first contentful paint of {MANY} hosts: {painted:.0f} ms, {size} bytes", file=sys.stderr)


def stay(browser, controller):
    """What the browser itself has noted of all that."""
    notes = [note["message"] for note in browser.log("browser") if note["level"] in ("SEVERE", "WARNING")]
    # Status codes that this driver has caused on purpose.
    notes = [note for note in notes if not re.search("status of (401|404)", note)]
    shoal.equal("the browser reports no error and no violation of the CSP", notes, [])
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    urls = {message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"}
    shoal.check("there were many requests", len(urls) > 20, len(urls))
    shoal.equal("none left the origin", [url for url in urls if not url.startswith(controller.url + "/")], [])


def do_without_script(browser, controller, machines, pages):
    serial = machines[20].serial
    sign_in(browser, controller)
    for name, (path, part) in pages.items():
        browser.open(controller.url + path)
        shoal.check(f"{name} is readable without JavaScript", part in browser.text(), browser.text()[:2_000])
    browser.open(f"{controller.url}/servers/{serial}")
    browser.click("form[action$='/protect'] button")
    shoal.check("a form acts without JavaScript", "This server is protected" in browser.text(), browser.text())
    shoal.check("the API says the same", controller.read(f"/api/v1/servers/{serial}")["protected"])
    browser.click(".sign-out button")
    shoal.check("so does the sign-out", "You are signed out." in browser.text())
    time.sleep(0.1)
    browser.open(controller.url + "/")
    shoal.check("the session has ended", "/sign-in" in browser.address())


if __name__ == "__main__":
    main()
