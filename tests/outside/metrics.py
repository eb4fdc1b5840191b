"""promtool and Prometheus' Python client, reading /metrics of a controller that has installed a machine.

promtool is Prometheus' own: what it says of names, units, types and help texts is what its authors would. The
Python client reads the page as a scraper of Python would, and the values are compared with what was done.
"""
import pathlib
import re
import subprocess

import prometheus_client.parser

import shoal

SETTINGS = {"ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms", "ESXI_MIN_INSTALL_TIME": "2s",
            "ESXI_PROOF_FLOOR": "1s"}


def main():
    tool = promtool()
    shoal.version(re.search(r"version (\S+)", shoal.run(tool, "--version").stdout)[1])
    with shoal.simulator(2, "--tls", "--install-seconds", "2") as machines:
        with shoal.controller(**SETTINGS) as controller:
            install(controller, machines)
            page = controller.call("GET", "/metrics")
    shoal.check("the content type is that of the text format",
                page.headers["content-type"].startswith("text/plain; version=0.0.4"), page.headers["content-type"])
    checked = subprocess.run([tool, "check", "metrics"], input=page.body, capture_output=True)
    shoal.check("promtool finds no fault", checked.returncode == 0, checked.stderr.decode())
    read(page.body.decode())


def promtool():
    """Prometheus' own checker, taken out of Debian's package: installing that would start a server."""
    shoal.run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus")
    [package] = pathlib.Path().glob("prometheus_*.deb")
    shoal.run("dpkg", "-x", package, "prometheus")
    return pathlib.Path("prometheus/usr/bin/promtool").resolve()


def install(controller, machines):
    """One job that succeeds, and one that is refused."""
    for machine in machines:
        controller.add(machine)
    good = controller.submit(shoal.recipe(machines[0]))
    controller.call("POST", "/api/v1/jobs", shoal.recipe(machines[1], completion_hook="nonsense"))
    shoal.equal("the job succeeded", controller.ended(good)["status"], "succeeded")


def read(page):
    families = list(prometheus_client.parser.text_string_to_metric_families(page))
    # To this parser a counter's name ends before `_total`.
    names = [(family.name, family.type) for family in families]
    shoal.equal("each family is there once", len(names), len(set(names)))
    shoal.check("each family has a type and a help text",
                all(f.documentation and f.type != "unknown" for f in families),
                [f.name for f in families if not f.documentation or f.type == "unknown"])
    told = [sample for family in families for sample in family.samples]
    samples = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in told}
    shoal.equal("each sample is told once", len(told), len(samples))
    shoal.check("there are many", len(told) > 100, len(told))

    def value(name, **labels):
        return samples.get((f"shoal_provisioner_{name}", tuple(sorted(labels.items()))))
    shoal.equal("jobs that succeeded", value("jobs", status="succeeded"), 1)
    shoal.equal("jobs that failed", value("jobs", status="failed"), 1)
    for family in families:
        if family.type == "histogram":
            buckets(family)


def buckets(family):
    """Buckets rise, and the last one holds all."""
    series = {}
    for sample in family.samples:
        labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
        series.setdefault(labels, {}).setdefault(sample.name[len(family.name):], []).append(sample)
    for labels, kinds in series.items():
        counts = [sample.value for sample in sorted(kinds["_bucket"], key=lambda s: float(s.labels["le"]))]
        shoal.check(f"{family.name} {dict(labels)}: buckets rise to the count",
                    counts == sorted(counts) and counts[-1] == kinds["_count"][0].value, counts)


main()
