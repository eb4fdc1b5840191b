"""OpenStack's Redfish emulator, as it is shipped: an installation through it, and how many requests that takes.

Its fake systems have power, media and a boot override, and no guest: this driver powers them off where an installer
would. What reaches the emulator passes through a proxy here, which counts as the simulated BMC does: a poll is a look
at a Task, or a GET of what was read half a second ago or earlier with nothing but sessions written since.
"""
import http.client
import http.server
import pathlib
import threading
import time

import shoal

SYSTEM = "27946b59-9e44-4fa7-8e91-f3527a1ef094"
PAUSE = 0.5
# Besides polls, of a BMC that is not known and of one that is remembered.
MOST, MOST_REMEMBERED = 25, 20


def main():
    shoal.version("sushy-tools")
    here, [port] = pathlib.Path().resolve(), shoal.free_ports(1)
    pathlib.Path("emulator.conf").write_text(f"SUSHY_EMULATOR_STATE_DIR = {str(here)!r}\n")
    command = [shoal.tool("sushy-emulator"), "--config", str(here / "emulator.conf"), "--fake", "--interface",
               "127.0.0.1", "--port", str(port)]
    with shoal.process(command, "emulator.log"), Counting(port) as bmc:
        shoal.until(lambda: shoal.listens(port), 30, "the emulator listens")
        with shoal.controller(ESXI_STABLE_WINDOW="3s", ESXI_POLL_INTERVAL="1s", ESXI_PROOF_FLOOR="1s") as controller:
            server = {"serial": "EMULATED", "system_id": SYSTEM, "bmc_address": bmc.url, "bmc_username": "admin",
                      "bmc_password": "password"}
            shoal.equal("the system is added", controller.call("POST", "/api/v1/servers", server).status, 201)
            installs(controller, bmc, "an unknown BMC", MOST)
            # It runs what was installed.
            bmc.power_off()
            installs(controller, bmc, "a remembered BMC", MOST_REMEMBERED)


def installs(controller, bmc, of, most):
    bmc.begin_anew()
    job_id = controller.submit({"task_target": "install-esxi.target", "server_serial": "EMULATED",
                                "ks_cfg": shoal.KICKSTART, "completion_hook": "poweroff"})
    shoal.until(lambda: controller.job(job_id)["step"] == "esxi.poll_power" or controller.job(job_id)["finished_at"],
                120, "the host is on and watched")
    time.sleep(10)
    bmc.power_off()
    job = controller.ended(job_id)
    shoal.equal(f"{of}: the installation succeeds", (job["status"], job["reason"]), ("succeeded", None))
    shoal.check(f"{of}: at most {most} requests besides polls", 0 < len(bmc.besides_polls) <= most,
                f"{len(bmc.besides_polls)} and {bmc.polls} polls: {bmc.besides_polls}")
    shoal.equal(f"{of}: one request at a time", bmc.most_in_parallel, 1)


class Counting:
    """A proxy to a BMC at `port` that notes what passes."""

    def __init__(self, port):
        self.port, self.lock, self.in_flight = port, threading.Lock(), 0
        self.begin_anew()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(handler):
                body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                self.note(handler.command, handler.path)
                try:
                    status, headers, told = self.ask(handler, body)
                finally:
                    self.left()
                handler.send_response(status)
                for header in headers:
                    handler.send_header(*header)
                handler.send_header("Content-Length", str(len(told)))
                handler.end_headers()
                handler.wfile.write(told)

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = pass_on

            def log_message(handler, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def begin_anew(self):
        """Another installation begins, for which nothing is a repetition."""
        with self.lock:
            self.besides_polls, self.polls, self.read_at = [], 0, {}
            self.most_in_parallel = 0

    def note(self, method, path):
        with self.lock:
            self.in_flight += 1
            self.most_in_parallel = max(self.most_in_parallel, self.in_flight)
            now, is_read = time.monotonic(), method in ("GET", "HEAD")
            earlier = self.read_at.get(path, now) if is_read else now
            if is_read and ("/TaskService/" in path or now - earlier >= PAUSE):
                self.polls += 1
            else:
                self.besides_polls.append(f"{method} {path}")
            if is_read:
                self.read_at[path] = now
            elif "/Sessions" not in path:
                self.read_at.clear()

    def left(self):
        """Before the client learns of the answer, and may send its next request."""
        with self.lock:
            self.in_flight -= 1

    def ask(self, handler, body):
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        client.request(handler.command, handler.path, body or None, headers)
        answer = client.getresponse()
        told = answer.read()
        client.close()
        ours = ("connection", "transfer-encoding", "content-length", "server", "date")
        return answer.status, [header for header in answer.getheaders() if header[0].lower() not in ours], told

    def power_off(self):
        """As the installer would; not counted, since it is no request of the controller."""
        system = f"http://127.0.0.1:{self.port}/redfish/v1/Systems/{SYSTEM}"
        shoal.request(f"{system}/Actions/ComputerSystem.Reset", "POST", {"ResetType": "ForceOff"})
        shoal.until(lambda: shoal.request(system).json()["PowerState"] == "Off", 60, "the host is off")


main()
