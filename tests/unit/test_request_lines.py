"""Every request to the venue leaves two lines, and both say for whom it was."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from ctrader_twisted import errands
from ctrader_twisted.errands import Errand, on_behalf_of
from ctrader_twisted.errors import ConnectionEnded, ProtocolError, RequestTimeout, VenueRefusal
from ctrader_twisted.pb import api_pb2
from ctrader_twisted.upstream.requests import Lane
from tests.unit.fakes import refusal_of
from tests.unit.log_lines import LogLines
from tests.unit.test_upstream_requests import VERSION, RequestsCase, question

SENT = "ProtoOAAccountLogoutReq sent as c1-1, lane read, account 7, after 0.0 ms in the queue"


class RequestLinesTest(RequestsCase):
    """Sent, and over."""

    def setUp(self) -> None:
        super().setUp()
        self.log = LogLines(self)

    def ask_for(self, known_as: str) -> Deferred[object]:
        """A request of account 7 on behalf of somebody."""
        with on_behalf_of(known_as):
            asked: Deferred[object] = self.requests.ask(
                question(), VERSION, lane=Lane.READ, account_id=7
            )
        return asked

    def test_answered(self) -> None:
        """Id, client message id, lane, account and times; as fields, and for people."""
        asked = self.ask_for("a.1")
        self.clock.advance(0.25)
        self.settle("c1-1")
        self.successResultOf(asked)
        over = "ProtoOAAccountLogoutReq c1-1: answered after 250.0 ms (ProtoOAVersionRes)"
        self.assertEqual(self.log.of("a.1"), [SENT, over])
        sent, answered = self.log.lines
        for line in (sent, answered):
            self.assertEqual(
                (line["client_message_id"], line["lane"], line["account_id"], line["level"]),
                ("c1-1", "read", 7, "info"),
            )
        self.assertEqual((sent["queued_ms"], answered["duration_ms"]), (0, 250))
        self.assertEqual(
            (answered["outcome"], answered["reason"]), ("answered", "ProtoOAVersionRes")
        )
        self.assertTrue(self.log.console[0].endswith(f": [a.1] {SENT}\n"), self.log.console[0])
        self.assertTrue(self.log.console[1].endswith(f": [a.1] {over} [account_id=7]\n"))

    def test_refused(self) -> None:
        """A refusal has its code; whatever else is logged because of it has the id, too."""
        asked = self.ask_for("a.1")
        self.settle("c1-1", refusal_of("MARKET_CLOSED", "come back later"))
        self.failureResultOf(asked, VenueRefusal)
        self.assertEqual(
            self.log.of("a.1")[1],
            "ProtoOAAccountLogoutReq c1-1: refused after 0.0 ms (MARKET_CLOSED)",
        )

    def test_a_code_that_could_say_anything(self) -> None:
        """A code that we do not know is told by the line that is there for it."""
        asked = self.ask_for("a.1")
        self.settle("c1-1", refusal_of("X\n[b.9] forged", "why"))
        self.failureResultOf(asked, VenueRefusal)
        _, over, unknown = self.log.of("a.1")
        self.assertTrue(over.endswith("(UNKNOWN_CODE)"))
        self.assertIn("with a code that we do not know", unknown)

    def test_every_other_end(self) -> None:
        """Timeout, loss, a place in the queue that was never had, nonsense, giving up."""
        self.requests = self.make(ordinary=1)
        late, queued = self.ask_for("late.1"), self.ask_for("queued.1")
        self.clock.advance(0.5)
        queued.cancel()
        self.failureResultOf(queued, CancelledError)
        self.clock.advance(9.5)
        self.failureResultOf(late, RequestTimeout)
        lost, waits = self.ask_for("lost.1"), self.ask_for("waits.1")
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        for asked in (lost, waits):
            self.failureResultOf(asked, ConnectionEnded)
        ends = [line for line in self.log.lines if "outcome" in line]
        self.assertEqual(
            [(one["correlation_id"], one["outcome"], one["duration_ms"]) for one in ends],
            [
                ("queued.1", "given_up", 500),
                ("late.1", "timed_out", 10_000),
                ("lost.1", "lost", 0),
                ("waits.1", "not_sent", 0),
            ],
        )
        self.assertEqual(self.log.ids("sent as"), ["late.1", "lost.1"])
        self.empty()

    def test_what_cannot_be_encoded(self) -> None:
        """A fault of ours is over as soon as it is noticed."""
        with on_behalf_of("a.1"):
            asked = self.requests.ask(api_pb2.ProtoOAAccountAuthReq(), VERSION, lane=Lane.SESSION)
        self.failureResultOf(asked, ProtocolError)
        self.assertIn("not_sent after 0.0 ms (cannot be encoded)", self.log.of("a.1")[-1])

    def test_after_the_end(self) -> None:
        """What is asked of a connection that has ended has a line as well."""
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        self.failureResultOf(self.ask_for("a.1"), ConnectionEnded)
        over = "ProtoOAAccountLogoutReq c1-1: not_sent after 0.0 ms (connection ended)"
        self.assertEqual(self.log.of("a.1"), [over])

    def test_nobodys(self) -> None:
        """What the daemon asks by itself has the name of the connection; no client can have it."""
        self.ask()
        self.settle("c1-1")
        self.assertEqual([one["correlation_id"] for one in self.log.lines], ["own:c1"] * 2)

    def test_whoever_takes_the_answer(self) -> None:
        """Callbacks run for whom the request was, and not for whoever is served meanwhile."""
        served: list[str] = []
        asked = self.ask_for("a.1").addBoth(lambda _: served.append(errands.current()))
        with Errand("b.1"):
            self.settle("c1-1")
            served.append(errands.current())
        self.successResultOf(asked)
        asked = self.ask_for("a.2").addBoth(lambda _: served.append(errands.current()))
        self.clock.advance(10)
        self.successResultOf(asked)
        asked = self.ask_for("a.3").addBoth(lambda _: served.append(errands.current()))
        self.requests.fail_all(ConnectionEnded("cut", sent=False))
        self.successResultOf(asked)
        self.assertEqual(served, ["a.1", "b.1", "a.2", "a.3"])
        self.assertEqual(errands.current(), "")
