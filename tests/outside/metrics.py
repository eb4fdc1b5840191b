"""promtool and Prometheus' Python client, reading /metrics of a controller that has installed a machine.

promtool is Prometheus' own: what it says of names, units, types and help texts is what its authors would. The
Python client reads the page as a scraper of Python would, and the values are compared with what was done.
The alert rules and the dashboard of `dist/` are held against the same page: promtool checks and tests them, and
every metric and label that they name must be on it.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess

import prometheus_client.parser
import yaml

import pages
import shoal

SETTINGS = {"ESXI_STABLE_WINDOW": "2s", "ESXI_POLL_INTERVAL": "200ms", "ESXI_MIN_INSTALL_TIME": "2s",
            "ESXI_PROOF_FLOOR": "1s"}
TOP = pathlib.Path(__file__).parents[2]
RULES = TOP / "dist/prometheus/shoal.rules.yml"
UNIT_TESTS = TOP / "dist/prometheus/shoal.rules.test.yml"
DASHBOARD = TOP / "dist/grafana/shoal.json"
GUIDE = TOP / "docs/operations.md"
# Metrics that no controller shows, since Prometheus makes them itself.
OF_PROMETHEUS = {"up", "scrape_duration_seconds"}
# The only metric that this driver does not cause: it takes 16,384 open connections.
NOT_CAUSED = {"shoal_provisioner_connections_refused_total"}
# Values of labels that it does not cause: a BMC without evidence, and one with another certificate than pinned.
VALUES_NOT_CAUSED = {"assumed", "certificate"}
# Labels that Prometheus adds to each series.
TARGET = {"job", "instance"}
PROMQL_WORDS = {"and", "or", "unless", "by", "on", "ignoring", "offset"}


def main():
    tool = promtool()
    shoal.version(re.search(r"version (\S+)", shoal.run(tool, "--version").stdout)[1])
    with shoal.simulator(2, "--tls", "--install-seconds", "2", "--fault", "busy-503=2") as machines:
        with shoal.controller(**SETTINGS) as controller:
            install(controller, machines)
            be_refused(controller, machines[0])
            page = controller.call("GET", "/metrics")
    shoal.check("the content type is that of the text format",
                page.headers["content-type"].startswith("text/plain; version=0.0.4"), page.headers["content-type"])
    checked = subprocess.run([tool, "check", "metrics"], input=page.body, capture_output=True)
    shoal.check("promtool finds no fault", checked.returncode == 0, checked.stderr.decode())
    families = read(page.body.decode())
    check_rules(tool)
    check_guide(tool)
    check_dashboard(tool)
    check_names(families)


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


def be_refused(controller, machine):
    """Requests that are counted where they are refused."""
    anonymous = shoal.request(controller.url + "/api/v1/jobs")
    medium = shoal.request(f"{controller.url}/media/tasks/{'0' * 32}.nonsense/task.iso")
    report = shoal.request(f"{controller.url}/api/v1/status-webhook/{machine.serial}/nonsense", "POST",
                           {"status": "success"})
    shoal.equal("requests are refused", [a.status for a in (anonymous, medium, report)], [401, 404, 404])


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
    return families


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


def check_guide(tool):
    """The configuration and the commands of the guide."""
    configuration, commands = pages.marked("docs/operations.md", "metrics.py")
    place = pathlib.Path("etc").resolve()
    place.mkdir()
    shutil.copy(RULES, place)
    for name in ("shoal.token", "shoal.crt"):
        (place / name).write_text("")
    with pages.Reader("docs/operations.md") as reader:
        reader.own = {"/etc/prometheus": str(place)}
        pathlib.Path("dist").symlink_to(TOP / "dist")
        os.environ["PATH"] += f":{pathlib.Path(tool).parent}"
        (place / "prometheus.yml").write_text(reader.put_in(configuration.body))
        reader.do(commands)


def check_rules(tool):
    checked = shoal.run(tool, "check", "rules", "--lint-fatal", RULES)
    shoal.check("promtool accepts the alert rules", checked.returncode == 0, checked.stdout + checked.stderr)
    tested = shoal.run(tool, "test", "rules", UNIT_TESTS)
    shoal.check("the unit tests of the alert rules pass", tested.returncode == 0, tested.stdout + tested.stderr)
    alerts = {rule["alert"]: rule for rule in rules()}
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    expected = {name: test for test in tests for case in test["promql_expr_test"]
                for name in re.findall(r'alertname="(\w+)"', case["expr"])}
    shoal.equal("each alert has a unit test", sorted(expected), sorted(alerts))
    shoal.equal("each unit test has a series that fires and one that does not",
                [name for name, test in expected.items() if not is_two_sided(test)], [])
    guide = GUIDE.read_text()
    anchors = {"docs/operations.md#" + title.lower() for title in re.findall(r"^#+ (\w+)$", guide, re.M)}
    shoal.equal("each alert leads to its part of the guide",
                [name for name, rule in alerts.items() if rule["annotations"]["runbook"] not in anchors
                 or not rule["annotations"]["runbook"].endswith(name.lower())], [])
    for number, example in enumerate(re.findall(r"^```yaml\n(.*?)^```$", guide, re.M | re.S)):
        pathlib.Path(f"prometheus{number}.yml").write_text(example)
        checked = shoal.run(tool, "check", "config", "--syntax-only", f"prometheus{number}.yml")
        shoal.check("promtool accepts the guide's configuration", checked.returncode == 0, checked.stderr)


def is_two_sided(test):
    """Whether some instances of the test fire, and others do not."""
    given = {found for series in test["input_series"] for found in re.findall(r'instance="(\w+)"', series["series"])}
    fired = {found for case in test["promql_expr_test"] for sample in case["exp_samples"]
             for found in re.findall(r'instance="(\w+)"', sample["labels"])}
    return bool(fired) and fired < given


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def check_dashboard(tool):
    """What Grafana would not say: it shows an empty panel."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    shoal.check("the dashboard can be imported anywhere", dashboard["id"] is None and dashboard["uid"] == "shoal")
    shoal.equal("each panel has an id", len(panels), len({panel["id"] for panel in panels}))
    cells = [(x, y) for place in (panel["gridPos"] for panel in panels)
             for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
    shoal.check("panels lie within the grid, and none over another",
                len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24, len(cells))
    shown = [panel for panel in panels if panel["type"] != "row"]
    shoal.equal("each panel has a unit and queries",
                [p["title"] for p in shown if not p["fieldConfig"]["defaults"].get("unit") or not p["targets"]], [])
    sources = {query["datasource"]["uid"] for panel in shown for query in [panel, *panel["targets"]]}
    shoal.equal("the data source is a variable", sources, {"${datasource}"})
    shoal.equal("each variable is declared", set(re.findall(r"\$\{?([a-z]\w*)", DASHBOARD.read_text())),
                {variable["name"] for variable in dashboard["templating"]["list"]})
    recorded = [{"record": f"panel:query:{number}", "expr": expression}
                for number, expression in enumerate(queries(dashboard))]
    pathlib.Path("dashboard.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    checked = shoal.run(tool, "check", "rules", "dashboard.yml")
    shoal.check("promtool parses each query of the dashboard", checked.returncode == 0 and len(recorded) > 20,
                checked.stdout + checked.stderr)


def queries(dashboard):
    """Each query as Prometheus gets it."""
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [query.replace("$__rate_interval", "5m").replace("$instance", ".*") for query in found]


def check_names(families):
    """Whether the page shows each metric, label and value that rules and dashboard name."""
    shown = {}
    for family in families:
        for sample in family.samples:
            labels = shown.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    shoal.equal("what is not caused here is not on the page", NOT_CAUSED & set(shown), set())
    shown.update({name: {} for name in NOT_CAUSED | OF_PROMETHEUS})
    dashboard = json.loads(DASHBOARD.read_text())
    for source, expressions in (("rules", [rule["expr"] for rule in rules()]), ("dashboard", queries(dashboard))):
        missing = {expression: found for expression in expressions if (found := unknown(expression, shown))}
        shoal.check(f"/metrics shows each metric, label and value of the {source}",
                    expressions and not missing, missing)
    variables = {variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable}
    shoal.equal("the dashboard finds the controllers", variables, {"label_values(shoal_provisioner_jobs, instance)"})


def unknown(expression, shown):
    """What a PromQL expression names and its metrics do not show: metrics, labels, and values compared by `=`."""
    expression = re.sub(r"\[[^]]*\]|\boffset \w+", "", expression)
    selectors = re.findall(r"([a-z]\w*)\{([^}]*)\}", expression)
    lists = re.compile(r"\b(?:by|on|ignoring) \(([^)]*)\)")
    grouped = {label for group in lists.findall(expression) for label in re.findall(r"\w+", group)}
    plain = lists.sub("", re.sub(r"\{[^}]*\}", "", expression))
    names = set(re.findall(r"\b[a-z]\w*\b(?!\s*\()", plain)) - PROMQL_WORDS
    wrong = names - set(shown) | grouped - TARGET.union(*(shown.get(name, {}) for name in names))
    for name, matchers in selectors:
        for label, operator, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            values = shown.get(name, {}).get(label)
            is_shown = operator != "=" or value in VALUES_NOT_CAUSED | (values or set())
            if label not in TARGET and (values is None or not is_shown):
                wrong.add(f'{name}{{{label}="{value}"}}')
    return sorted(wrong)


main()
