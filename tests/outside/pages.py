"""The blocks of a documentation page, and what a reader does with them.

Not which page, nor what it needs. A block is fenced and has a language: `sh` and `python` are run, `text` after a block
of the same section is what that one prints, and everything else is read. A comment in the line above says what is done otherwise:
`<!-- not run: WHY -->`, `<!-- run by DRIVER -->`, and of a `text`: `<!-- not compared: WHY -->`.
"""
import contextlib
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import typing

import shoal

PROJECT = pathlib.Path(__file__).parents[2]
RUN = ("sh", "python")
# The name that a program or a play is stored under stands above it.
FILE = re.compile(r".*`([\w.]+\.(?:py|yml))`:$")
MARK = re.compile(r" *<!-- (not run: \S.*|run by \w+\.py|not compared: \S.*) -->")
# Also within an item of a list.
FENCE = re.compile(r"( *)```(\w*)$")
# What differs from run to run.
VALUES = [(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"), (r"\b[0-9a-f]{32}\b", "ID"), (r"\b\d+\.\d+ s\b", "SECONDS"),
          (r"127\.0\.0\.1:\d+", "ADDRESS"), (r"\s+", " ")]
TYPIST = str(pathlib.Path(__file__).with_name("typist.py").resolve())
# Programs that go on until they are ended.
SERVER = re.compile(r"^(?:\w+=\S* )*shoal (?:serve|sim)\b(?!.*--check)")
COMMAND_SECONDS = 60
# What the commands before have set.
VARIABLES = "set -a; [ ! -e variables ] || . ./variables"


class Block(typing.NamedTuple):
    page: str
    line: int
    # Of the second level, and the nearest one.
    part: str
    heading: str
    language: str
    body: str
    # What the comment above it says, and the file that the text above it names, or nothing.
    mark: str
    file: str

    @property
    def name(self):
        return f"{self.page}:{self.line}"


def blocks(page):
    """Every fenced block of a page, by its path in the project."""
    found, part, heading, mark, file, open_at = [], "", "", "", "", None
    for number, line in enumerate((PROJECT / page).read_text().splitlines(), 1):
        if open_at:
            if line.strip() == "```":
                found.append(Block(page, open_at, part, heading, language, "".join(body), mark, file))
                open_at, mark, file = None, "", ""
            else:
                body.append(line.removeprefix(indent) + "\n")
        elif fence := FENCE.match(line):
            open_at, indent, language, body = number, fence[1], fence[2], []
        else:
            mark = MARK.match(line)[1] if MARK.match(line) else ""
            heading = line if line.startswith("#") else heading
            part = line if line.startswith("## ") else part
            if line and not mark:
                file = FILE.match(line)[1] if FILE.match(line) else ""
    return found


def indented(page):
    """Blocks without a fence, which have no language and would be run by nobody: their first lines, by number."""
    found, fenced, before = [], False, ""
    for number, line in enumerate((PROJECT / page).read_text().splitlines(), 1):
        fenced ^= bool(FENCE.match(line))
        if not fenced and not before and line.startswith("    "):
            found.append(number)
        before = line.strip()
    return found


def marked(page, driver):
    """The blocks of a page that are the business of that driver."""
    return [block for block in blocks(page) if block.mark == f"run by {driver}"]


def commands(body):
    """The commands of a block of shell: as many lines each as bash needs to make one of them."""
    pending = ""
    for line in body.splitlines(keepends=True):
        pending += line
        parsed = subprocess.run(["bash", "-n"], input=pending, capture_output=True, text=True)
        whole = parsed.returncode == 0 and not parsed.stderr and not pending.endswith("\\\n")
        if whole and pending.strip() and not pending.lstrip().startswith("#"):
            yield pending.strip()
        if whole:
            pending = ""
    if pending.strip():
        raise RuntimeError(f"bash cannot read the end of a block: {pending}")


def plain(line):
    for value, name in VALUES:
        line = re.sub(value, name, line)
    return line.strip()


def missing(expected, shown):
    """The lines of a `text` that were not printed. An ellipsis stands for anything, and a line of it for lines."""
    found = [plain(line) for line in shown.splitlines()]
    lines = filter(None, map(plain, expected.splitlines()))
    pattern = lambda line: ".*".join(map(re.escape, line.split("…")))
    return [line for line in lines if not any(re.fullmatch(pattern(line), other) for other in found)]


def relay(address, port, to):
    """A port of one address that leads to a port of loopback."""
    server = socket.create_server((address, port))

    def pass_on(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                peer = socket.create_connection(("127.0.0.1", to))
                for pair in ((client, peer), (peer, client)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class Reader:
    """Somebody who follows a page in a folder, in a shell that keeps its variables, and puts in what is the reader's own."""

    def __init__(self, page, folder=".", run=shoal.run):
        """`run` is how a program is run where the reader is; there the folder is."""
        self.page, self.folder, self.run, self.shown = page, folder, run, ""
        self.servers, self.running = contextlib.ExitStack(), {}
        # What the page has, and what the reader has in its place.
        self.own = {}
        # Beginnings of commands, and what happens before; how they end, if not with 0; what they ask.
        self.before, self.exits, self.answers = {}, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *ended):
        self.servers.__exit__(*ended)

    def follow(self, part=None):
        """Runs what is to be run here, in order: of the whole page, or below that heading."""
        section = ""
        for block in blocks(self.page):
            if part not in (None, block.part):
                continue
            if block.heading != section:
                section, self.shown = block.heading, ""
            if not block.mark:
                self.do(block)

    def do(self, block):
        if block.language == "sh":
            self.shown = "\n".join(self.command(command) for command in commands(block.body))
        elif block.file:
            pathlib.Path(block.file).write_text(self.put_in(block.body))
        elif block.language == "text" and self.shown:
            shoal.equal(f"{block.name}: what it shows", missing(block.body, self.shown), [])

    def put_in(self, text):
        """The page's text with what the reader has."""
        for written, value in self.own.items():
            text = re.sub(rf"(?<!\w){re.escape(written)}(?!\w)", lambda _: value, text)
        return text

    def command(self, command):
        for beginning, action in self.before.items():
            if command.startswith(beginning):
                action()
        own = self.put_in(command)
        if SERVER.match(own):
            return self.started(command, own)
        answer = of_beginning(self.answers, command)
        if answer is not None:
            own = shlex.join([sys.executable, TYPIST, answer, own])
        ended = self.shell(f"{own}\nended=$?; {{ export -p; declare -f; }} >> variables; exit $ended")
        shown = ended.stdout + ended.stderr
        fine = ended.returncode == (of_beginning(self.exits, command) or 0) and "urn:shoal:problem" not in shown
        shoal.check(f"{self.page}: {command}", fine, f"{ended.returncode} {shown[-800:]}")
        return shown

    def shell(self, script):
        script = f"cd {self.folder}\n{VARIABLES}\nset -o pipefail\n{script}"
        return self.run("timeout", str(COMMAND_SECONDS), "bash", "-c", script)

    def stop(self, command):
        """Ends a program that goes on, as its reader does."""
        self.running.pop(command).close()

    def started(self, command, own):
        """A program that goes on in the background, as in a terminal of its own, until the page is over."""
        log = pathlib.Path(f"server-{time.monotonic_ns()}.log")
        program = self.servers.enter_context(contextlib.ExitStack())
        program.enter_context(shoal.process(["bash", "-c", f"{VARIABLES}; exec env {own.split('  #')[0]}"], log))
        self.running[command] = program
        is_up = lambda: '"ready":true' in log.read_text() or "listening on" in log.read_text()
        try:
            shoal.until(is_up, shoal.START_SECONDS, command)
        except TimeoutError:
            pass
        shoal.check(f"{self.page}: {command}", is_up(), log.read_text()[-500:])
        return log.read_text()


def of_beginning(table, command):
    return next((value for beginning, value in table.items() if command.startswith(beginning)), None)
