"""Chromium, driven by its own chromedriver (W3C WebDriver), at the web interface of a controller with 200 simulated hosts.

It signs in, follows an installation live to its verdict, cancels a job, runs the doctor, tries markup in texts of others,
and uses the pages without JavaScript, in dark, at 390 pixels and by keyboard. The browser's own log shows what its CSP
has blocked, and every request that it made. Pictures are left in the folder of the run.
"""
import base64
import contextlib
import json
import pathlib
import re
import shutil
import socket
import sys
import time

import shoal

HOSTS = 200
# As long as a part of a page may take to change.
SECONDS = 60
SETTINGS = {"ESXI_STABLE_WINDOW": "3s", "ESXI_POLL_INTERVAL": "500ms", "ESXI_MIN_INSTALL_TIME": "3s",
            "ESXI_PROOF_FLOOR": "1s", "WORKER_CONCURRENCY": "32"}
EVIL = "\"><img src=x onerror=\"window.evil=1\"><script>window.evil=1</script>"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


def main():
    shoal.version(re.search(r"[\d.]+", shoal.run("chromium", "--version").stdout)[0])
    with shoal.simulator(HOSTS, "--install-seconds", "4") as machines, shoal.controller(**SETTINGS) as controller:
        for number, machine in enumerate(machines):
            controller.add(machine)
            labels = {"rack": f"r{number // 20 + 1:02}", "site": "fra1"}
            controller.call("PATCH", f"/api/v1/servers/{machine.serial}", {"labels": labels})
        controller.call("PATCH", f"/api/v1/servers/{machines[-1].serial}", {"labels": {"rack": "r10", "note": EVIL}})
        with driver() as start:
            with start() as browser:
                sign_in(browser, controller)
                be_live(browser, controller, machines)
                act(browser, controller, machines)
                be_attacked(browser, controller, machines)
                look(browser, controller, machines)
                stay(browser, controller)
            with start(javascript=False) as browser:
                do_without_script(browser, controller, machines)


class Stale(Exception):
    """The element is not on the page, or not any more."""


class Browser:
    """One session of chromedriver."""

    def __init__(self, url, session):
        self.url = f"{url}/session/{session}"

    def call(self, method, path, body=None):
        answer = shoal.request(self.url + path, method, body).json()["value"]
        if isinstance(answer, dict) and answer.get("error") in ("stale element reference", "no such element"):
            raise Stale(path)
        # The same, while the next page takes the place of this one.
        if isinstance(answer, dict) and "does not belong to the document" in answer.get("message", ""):
            raise Stale(path)
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{method} {path}: {answer['error']}: {answer['message'][:300]}")
        return answer

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def address(self):
        return self.call("GET", "/url")

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        """Clicks what leads to another page, and waits until this one is gone."""
        page = self.find("html")
        self.call("POST", f"/element/{self.find(selector)}/click", {})
        shoal.until(lambda: self.is_gone(page), SECONDS, f"the page behind {selector}")

    def is_gone(self, element):
        try:
            self.call("GET", f"/element/{element}/name")
        except Stale:
            return True
        return False

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector="main"):
        """A live update may replace the element between the two requests, and a page may be loading."""
        for _ in range(50):
            with contextlib.suppress(Stale):
                return self.call("GET", f"/element/{self.find(selector)}/text")
            time.sleep(0.1)
        raise Stale(selector)

    def run(self, script):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def source(self):
        return self.call("GET", "/source")

    def log(self, kind):
        return self.call("POST", "/se/log", {"type": kind})

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def view(self, width, scheme, height=900):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, name):
        pathlib.Path(f"{name}.png").write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


