"""Static files: what can be asked for, and what comes along; and the AsyncAPI document."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any, get_args

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import CACHED
from twisted.web.test.requesthelper import DummyRequest

from ctrader_twisted import contract
from ctrader_twisted.web import asyncapi
from ctrader_twisted.web.files import STATIC, StaticFile, StaticFiles, find_files, send
from ctrader_twisted.web.problems import Refused

TEXT = b"prices " * 500


class Asked(DummyRequest):  # type: ignore[misc]
    """A request; ``setETag`` says whether the client has this already."""

    def __init__(self, *path: bytes, **headers: str) -> None:
        super().__init__(list(path))
        self.path = b"/static/" + b"/".join(path)
        for name, value in headers.items():
            self.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])

    def setETag(self, tag: bytes) -> Any:
        self.responseHeaders.setRawHeaders(b"etag", [tag])
        return CACHED if self.getHeader(b"if-none-match") == tag else None

    def told(self, name: str) -> str:
        """A header of the response."""
        return (self.responseHeaders.getRawHeaders(name) or [""])[0]


class SendTests(SynchronousTestCase):
    """One file to one request."""

    file = StaticFile.of("a.css", TEXT)

    def test_compressed_for_those_who_can(self) -> None:
        """gzip where it is accepted, with a tag of its own, and never where it is refused."""
        plain = Asked()
        self.assertEqual(send(self.file, plain), TEXT)
        packed = Asked(accept_encoding="br, gzip;q=0.8")
        self.assertEqual(gzip.decompress(send(self.file, packed)), TEXT)
        self.assertEqual(packed.told("content-encoding"), "gzip")
        self.assertNotEqual(plain.told("etag"), packed.told("etag"))
        self.assertIn("accept-encoding", packed.told("vary"))
        self.assertEqual(send(self.file, Asked(accept_encoding="gzip;q=0")), TEXT)
        self.assertEqual(send(self.file, Asked(accept_encoding="br")), TEXT)

    def test_nothing_twice(self) -> None:
        """Who has it already gets the headers alone."""
        first = Asked(accept_encoding="gzip")
        send(self.file, first)
        again = Asked(accept_encoding="gzip", if_none_match=first.told("etag"))
        self.assertEqual(send(self.file, again), b"")

    def test_what_proxies_make_of_tags(self) -> None:
        """A tag that a proxy made weak, alone or in a list without blanks, is the same tag."""
        tag = self.tag()
        for known in (f"W/{tag}", f'"other",W/{tag}', f'"other", {tag}'):
            self.assertEqual(send(self.file, Asked(if_none_match=known)), b"", known)
        for known in ("W/", '"', f"W/W/{tag}", tag[1:-1]):
            self.assertEqual(send(self.file, Asked(if_none_match=known)), TEXT, known)

    def tag(self) -> str:
        """What the file is known by."""
        asked = Asked()
        send(self.file, asked)
        return asked.told("etag")

    def test_headers(self) -> None:
        """The type is exact and not to be guessed, and nothing from elsewhere may run."""
        asked = Asked()
        send(self.file, asked)
        self.assertEqual(asked.told("content-type"), "text/css; charset=utf-8")
        self.assertEqual(asked.told("x-content-type-options"), "nosniff")
        policy = asked.told("content-security-policy")
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotIn("http", policy)

    def test_what_does_not_shrink_is_left_alone(self) -> None:
        """A picture is not compressed again."""
        self.assertEqual(StaticFile.of("a.png", b"\x89PNG").packed, b"")


class StaticFilesTests(SynchronousTestCase):
    """The folder."""

    def setUp(self) -> None:
        self.files = StaticFiles()

    def test_found_by_their_path(self) -> None:
        """Files of ours, in folders too, and the library that draws candles."""
        for path in ([b"ctrader-stream.js"], [b"page", b"app.js"]):
            asked = Asked(*path)
            self.assertTrue(self.files.read(asked))
            self.assertEqual(asked.told("content-type"), "text/javascript; charset=utf-8")
        library = self.files.read(Asked(b"vendor", b"lightweight-charts.js"))
        self.assertIn(b"Apache License 2.0", library[:400])

    def test_nothing_else(self) -> None:
        """No folder is listed, and no path leads out of it."""
        for path in (
            [b""],
            [b"page"],
            [b"page", b""],
            [b"..", b"files.py"],
            [b"page", b"..", b"..", b"files.py"],
            [b"..%2ffiles.py"],
            [b"/etc/passwd"],
            [b"app.js\x00.html"],
            [b"\xff\xfe"],
        ):
            refused = self.assertRaises(Refused, self.files.read, Asked(*path))
            self.assertEqual(refused.status, 404, path)

    def test_the_page_has_no_inline_script_or_style(self) -> None:
        """The policy forbids them, and addresses of others, so there are none."""
        html = (STATIC / "index.html").read_text("utf-8")
        self.assertEqual(re.findall(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", html), [])
        loaded = re.findall(r"<(?:script|link|img)\b[^>]*(?:src|href)=\"([^\"]+)", html)
        names = {name for name, _ in find_files()}
        self.assertEqual([one for one in loaded if one.removeprefix("static/") not in names], [])

    def test_every_address_is_relative(self) -> None:
        """So that the page works below a path of a proxy, and not only at the root of a host."""
        html = (STATIC / "index.html").read_text("utf-8")
        addresses = re.findall(r"(?:src|href|action)=\"([^\"]*)", html)
        self.assertGreater(len(addresses), 10)
        self.assertEqual([one for one in addresses if one.startswith("/")], [])
        absolute = re.compile(r"(?:fetch|import|URL|CtraderStream)\(\s*['\"`]/|from '/|= '/[a-z]")
        for path in (STATIC / "page").rglob("*.js"):
            self.assertIsNone(absolute.search(path.read_text("utf-8")), path.name)
        for path in STATIC.rglob("*.css"):
            self.assertNotIn("url(/", path.read_text("utf-8"), path.name)

    def test_no_script_makes_html_of_text(self) -> None:
        """The ways from text to HTML are used nowhere."""
        ways = re.compile(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\("
        )
        found = [p.name for p in STATIC.rglob("*.js") if ways.search(p.read_text("utf-8"))]
        self.assertEqual(found, [])


class AsyncApiTests(SynchronousTestCase):
    """The document of the tick stream."""

    def setUp(self) -> None:
        self.document: dict[str, Any] = json.loads(asyncapi.encoded())

    def test_every_message_of_the_contract_is_in_it(self) -> None:
        """Whatever is sent has its message and its schema, with the fields that are really sent."""
        messages = self.document["components"]["messages"]
        for name, kind in asyncapi.outgoing().items():
            self.assertEqual(
                messages[name]["payload"], {"$ref": f"#/components/schemas/{kind.__name__}"}
            )
            schema = self.document["components"]["schemas"][kind.__name__]
            fields = {field.encode_name for field in msgspec.structs.fields(kind)}
            self.assertEqual(set(schema["properties"]) - {"type"}, fields)
            self.assertEqual(schema["properties"]["type"], {"enum": [name]})
        self.assertIn(contract.TickMessage, asyncapi.outgoing().values())

    def test_what_may_be_missing_is_not_required(self) -> None:
        """As the epoch of a status, before there was a session."""
        for kind in asyncapi.outgoing().values():
            required = self.document["components"]["schemas"][kind.__name__]["required"]
            for field in msgspec.structs.fields(kind):
                may_be_missing = msgspec.UnsetType in get_args(field.type)
                self.assertFalse(may_be_missing and field.encode_name in required, field)

    def test_it_is_written_for_its_readers(self) -> None:
        """Fields by the names that they have in JSON, and nothing about our own modules."""
        schemas = self.document["components"]["schemas"].values()
        messages = self.document["components"]["messages"].values()
        said = [one["description"] for one in schemas] + [one["summary"] for one in messages]
        for text in said:
            self.assertNotRegex(text.replace("tick_resumed", "so"), r"\w_\w|``|  |/frames")
        self.assertTrue(any("`receivedAt`" in text for text in said))

    def test_every_request_has_its_reply(self) -> None:
        """An operation for each request, with the messages that answer it."""
        self.assertEqual(set(asyncapi.REPLIES), set(asyncapi.INCOMING))
        for name, reply in asyncapi.REPLIES.items():
            replies = self.document["operations"][name]["reply"]["messages"]
            self.assertEqual(replies[0]["$ref"], f"#/channels/ticks/messages/{reply}")

    def test_every_reference_leads_somewhere(self) -> None:
        """No `$ref` points into the void."""
        for pointer in re.findall(r'"\$ref": "#/([^"]+)"', asyncapi.encoded().decode()):
            place = self.document
            for part in pointer.split("/"):
                self.assertIn(part, place, pointer)
                place = place[part]
