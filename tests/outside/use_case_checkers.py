"""DMTF's Redfish-Use-Case-Checkers against simulated BMCs, one machine a use case so that none disturbs another.

Their waits are fixed (10 s after each reset), so the use cases run side by side.
"""
import concurrent.futures
import pathlib

import openpyxl

import shoal

USE_CASES = ("AccountManagement", "PowerControl", "BootOverride", "ManagerEthernetInterfaces", "QueryParameters")
NAMES = {"PASS": "passed", "FAIL": "failed", "WARN": "failed", "SKIP": "skipped"}


def examine(use_case, machine):
    folder = f"report/{use_case}"
    done = shoal.run(shoal.tool("rf_use_case_checkers"), "-r", machine.url, "-u", machine.username,
                     "-p", machine.password, "--report-dir", folder, "--test-list", use_case)
    return use_case, done.returncode, rows(folder)


def rows(folder):
    [report] = pathlib.Path(folder).glob("*/*.xlsx")
    head, *body = openpyxl.load_workbook(report)["Results"].iter_rows(values_only=True)
    return [dict(zip(head, row)) for row in body]


def main():
    shoal.version("redfish-use-case-checkers")
    with shoal.simulator(len(USE_CASES), "--tls", "--power", "on") as machines, \
            concurrent.futures.ThreadPoolExecutor(len(USE_CASES)) as side_by_side:
        for use_case, code, found in side_by_side.map(examine, USE_CASES, machines):
            for row in found:
                name = f"{use_case}: {row['Test Name']}"
                shoal.tell(name, NAMES[row["Result"]], f"{row['Operation']}: {row['Message'] or ''}")
            failed = any(row["Result"] == "FAIL" for row in found)
            shoal.equal(f"{use_case}: exit code", code, 1 if failed else 0)


main()