def free_port():
    """Free in both families: of its own choice chromedriver ends where the port is taken in the second one."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            with contextlib.suppress(OSError), socket.create_server(("::1", port), family=socket.AF_INET6):
                return port


@contextlib.contextmanager
def driver():
    """chromedriver, and what begins a session."""
    found = shutil.which("chromedriver")
    if not found or not shutil.which("chromium"):
        shoal.unfit("chromium and chromedriver are not installed")
    log, port = pathlib.Path("chromedriver.log"), free_port()
    with shoal.process([found, f"--port={port}"], log):
        shoal.until(lambda: "started successfully" in log.read_text(), 30, "chromedriver")
        url = f"http://127.0.0.1:{port}"

        @contextlib.contextmanager
        def start(javascript=True):
            # Value 2 blocks.
            prefs = {} if javascript else {"profile.managed_default_content_settings.javascript": 2}
            capabilities = {"browserName": "chrome", "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                            "goog:chromeOptions": {"args": FLAGS, "prefs": prefs, "binary": shutil.which("chromium")}}
            answer = shoal.request(f"{url}/session", "POST", {"capabilities": {"alwaysMatch": capabilities}}).json()
            browser = Browser(url, answer["value"]["sessionId"])
            try:
                yield browser
            finally:
                browser.call("DELETE", "")
        yield start


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


def be_attacked(browser, controller, machines):
    """Markup in a label, in a kickstart and in the URL stays text."""
    for path in ["/?group=-", f"/servers/{machines[-1].serial}", "/?q=" + "%22%3E%3Cscript%3Ewindow.evil%3D1%3C%2Fscript%3E",
                 "/audit?actor=%3Cscript%3Ewindow.evil%3D1%3C%2Fscript%3E"]:
        browser.open(controller.url + path)
        shoal.check(f"nothing of {path[:20]} is executed", browser.run("return window.evil === undefined"))
    browser.open(controller.url + "/kickstart")
    browser.type("#ks_cfg", f"</textarea>{EVIL}\n")
    browser.click("form[action='/kickstart/lint'] button")
    shoal.check("nothing of a kickstart is executed", browser.run("return window.evil === undefined"))
    shoal.check("its line is marked", browser.run("return document.querySelectorAll('.source li.marked').length") > 0)


def look(browser, controller, machines):
    """Each page fits its width, in light and dark."""
    job = controller.read(f"/api/v1/jobs?server_serial={machines[0].serial}")["jobs"][0]["job_id"]
    pages = {"fleet": "/", "job": f"/jobs/{job}", "retry": f"/jobs/{job}/retry", "server": f"/servers/{machines[0].serial}",
             "batches": "/batches", "kickstart": "/kickstart", "audit": "/audit", "tokens": "/tokens"}
    for width, scheme in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]:
        browser.view(width, scheme)
        for name, path in pages.items():
            browser.open(controller.url + path)
            fits = browser.run("return document.documentElement.scrollWidth <= innerWidth")
            shoal.check(f"{name} fits {width} pixels, {scheme}", fits)
            browser.picture(f"{name}-{width}-{scheme}")
    browser.view(1280, "light")
    browser.open(controller.url + "/")
    paint = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    painted = shoal.until(lambda: browser.run(paint), SECONDS, "the fleet is painted")
    shoal.check("the fleet is painted within a second", painted < 1000, f"{painted:.0f} ms")
    print(f"first contentful paint of {HOSTS} hosts: {painted:.0f} ms", file=sys.stderr)
    # Tab, as a key of the keyboard.
    keys = [{"type": "keyDown", "value": "\ue004"}, {"type": "keyUp", "value": "\ue004"}]
    browser.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": keys}]})
    shoal.equal("the first tab stop skips to the content", browser.run("return document.activeElement.className"), "skip")


def stay(browser, controller):
    """What the browser itself has noted of all that."""
    notes = [note["message"] for note in browser.log("browser") if note["level"] in ("SEVERE", "WARNING")]
    # Status codes that this driver has caused on purpose.
    notes = [note for note in notes if "status of 401" not in note]
    shoal.equal("the browser reports no error and no violation of the CSP", notes, [])
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    urls = {message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"}
    shoal.check("there were many requests", len(urls) > 20, len(urls))
    shoal.equal("none left the origin", [url for url in urls if not url.startswith(controller.url + "/")], [])


def do_without_script(browser, controller, machines):
    serial = machines[20].serial
    sign_in(browser, controller)
    browser.open(controller.url + "/?q=" + serial)
    shoal.check("the fleet is readable without JavaScript", serial in browser.text())
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
