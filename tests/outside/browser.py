"""Chromium, driven by its own chromedriver (W3C WebDriver) without a library between."""
import base64
import contextlib
import pathlib
import shutil
import socket
import time

import shoal

# As long as a page may take to give way to the next one.
SECONDS = 60
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


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

    def breaches(self, axe):
        """Rules of axe-core that the page breaks, with the first place of each."""
        run = "const done = arguments[arguments.length - 1]; axe.run().then(found => done([found.passes.length, " \
              "found.violations.map(one => `${one.id}: ${one.nodes[0].target} ${one.nodes[0].failureSummary}`)]))"
        self.run(axe)
        kept, broken = self.call("POST", "/execute/async", {"script": run, "args": []})
        return broken if kept > 10 else [f"only {kept} rules of axe-core found something to judge", *broken]

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
