"""curl, with every form of Range that RFC 9110 knows, against the media of a job, over HTTP and over HTTPS.

Over HTTPS curl offers HTTP/2, as it does by default.

A BMC's virtual drive is a Range client of unknown manners. What curl is answered is compared with the whole
file, as curl fetched it first; the forms are the RFC's own, and those that are no ranges at all.
"""
import pathlib
import re

import shoal

# A range, and the bytes that it means of a file of SIZE bytes: a slice, or None for 416.
FORMS = [
    ("0-0", slice(0, 1)),
    ("0-499", slice(0, 500)),
    ("500-999", slice(500, 1000)),
    ("2047-4097", slice(2047, 4098)),
    ("-1", slice(-1, None)),
    ("-500", slice(-500, None)),
    ("9500-", slice(9500, None)),
    ("0-", slice(0, None)),
    ("0-99999999999999", slice(0, None)),
    ("-99999999999999", slice(0, None)),
    ("99999999999999-", None),
    ("99999999999999-99999999999999", None),
    ("18446744073709551616-", None),
    ("-0", None),
]
# No ranges of bytes, or none that a server must understand: the whole file is the answer.
IGNORED = ["bytes=", "bytes=-", "bytes=5-2", "bytes=a-b", "bytes=0-1-2", "lines=1-2", "bytes 0-1", "bytes=1.5-2",
           "bytes=0x0-0x9", "bytes=+1-2", "bytes=, ,"]


def main():
    shoal.version(re.match(r"curl (\S+)", shoal.run("curl", "--version").stdout)[1])
    for scheme in ("http", "https"):
        with shoal.folder(scheme), shoal.simulator(1, "--tls", "--install-seconds", "600") as [machine], \
                shoal.controller(**(shoal.tls() if scheme == "https" else {})) as controller:
            shoal.equal(f"{scheme}: curl as it comes reads /healthz", Curl(controller.url + "/healthz").status, 200)
            controller.add(machine)
            controller.submit(shoal.recipe(machine))
            shoal.until(lambda: machine.state()["starts"] == 1, 60, "the machine is started")
            for slot, medium in sorted(machine.state()["media"].items()):
                if medium["inserted"]:
                    shoal.check(f"{scheme}: {slot} is served by {scheme}", medium["image"].startswith(scheme + ":"))
                    ranges(f"{scheme}: {slot}", medium["image"])


class Curl:
    """One curl, and what it was answered."""

    def __init__(self, url, *flags):
        body, head = pathlib.Path("body"), pathlib.Path("head")
        body.unlink(missing_ok=True)
        done = shoal.run("curl", "--insecure", "--silent", "--show-error", "--max-time", "60", "--output", str(body),
                         "--dump-header", str(head), "--write-out", "%{http_code}", *flags, url)
        self.status = int(done.stdout or 0)
        self.body = body.read_bytes() if body.exists() else b""
        lines = [line.split(":", 1) for line in head.read_text().splitlines() if ":" in line]
        self.headers = {name.strip().lower(): value.strip() for name, value in lines}


def ranges(slot, url):
    whole = Curl(url)
    size = len(whole.body)
    shoal.equal(f"{slot}: the whole file", (whole.status, whole.headers.get("content-length")), (200, str(size)))
    shoal.equal(f"{slot}: ranges are offered", whole.headers.get("accept-ranges"), "bytes")
    head = Curl(url, "--head")
    shoal.equal(f"{slot}: HEAD says the same and sends nothing", (head.status, head.headers.get("content-length")),
                (200, str(size)))
    for form, meant in FORMS:
        one(slot, url, whole.body, form, meant)
    for line in IGNORED:
        answer = Curl(url, "--header", f"Range: {line}")
        shoal.check(f"{slot}: Range: {line} is no range", answer.status == 200 and answer.body == whole.body,
                    f"{answer.status}, {len(answer.body)} bytes")
    several(slot, url, whole.body)
    conditions(slot, url, whole)
    resumed(slot, url, whole.body)


def one(slot, url, whole, form, meant):
    answer = Curl(url, "--range", form)
    if meant is None:
        shoal.equal(f"{slot}: {form} is beyond the end", (answer.status, answer.headers.get("content-range")),
                    (416, f"bytes */{len(whole)}"))
        return
    first, last, _ = meant.indices(len(whole))
    shoal.equal(f"{slot}: {form}, where", (answer.status, answer.headers.get("content-range")),
                (206, f"bytes {first}-{last - 1}/{len(whole)}"))
    shoal.check(f"{slot}: {form}, the bytes", answer.body == whole[meant], f"{len(answer.body)} bytes")


def several(slot, url, whole):
    """A server may answer several ranges in parts, or with the whole; it may not answer one as if it were all."""
    answer = Curl(url, "--range", "0-99,200-299")
    kind = answer.headers.get("content-type", "")
    if answer.status == 206 and kind.startswith("multipart/byteranges"):
        parts = whole[:100] in answer.body and whole[200:300] in answer.body
        shoal.check(f"{slot}: two ranges, in parts", parts, f"{len(answer.body)} bytes")
    else:
        shoal.check(f"{slot}: two ranges, as the whole", answer.status == 200 and answer.body == whole,
                    f"{answer.status} {kind}, {len(answer.body)} bytes")


def conditions(slot, url, whole):
    tag, changed = whole.headers.get("etag", ""), whole.headers.get("last-modified", "")
    shoal.check(f"{slot}: a strong ETag", re.fullmatch(r'"[^"]+"', tag) is not None, tag)
    statuses = {
        "If-None-Match of the same": (("--header", f"If-None-Match: {tag}"), 304),
        "If-None-Match: *": (("--header", "If-None-Match: *"), 304),
        "If-None-Match of another": (("--header", 'If-None-Match: "another"'), 200),
        "If-Match of the same": (("--header", f"If-Match: {tag}"), 200),
        "If-Match of another": (("--header", 'If-Match: "another"'), 412),
        "If-Range of the same": (("--header", f"If-Range: {tag}", "--range", "0-9"), 206),
        "If-Range of another": (("--header", 'If-Range: "another"', "--range", "0-9"), 200),
        "If-Range of a weak one": (("--header", f"If-Range: W/{tag}", "--range", "0-9"), 200),
    }
    if changed:
        statuses["If-Modified-Since then"] = (("--header", f"If-Modified-Since: {changed}"), 304)
        statuses["If-Unmodified-Since long ago"] = (
            ("--header", "If-Unmodified-Since: Thu, 01 Jan 1998 00:00:00 GMT"), 412)
    for name, (flags, expected) in statuses.items():
        answer = Curl(url, *flags)
        shoal.equal(f"{slot}: {name}", answer.status, expected)


def resumed(slot, url, whole):
    """A download that broke off in the middle is gone on with."""
    part = pathlib.Path("part")
    part.write_bytes(whole[:len(whole) // 2])
    done = shoal.run("curl", "--insecure", "--silent", "--show-error", "--continue-at", "-", "--output", str(part), url)
    shoal.check(f"{slot}: a download is resumed", done.returncode == 0 and part.read_bytes() == whole)
    part.unlink()
    piece = Curl(url, "--http1.0", "--range", "7-8")
    shoal.check(f"{slot}: by HTTP/1.0 too", piece.status in (200, 206) and whole[7:9] in piece.body, piece.status)


main()
