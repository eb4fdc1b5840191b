"""DMTF's Redfish-Protocol-Validator against a simulated BMC: its own assertions, line by line.

It makes and deletes accounts and sessions, so it has a machine to itself.
"""
import csv
import pathlib

import shoal

# One of its assertions is a statistical test of the session token, which a good token in fifty fails
# (two tests with p < 0.01): the simulator draws one that is known to pass.
SEED = "1"
NAMES = {"PASS": "passed", "FAIL": "failed", "WARN": "failed", "NOT_TESTED": "skipped"}


def main():
    shoal.version("redfish-protocol-validator")
    with shoal.simulator(1, "--tls", "--seed", SEED) as [machine]:
        done = shoal.run(shoal.tool("rf_protocol_validator"), "-r", machine.url, "-u", machine.username,
                         "-p", machine.password, "--no-cert-check", "--avoid-http-redirect",
                         "--report-type", "tsv", "--report-dir", "report")
    [report] = pathlib.Path("report").glob("*.tsv")
    failed = 0
    with report.open(newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            result = NAMES[row["Result"]]
            failed += row["Result"] == "FAIL"
            where = " ".join(filter(None, (row["Method"], row["URI"], row["Message"])))
            shoal.tell(row["Assertion"], result, where)
    shoal.equal("exit code", done.returncode, 1 if failed else 0)


main()
