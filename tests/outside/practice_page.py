"""`docs/try-it.md`, run by bash as a reader pastes it: block after block, in one shell, in an empty directory.

It has a network of its own, since the page names its ports. Looked at: that every command of a block ends well, and that
what the page shows is shown, but for times, ids and measured values. What is shown of a wait or of a batch on its way
depends on the moment and is left out.
"""
import os
import pathlib
import re
import subprocess

import release
import shoal
from pages import plain

PAGE = release.PROJECT / "docs/try-it.md"
MARK = "@@ block"
SECONDS = 400
PASSING = re.compile(r"batch ID: running|SIM\d+ running |TIME esxi.poll_power progress ")


def main():
    release.root_only()
    release.own_network()
    shoal.version(shoal.run(shoal.SHOAL, "--version").stdout.split()[1])
    blocks = re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    parts = run([body for language, body in blocks if language == "sh"])
    block = -1
    for language, body in blocks:
        if language == "sh":
            block += 1
            shown = parts[block] if block < len(parts) else ""
            whole = block + 1 < len(parts)
            shoal.check(f"block {block + 1}: {body.splitlines()[0]}", whole, shown[-500:])
        else:
            compare(block, body, shown)


def run(blocks):
    """What each block printed. The shell ends at the first command that fails, and with it the list."""
    pathlib.Path("bin").mkdir()
    pathlib.Path("bin/shoal").symlink_to(shoal.SHOAL)
    pathlib.Path("empty").mkdir()
    script = "set -e\n" + "".join(f"echo '{MARK}'\n{block}\n" for block in blocks) + f"echo '{MARK}'\nkill %1 %2\nwait\n"
    shell = subprocess.run(["timeout", str(SECONDS), "bash", "-c", script], cwd="empty", stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           env={"PATH": f"{os.getcwd()}/bin:{os.environ['PATH']}", "HOME": os.getcwd()})
    pathlib.Path("page.log").write_text(shell.stdout)
    return shell.stdout.split(f"{MARK}\n")[1:]


def compare(block, expected, shown):
    found = {plain(line) for line in shown.splitlines()}
    missing = [line for line in map(plain, expected.splitlines()) if line not in found and not PASSING.match(line)]
    shoal.equal(f"block {block + 1}: what the page shows", missing, [])


main()
