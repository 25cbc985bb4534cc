"""The answer to `subscribe`: the same bytes for the same question, and never another's."""

from __future__ import annotations

import json
from typing import Any

from msgspec import UNSET
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted.accounts import Wanted
from ctrader_twisted.web import frames
from ctrader_twisted.web.client_replies import SubscribeReplies


class SubscribeRepliesTest(SynchronousTestCase):
    """What is remembered, and what is not taken for the same."""

    def setUp(self) -> None:
        self.replies = SubscribeReplies()
        self.told = [Wanted("EURUSD"), Wanted("GBPUSD", pending=True)]

    def said(self, request_id: Any, told: list[Wanted], symbols: list[str]) -> dict[str, Any]:
        """The answer, whose frame must be that of its text."""
        payload, frame = self.replies.write(request_id, told, symbols)
        self.assertEqual(frame, frames.frame(payload))
        answer: dict[str, Any] = json.loads(payload)
        return answer

    def test_written_once(self) -> None:
        """Who asks for the same is told by the same bytes, not by equal ones."""
        first = self.replies.write(UNSET, self.told, ["EURUSD", "GBPUSD"])
        again = self.replies.write(UNSET, list(self.told), ["EURUSD", "GBPUSD"])
        self.assertIs(first[1], again[1])
        self.assertIs(first[0], again[0])

    def test_an_id_comes_back_as_it_was_written(self) -> None:
        """1, 1.0, "1" and none are four different ids, whatever was answered before."""
        for request_id in (1, 1.0, "1", 1, None):
            answer = self.said(UNSET if request_id is None else request_id, self.told, ["EURUSD"])
            self.assertEqual(repr(answer.get("id")), repr(request_id))

    def test_another_outcome(self) -> None:
        """What was confirmed meanwhile, or refused, is told; so is what else the client has."""
        self.assertTrue(self.said(UNSET, self.told, ["EURUSD"])["results"][1]["pending"])
        later = [Wanted("EURUSD"), Wanted("GBPUSD")]
        self.assertNotIn("pending", self.said(UNSET, later, ["EURUSD"])["results"][1])
        self.assertEqual(self.said(UNSET, later, ["XAUUSD"])["symbols"], ["XAUUSD"])
        refused = [Wanted("EURUSD"), Wanted("GBPUSD", code="LIMIT", message="no more")]
        self.assertEqual(
            self.said(UNSET, refused, ["XAUUSD"])["results"][1],
            {"symbol": "GBPUSD", "status": "error", "message": "no more", "code": "LIMIT"},
        )
