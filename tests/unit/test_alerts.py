"""Alert rules and the dashboard name only what is exported, and each alert has its page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.metrics import Freshness, Metrics
from ctrader_twisted.refusals import is_known
from ctrader_twisted.web.scrape import COUNTED, Scrape
from tests.unit.test_web_scrape import gauges

ROOT = Path(__file__).parents[2]
RULES = ROOT / "contrib/prometheus/alerts.yml"
DASHBOARD = ROOT / "contrib/grafana/ctrader-stream.json"

FUNCTIONS = {"rate", "increase", "histogram_quantile", "sum", "max"}
OF_PROMETHEUS = {"up": {"job"}}
ADDED_BY_PROMETHEUS = {"job", "instance"}

METRIC = re.compile(r"\b((?:ctrader_stream|process)_\w+|up)\b(?:\{([^}]*)\})?")


def exported() -> dict[str, set[str]]:
    """Every sample's name and its labels, with at least one series of each family."""
    metrics = Metrics()
    for name in COUNTED:
        metrics.count(name, "x")
    metrics.requested("read", "answered", 0.1)
    metrics.freshness.append(lambda: Freshness("x", {"fresh": 1, "stale": 1}, 0.5))
    asked = gauges(restored_s=lambda: 1.0, budgets_used=lambda: {"ordinary": 0.0})
    text = Scrape(metrics=metrics, gauges=asked, version="1").text().decode()
    found: dict[str, set[str]] = dict(OF_PROMETHEUS)
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, set()).update(one.labels)
    return found


class Expressions(SynchronousTestCase):
    """What rules and dashboard have in common."""

    known = exported()

    def check(self, expression: str) -> None:
        """Names, labels, functions and brackets of one PromQL expression."""
        names = METRIC.findall(expression)
        self.assertTrue(names, f"no metric in {expression}")
        for name, matchers in names:
            self.assertIn(name, self.known, expression)
            for matcher in filter(None, re.split(r",\s*", matchers)):
                label = re.fullmatch(r'(\w+)(?:=|!=|=~|!~)"[^"]*"', matcher)
                assert label is not None, f"{matcher} in {expression}"
                self.assertIn(label[1], self.known[name] | ADDED_BY_PROMETHEUS, expression)
        labels = {label for name, _ in names for label in self.known[name]}
        for listed in re.findall(r"\b(?:by|ignoring)\s*\(([^)]*)\)", expression):
            for label in re.split(r",\s*", listed):
                self.assertIn(label, labels, expression)
        bare = re.sub(r'"[^"]*"', "", METRIC.sub("", expression))
        for pair in ("()", "[]", "{}"):
            self.assertEqual(bare.count(pair[0]), bare.count(pair[1]), expression)
        for function in re.findall(r"\b([a-z_]+)\s*\(", bare):
            self.assertIn(
                function, FUNCTIONS | {"by", "or", "and", "unless", "ignoring"}, expression
            )

    def test_the_check_itself(self) -> None:
        """A wrong name, label, function or bracket is found."""
        self.check('sum by (code) (rate(ctrader_stream_venue_refusals_total{code=~"A|B"}[5m])) > 0')
        for wrong in (
            "ctrader_stream_no_such_thing > 0",
            'ctrader_stream_clients{client="x"} > 0',
            "sum by (symbol) (ctrader_stream_clients)",
            "median(ctrader_stream_clients)",
            "rate(ctrader_stream_clients[5m]",
            "1 > 0",
        ):
            self.assertRaises(self.failureException, self.check, wrong)


class AlertTest(Expressions):
    """contrib/prometheus/alerts.yml."""

    def rules(self) -> list[dict[str, Any]]:
        """All rules."""
        document = yaml.safe_load(RULES.read_text())
        self.assertEqual(list(document), ["groups"])
        rules = [rule for group in document["groups"] for rule in group["rules"]]
        self.assertGreater(len(rules), 10)
        return rules

    def test_expressions(self) -> None:
        """Every metric exists, and so does each label that is asked about."""
        for rule in self.rules():
            self.check(rule["expr"])

    def test_codes(self) -> None:
        """Codes of the venue that a rule waits for are ones that it knows."""
        for rule in self.rules():
            for codes in re.findall(r'refusals_total\{code=~"([^"]*)"', rule["expr"]):
                for code in codes.split("|"):
                    self.assertTrue(is_known(code), code)

    def test_shape(self) -> None:
        """Names are unique words; severity, summary and duration are as Prometheus wants them."""
        names = [rule["alert"] for rule in self.rules()]
        self.assertEqual(len(set(names)), len(names))
        for rule in self.rules():
            self.assertRegex(rule["alert"], r"^Ctrader[A-Za-z]+$")
            self.assertIn(rule["labels"]["severity"], {"critical", "warning"})
            self.assertTrue(rule["annotations"]["summary"])
            self.assertRegex(rule.get("for", "1m"), r"^\d+[smh]$")
            self.assertLessEqual(
                set(rule), {"alert", "expr", "for", "labels", "annotations"}, rule["alert"]
            )

    def test_required(self) -> None:
        """Reconnects that fail, refused tokens, stale prices and backlogs have their alerts."""
        names = {rule["alert"] for rule in self.rules()}
        needed = {"CtraderReconnectsFail", "CtraderTokenRefused", "CtraderClientBacklog"}
        needed |= {"CtraderPricesStale", "CtraderVenueBacklog"}
        self.assertLessEqual(needed, names)

    def test_pages(self) -> None:
        """Each alert has a page in the runbook, the annotation leads to it, and no page is left."""
        text = (ROOT / "docs/operations.md").read_text()
        pages = set(re.findall(r"^### (Ctrader\w+)$", text, re.MULTILINE))
        self.assertEqual(pages, {rule["alert"] for rule in self.rules()})
        for rule in self.rules():
            anchor = f"docs/operations.md#{rule['alert'].lower()}"
            self.assertEqual(rule["annotations"]["runbook"], anchor)


class DashboardTest(Expressions):
    """contrib/grafana/ctrader-stream.json."""

    def panels(self) -> Iterator[dict[str, Any]]:
        """All panels but the rows."""
        board = json.loads(DASHBOARD.read_text())
        yield from (panel for panel in board["panels"] if panel["type"] != "row")

    def test_expressions(self) -> None:
        """Every metric exists."""
        for panel in self.panels():
            for target in panel["targets"]:
                self.check(target["expr"].replace("$__rate_interval", "5m"))

    def test_everything_has_a_place(self) -> None:
        """Every family that is not for debugging alone is on the board."""
        shown = " ".join(t["expr"] for panel in self.panels() for t in panel["targets"])
        hidden = {"build_info", "connection_open", "writes", "venue_frames_received", "events"}
        hidden |= {"venue_undecodable_frames", "venue_unknown_messages", "venue_unknown_fields"}
        hidden |= {"venue_unasked_answers", "client_messages", "created"}
        for name in self.known:
            family = re.sub(r"_(total|bucket|sum|count|created)$", "", name)
            family = family.removeprefix("ctrader_stream_")
            if name.startswith("ctrader_stream_") and family not in hidden:
                self.assertIn(f"ctrader_stream_{family}", shown)

    def test_layout(self) -> None:
        """Panels have ids of their own and do not overlap."""
        board = json.loads(DASHBOARD.read_text())
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(set(ids)), len(ids))
        taken = set()
        for panel in board["panels"]:
            p = panel["gridPos"]
            cells = {(p["x"] + i, p["y"] + j) for i in range(p["w"]) for j in range(p["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(p["x"] + p["w"], 24)
            taken |= cells
