"""Secrets print as stars, redaction finds them, and the observers say nothing else."""

from __future__ import annotations

import copy
import io
import json
import pickle
import sys
import syslog
import threading
import time
import traceback
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from ctrader_twisted import logs
from ctrader_twisted.logs import Secret, conceal, console_line, json_line, redact


class Heat(Enum):
    """An enumeration that an event may carry."""

    HOT = 1


PLANTED = "pl4nted-s3cret/va+lue"

# Text that could be a secret: the mask itself is left out, since it stands where secrets stood.
secret_texts = st.text(
    st.characters(exclude_characters="*", exclude_categories=("Cs",)), min_size=4
)


def event(**fields: object) -> LogEvent:
    """An event as a Logger makes it, at a moment of our choice."""
    return {
        "log_time": 1700000000.1234,
        "log_level": LogLevel.info,
        "log_namespace": "ctrader_twisted.test",
        "log_format": "hello {symbol}",
        "symbol": "EURUSD",
        **fields,
    }


def failure(text: str) -> Failure:
    try:
        raise RuntimeError(text)
    except RuntimeError:
        return Failure()


class SecretTests(SynchronousTestCase):
    """The value object."""

    def test_reveals(self) -> None:
        """`reveal` gives the text, and only that does."""
        self.assertEqual(Secret("abc").reveal(), "abc")

    @settings(deadline=None)
    @given(secret_texts)
    def test_prints_stars(self, text: str) -> None:
        """No way of printing shows the text, alone or in a container."""
        secret = Secret(text)
        shown = [
            repr(secret),
            str(secret),
            f"{secret}",
            f"{secret!r:>40}",
            format(secret, ">40").strip(),
            "%s" % secret,  # noqa: UP031
            "%r" % secret,  # noqa: UP031
            "{}".format(secret),  # noqa: UP032
        ]
        self.assertEqual({one.strip() for one in shown}, {"********"})
        self.assertEqual(repr([secret]), "[********]")

    def test_truth(self) -> None:
        """An empty secret is false."""
        self.assertTrue(Secret("x"))
        self.assertFalse(Secret(""))

    def test_equality(self) -> None:
        """Secrets compare by value with each other, and are never equal to text."""
        self.assertEqual(Secret("é1"), Secret("é1"))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertEqual(len({Secret("a"), Secret("a"), Secret("b")}), 2)

    def test_equality_takes_any_text(self) -> None:
        """A lone surrogate, as os.environ makes of odd bytes, compares like the rest."""
        self.assertEqual(Secret("\udcff"), Secret("\udcff"))

    def test_copies(self) -> None:
        """A copy is the value itself, masked as ever."""
        secret = Secret("abc")
        self.assertIs(copy.copy(secret), secret)
        self.assertEqual(repr(copy.deepcopy({"key": secret})), "{'key': ********}")

    def test_is_not_pickled(self) -> None:
        """A pickle would carry the text away, so there is none."""
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            self.assertRaises(TypeError, pickle.dumps, Secret("abc"), protocol)

    def test_is_not_json(self) -> None:
        """Neither encoder accepts it by accident."""
        self.assertRaises(TypeError, json.dumps, Secret("abc"))
        self.assertRaises(TypeError, msgspec.json.encode, Secret("abc"))

    def test_cannot_be_changed(self) -> None:
        """It is a value."""
        secret = Secret("abc")
        self.assertRaises(AttributeError, setattr, secret, "_value", "x")
        self.assertRaises(AttributeError, delattr, secret, "_value")
        self.assertRaises(AttributeError, setattr, secret, "other", "x")

    def test_holds_text_only(self) -> None:
        """A wrong type is refused, and not quoted."""
        error = self.assertRaises(TypeError, Secret, b"abc")
        self.assertNotIn("abc", str(error))


class RedactTests(SynchronousTestCase):
    """The one redaction function."""

    @settings(deadline=None)
    @given(secret_texts, st.text(), st.text())
    def test_given_secrets(self, secret: str, before: str, after: str) -> None:
        """A given secret is in no redacted text, wherever it stood."""
        self.assertNotIn(secret, redact(f"{before}{secret}{after}", [Secret(secret)]))

    @settings(deadline=None)
    @given(secret_texts)
    def test_spellings(self, secret: str) -> None:
        """Nor as a URL, JSON or repr spells it."""
        known = [Secret(secret)]
        for spelling in (
            quote(secret, safe=""),
            json.dumps(secret),
            json.dumps(secret, ensure_ascii=False),
            repr(secret),
            repr(secret.encode()),
        ):
            text = redact(f"it was {spelling} here", known)
            self.assertIn("********", text)
            self.assertNotIn(spelling.strip("'\""), text)

    def test_longest_first(self) -> None:
        """A secret that begins another does not leave the other's rest."""
        self.assertEqual(redact("abcdef", [Secret("abc"), Secret("abcdef")]), "********")

    def test_empty_secret(self) -> None:
        """An empty secret changes nothing."""
        self.assertEqual(redact("abc", [Secret("")]), "abc")

    def test_concealed(self) -> None:
        """What was told to `conceal` is masked without being given."""
        conceal(Secret("concealed-for-this-test"), Secret(""))
        self.assertEqual(redact("a concealed-for-this-test b"), "a ******** b")
        self.assertEqual(redact("ab"), "ab")

    def test_named_values(self) -> None:
        """Whatever carries a credential's name is masked, known or not."""
        for text in (
            "accessToken={}",
            "access_token={}&x=1",
            "accessToken: {}",
            'accessToken: "{}"',
            "client_secret: {}, next",
            "clientSecret='{}'",
            "CTRADER_CLIENT_SECRET={}",
            '{{"password": "{}"}}',
            '{{"refreshToken":"{}","x":1}}',
            "{{'refresh_token': '{}'}}",
            "{{'refresh_token': b'{}'}}",
            '{{\\"password\\": \\"{}\\"}}',
            "Authorization: Bearer {}",
            "authorization: Basic {}",
            "Proxy-Authorization: {}",
            "{{b'authorization': [b'Bearer {}']}}",
            "Cookie: {}",
            "token={}",
            "api_key={}",
            "X-Api-Key: {}",
            "access token: {}",
            "password => {}",
            "bearer {}",
            "amqp://user:{}@host/vhost",
        ):
            masked = redact(text.format("Zx81-spectrum_48k"))
            self.assertNotIn("Zx81", masked, text)
            self.assertNotIn("48k", masked, text)
            self.assertIn("********", masked, text)

    def test_keeps_the_rest(self) -> None:
        """What stands around a credential stays."""
        self.assertEqual(
            redact("POST /token?access_token=abc&account=7 200"),
            "POST /token?access_token=********&account=7 200",
        )
        self.assertEqual(
            redact('{"password": "a \\" b", "symbol": "EURUSD"}'),
            '{"password": "********", "symbol": "EURUSD"}',
        )

    def test_unterminated_quote(self) -> None:
        """A cut line hides its last value as well."""
        self.assertEqual(redact("password='abc def"), "password='********'")

    def test_json_web_token(self) -> None:
        """A signed token is recognised by its shape."""
        self.assertEqual(redact("got eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ ok"), "got ******** ok")

    def test_innocent(self) -> None:
        """Words near credentials are not credentials."""
        for text in (
            "the token bucket holds 40",
            "tokens: 12",
            "CTRADER_CLIENT_SECRET_FILE=/run/credentials/secret",
            "application auth done for 1000001",
            "EURUSD bid=1.1 ask=1.2",
            "https://host:8080/path",
            "the bearer is",
        ):
            self.assertEqual(redact(text), text)

    @settings(deadline=None)
    @given(st.text())
    def test_twice_is_once(self, text: str) -> None:
        """What is redacted stays as it is when it passes again."""
        once = redact(f"access_token={text}")
        self.assertEqual(redact(once), once)

    def test_in_capitals(self) -> None:
        """Our API keys and known secrets are masked in capitals and in small letters, too."""
        key = "cts_" + "aB3-_xY9" * 5 + "zZz"
        known = [Secret(PLANTED)]
        for text in (key, key.upper(), key.lower(), key.swapcase()):
            for around in ("{}", "a {} b", "/x/{}/y", '"{}"', "%22{}%22", "\\n{}\\n", "\\x1b{}"):
                masked = redact(around.format(text))
                self.assertNotIn(text[4:], masked, around)
                self.assertIn("********", masked)
        for text in (PLANTED.upper(), PLANTED.title(), quote(PLANTED, safe="").lower()):
            self.assertEqual(redact(f"a {text} b", known), "a ******** b")

    def test_words_that_end_like_a_key_begins(self) -> None:
        """`cts_` inside a word of ours is no key."""
        for text in ("products_available_in_catalogue", "rejects_without_a_reason=3"):
            self.assertEqual(redact(text), text)

    @settings(deadline=None)
    @given(st.binary(max_size=7), st.binary(max_size=7))
    def test_base64(self, before: bytes, after: bytes) -> None:
        """Keys and known secrets are masked in base64, wherever they begin in a group of three."""
        key = b"cts_" + b"aB3-_xY9" * 5 + b"zZz"
        for secret in (key, PLANTED.encode()):
            for encode in (b64encode, urlsafe_b64encode):
                text = encode(before + secret + after).decode()
                masked = redact(f"x {text} y", [Secret(PLANTED)])
                middle = encode(secret[6:-6]).decode()[4:-4]
                self.assertIn("********", masked)
                self.assertNotIn(middle, masked)
                for shift in range(3):
                    part = encode(secret[shift : shift + 12]).decode()
                    self.assertNotIn(part, masked)

    def test_basic(self) -> None:
        """The user and password of HTTP are masked without the header's name, too."""
        for user in ("user:secret-word-1", "a:b-c-d-e-f-g-h"):
            text = b64encode(user.encode()).decode()
            self.assertEqual(redact(f"Basic {text}"), "Basic ********")
        for text in ("basic internationalization", "the basic settings are right", "Basic rules"):
            self.assertEqual(redact(text), text)

    def test_binary(self) -> None:
        """Known secrets are masked in bytes as Python, and as a dump of hexadecimal digits show."""
        known = [Secret(PLANTED)]
        octets = f"\x00\x01{PLANTED}\xff".encode("latin-1")
        for text in (repr(octets), octets.hex(), octets.hex().upper(), str(bytearray(octets))):
            masked = redact(text, known)
            self.assertIn("********", masked)
            self.assertNotIn(PLANTED, masked)
            self.assertNotIn(PLANTED.encode().hex(), masked.lower())

    def test_a_line_of_many(self) -> None:
        """A secret of several lines is masked when it is printed line by line."""
        secret = Secret("-----BEGIN X-----\nabcdefgh12345678\nijklmnop12345678\nend\n")
        self.assertEqual(redact("abcdefgh12345678", [secret]), "********")
        self.assertEqual(redact("ijklmnop12345678", [secret]), "********")
        self.assertEqual(redact("the end", [secret]), "the end")

    def test_urls(self) -> None:
        """Parameters of a URL, and of a URL inside a URL."""
        for text in (
            "/ws?token={}",
            "/ws?x=1&api_key={}&y=2",
            "GET /ws?TOKEN={} HTTP/1.1",
            "https://host/cb?code={}&state=1",
            "https://host/a?key={}",
            "/go?to=%2Fws%3Ftoken%3D{}",
            "/go?to=%2Fws%3faccess_token%3d{}",
        ):
            masked = redact(text.format("Zx81-spectrum_48k"))
            self.assertNotIn("Zx81", masked, text)
            self.assertIn("********", masked, text)

    def test_conceal_while_others_redact(self) -> None:
        """A secret may be read again at any time, in any thread."""
        stop = threading.Event()
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not stop.is_set():
                    redact("nothing of the kind")
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(50):
            conceal(Secret(f"concealed-while-others-redact-{number:03}"))
            self.assertEqual(redact(f"concealed-while-others-redact-{number:03}"), "********")
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_long_lines(self) -> None:
        """Hostile lines cost no more than their length."""
        began = time.process_time()
        for piece in (
            "token",
            "eyJ-",
            "token ",
            'token"',
            "://a:",
            "bearer ",
            'password=\\"',
            "a-",
            "cts_",
            "N0c1",
            "?code=",
            "basic ",
            "%3Dtoken",
        ):
            redact(piece * (100_000 // len(piece)))
        self.assertLess(time.process_time() - began, 5)


class JsonLineTests(SynchronousTestCase):
    """One event, one object, one line."""

    def line(self, **fields: object) -> dict[str, object]:
        text = json_line(event(**fields))
        self.assertTrue(text.endswith("\n"))
        self.assertEqual(text.count("\n"), 1)
        loaded = json.loads(text)
        assert isinstance(loaded, dict)
        return loaded

    def test_shape(self) -> None:
        """Time, level, namespace, message, and the plain fields."""
        self.assertEqual(
            self.line(account_id=7, correlation_id="c-1", ratio=0.5, ok=True, nothing=None),
            {
                "time": "2023-11-14T22:13:20.123Z",
                "level": "info",
                "namespace": "ctrader_twisted.test",
                "message": "hello EURUSD",
                "symbol": "EURUSD",
                "account_id": 7,
                "correlation_id": "c-1",
                "ratio": 0.5,
                "ok": True,
                "nothing": None,
            },
        )

    def test_objects_stay_out(self) -> None:
        """Objects are told by the message only; simple values are written as text."""
        line = self.line(thing=object(), many=[1], price=Decimal("1.10"), kind=Heat.HOT)
        self.assertNotIn("thing", line)
        self.assertNotIn("many", line)
        self.assertEqual(line["price"], "1.10")
        self.assertEqual(line["kind"], "HOT")

    def test_what_json_cannot_hold(self) -> None:
        """Huge numbers, no-numbers, lone surrogates and line breaks still make a line."""
        line = self.line(big=2**70, nan=float("nan"), odd="\udcff", lines="a\nb")
        self.assertEqual(line["big"], str(2**70))
        self.assertIsNone(line["nan"])
        self.assertEqual(line["odd"], "\\udcff")
        self.assertEqual(line["lines"], "a\nb")

    def test_our_names_win(self) -> None:
        """A field called like one of ours keeps its value under a neighbour's name."""
        line = self.line(level="high")
        self.assertEqual(line["level"], "info")
        self.assertEqual(line["level_"], "high")

    def test_failure(self) -> None:
        """The traceback of a failure is a field."""
        line = self.line(log_failure=failure("broken"))
        self.assertIn("RuntimeError: broken", str(line["failure"]))

    def test_bare_event(self) -> None:
        """An event without anything is still a line."""
        self.assertEqual(
            json.loads(json_line({})),
            {"time": "-", "level": "info", "namespace": "-", "message": ""},
        )

    def test_broken_format(self) -> None:
        """An event that cannot be formatted says so, and does not raise."""
        self.assertIn("Unable to format", str(self.line(log_format="{missing}")["message"]))

    def test_secrets(self) -> None:
        """Secrets leave by no field, neither by value nor under a credential's name."""
        conceal(Secret(PLANTED))
        text = json_line(
            event(
                log_format="a {one} b {two} c {access_token}",
                one=PLANTED,
                two=Secret(PLANTED),
                access_token="Zx81-spectrum",
                clientSecret=4711471147,
                log_failure=failure(f"refused {PLANTED}"),
            )
        )
        self.assertNotIn(PLANTED, text)
        self.assertNotIn("4711471147", text)
        self.assertEqual(json.loads(text)["access_token"], "********")


class ConsoleLineTests(SynchronousTestCase):
    """Lines for people."""

    def test_shape(self) -> None:
        """Time, level, namespace, message, and at the end what lets one follow a matter."""
        self.assertEqual(
            console_line(event(account_id=7, correlation_id="c-1", other=1)),
            "2023-11-14T22:13:20.123Z INFO     test: hello EURUSD "
            "[account_id=7 correlation_id=c-1]\n",
        )

    def test_no_forged_line(self) -> None:
        """Line breaks in values and control characters are spelled out."""
        line = console_line(event(symbol="A\nB\r\x1b[31mC"))
        self.assertEqual(
            line, "2023-11-14T22:13:20.123Z INFO     test: hello A\\nB\\x0d\\x1b[31mC\n"
        )

    def test_short_namespace(self) -> None:
        """The module without our package and the class; others as they are, without the class."""
        for namespace, short in (
            ("ctrader_twisted.upstream.requests.Requests", "upstream.requests"),
            ("ctrader_twisted.upstream.pursuit._Batch", "upstream.pursuit"),
            ("ctrader_twisted.tap", "tap"),
            ("twisted.internet.base", "twisted.internet.base"),
            ("twisted.scripts._twistd_unix.UnixAppLogger", "twisted.scripts._twistd_unix"),
            ("log_legacy", "-"),
            ("stdout", "stdout"),
            ("A", "A"),
            ("evil\n2023-11-14 forged\x1b[2J", "evil\\n2023-11-14 forged\\x1b[2J"),
        ):
            line = console_line(event(log_namespace=namespace))
            self.assertTrue(line.endswith(f" {short}: hello EURUSD\n"), line)

    def test_nothing_steers_the_terminal(self) -> None:
        """Control characters, invisible ones and changes of direction are spelled out, in both
        forms, in the message, its fields, the traceback and the namespace.
        """
        evil = (
            "\x00\x07\x08\x1b[2J\x7f\x85\x9b31m\u200b\u200e\u2028\u2029\u202e\u2066\ufeff\U000e0041"
        )
        made = event(symbol=evil, log_namespace=evil, log_failure=failure(f"no {evil}"))
        text = console_line(made)
        loaded = json.loads(json_line(made))
        for said in (text, json_line(made), *map(str, loaded.values())):
            bad = [char for char in said if not char.isprintable() and char not in "\n\t"]
            self.assertEqual(bad, [])
        for word in (r"\x00\x07\x08\x1b[2J\x7f\x85\x9b31m", r"\u202e\u2066\ufeff\U000e0041"):
            self.assertIn(word, text)
            self.assertIn(word, loaded["message"])
            self.assertIn(word, loaded["symbol"])
            self.assertIn(word, loaded["failure"])

    def test_other_scripts(self) -> None:
        """Text of other languages, and signs, stay as they are."""
        self.assertIn("hello Grüße 価格 ₿ 🙂", console_line(event(symbol="Grüße 価格 ₿ 🙂")))

    def test_length(self) -> None:
        """A text without an end is cut, after it is masked."""
        conceal(Secret(PLANTED))
        long = "x" * (logs.TEXT_LIMIT - 20) + PLANTED + "y" * 200_000
        for line in (console_line(event(symbol=long)), json_line(event(symbol=long))):
            self.assertLess(len(line), 3 * logs.TEXT_LIMIT)
            self.assertNotIn(PLANTED[:6], line)
            self.assertIn("characters)", line)

    def test_failure(self) -> None:
        """A traceback follows, indented and redacted."""
        line = console_line(event(log_failure=failure(f"token={PLANTED}")))
        self.assertIn("\n    Traceback", line)
        self.assertIn("RuntimeError: token=********", line)
        self.assertNotIn(PLANTED, line)


class ObserverTests(SynchronousTestCase):
    """The observers as twistd and tap use them."""

    def written(self, make: str, **fields: object) -> str:
        stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        patch = self.patch(sys, "stderr", stream)
        observer = getattr(logs, make)()
        patch.restore()
        self.assertTrue(ILogObserver.providedBy(observer))
        log = Logger("here", observer=LogPublisher(observer))
        log.debug("too quiet {symbol}", **fields)
        log.warn("said {symbol}", **fields)
        return stream.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]

    def test_json(self) -> None:
        """`json_stderr` writes UTF-8 JSON from level info."""
        line = json.loads(self.written("json_stderr", symbol="€"))
        self.assertEqual((line["level"], line["message"]), ("warn", "said €"))
        moment = datetime.fromisoformat(line["time"])
        self.assertEqual(moment.tzinfo, UTC)

    def test_console(self) -> None:
        """`console_stderr` writes one readable line from level info."""
        text = self.written("console_stderr", symbol="€")
        self.assertTrue(text.endswith(" WARN     here: said €\n"), text)

    def test_requests_of_a_log_in(self) -> None:
        """Where it goes well people are not told of them, and programs are."""
        for name, shown in (("console_stderr", 1), ("json_stderr", 3)):
            stream = io.StringIO()
            patch = self.patch(sys, "stderr", stream)
            publisher = LogPublisher(getattr(logs, name)())
            patch.restore()
            publisher(event(lane="session"))
            publisher(event(lane="session", outcome="answered"))
            publisher(event(lane="session", outcome="timed_out"))
            self.assertEqual(stream.getvalue().count("hello"), shown)

    def test_twistds_own_words(self) -> None:
        """How twistd announces itself is left out: our first line has the versions."""
        text = self.written("console_stderr", log_namespace="twisted.scripts._twistd_unix.X")
        self.assertEqual(text.count("\n"), 1)
        for words in ("reactor class: {reactor}.", "elsewhere: {reactor}."):
            stream = io.StringIO()
            patch = self.patch(sys, "stderr", stream)
            publisher = LogPublisher(logs.console_stderr())
            patch.restore()
            named = "twisted.scripts._twistd_unix.UnixAppLogger"
            publisher(event(log_format=words, reactor="epoll", log_namespace=named))
            self.assertEqual("epoll" in stream.getvalue(), words.startswith("else"))

    def test_by_twistds_options(self) -> None:
        """What twistd is told to log to is what our observer writes to; or it is left to twistd."""
        stream = io.StringIO()
        patch = self.patch(sys, "stdout", stream)
        for options in ({"nodaemon": True}, {"debug": True}, {"nodaemon": 1, "logfile": "-"}):
            observer = logs.observer_for(options)
            assert observer is not None
            observer(event())
        patch.restore()
        self.assertEqual(stream.getvalue().count("hello EURUSD\n"), 3)
        for options in ({"logger": object()}, {"logfile": "-"}, {"logger": 1, "logfile": "x"}):
            self.assertIsNone(logs.observer_for(options))
        with self.assertRaises(OSError):
            logs.observer_for({"logfile": "/dev/null/nowhere"})

    def test_syslog(self) -> None:
        """Each line of an event is a message with the event's priority, masked and harmless."""
        conceal(Secret(PLANTED))
        said: list[tuple[int, str]] = []
        opened: list[object] = []
        self.patch(syslog, "openlog", lambda *given: opened.append(given[0]))
        done = threading.Event()

        def hear(priority: int, text: str) -> None:
            said.append((priority, text))
            if "the end" in text:
                done.set()

        self.patch(syslog, "syslog", hear)
        observer = logs.observer_for({"syslog": True, "prefix": "prices"})
        assert observer is not None
        observer(event(symbol=f"{PLANTED}\x1b\x00"))
        observer(event(log_level=LogLevel.error, log_failure=failure(PLANTED)))
        observer(event(log_level=LogLevel.critical, symbol="the end"))
        self.assertTrue(done.wait(20))
        self.assertEqual(opened, ["prices"])
        self.assertEqual(said[0], (syslog.LOG_INFO, "INFO     test: hello ********\\x1b\\x00"))
        self.assertEqual(said[-1], (syslog.LOG_CRIT, "CRITICAL test: hello the end"))
        middle = said[1:-1]
        self.assertEqual({priority for priority, _ in middle}, {syslog.LOG_ERR})
        self.assertIn("RuntimeError: ********", middle[-1][1])

    def test_uncaught(self) -> None:
        """The traceback that ends the process before it logs is masked as well."""
        conceal(Secret(PLANTED))
        self.patch(sys, "excepthook", None)
        stream = io.StringIO()
        self.patch(sys, "stderr", stream)
        logs.mask_uncaught()
        hook: Any = sys.excepthook
        try:
            raise ValueError(f"no: {PLANTED} \x1b")
        except ValueError as error:
            hook(type(error), error, error.__traceback__)
            self.patch(sys, "stderr", None)
            hook(type(error), error, error.__traceback__)
        self.assertIn("ValueError: no: ******** \\x1b\n", stream.getvalue())

    def test_text_stream(self) -> None:
        """A stream without bytes below, as in notebooks, is written as text."""
        stream = io.StringIO()
        patch = self.patch(sys, "stderr", stream)
        observer = logs.console_stderr()
        patch.restore()
        observer(event())
        self.assertIn("hello EURUSD", stream.getvalue())

    def test_nothing_to_say(self) -> None:
        """An event whose words somebody took away makes no line; one with a failure does."""
        for name in ("json_stderr", "console_stderr"):
            stream = io.StringIO()
            self.patch(sys, "stderr", stream)
            observer = getattr(logs, name)()
            publisher = LogPublisher(observer)
            empty = {"log_format": "", "log_level": LogLevel.info, "log_namespace": "x"}
            publisher(empty)
            self.assertEqual(stream.getvalue(), "")
            publisher({**empty, "log_failure": Failure(ValueError("told"))})
            self.assertIn("told", stream.getvalue())

    def test_redacting(self) -> None:
        """Behind `redacting_observer` neither text nor traceback nor any object has the secret."""
        seen: list[LogEvent] = []
        stream = io.StringIO()
        secrets = [Secret("0nly-g1ven-h3re")]
        for target in (seen.append, textFileLogObserver(stream)):
            observer = logs.redacting_observer(target, secrets)
            self.assertTrue(ILogObserver.providedBy(observer))
            log = Logger("here", source=secrets[0].reveal(), observer=LogPublisher(observer))
            try:
                raise ValueError("no: 0nly-g1ven-h3re")
            except ValueError:
                log.failure("it was {it}", it="0nly-g1ven-h3re", account_id=7, o=secrets)
        [safe] = seen
        self.assertNotIn("0nly-g1ven-h3re", repr(safe))
        self.assertEqual(safe["log_level"], LogLevel.critical)
        self.assertEqual(safe["account_id"], 7)
        self.assertIn("it was ********\n\tTraceback", stream.getvalue())
        self.assertIn("ValueError: no: ********", stream.getvalue())
        self.assertNotIn("0nly-g1ven-h3re", stream.getvalue())

    def test_braces(self) -> None:
        """Redacted text with braces is not formatted again."""
        stream = io.StringIO()
        logs.redacting_observer(textFileLogObserver(stream), [])(event(symbol="{x} }{"))
        self.assertIn("hello {x} }{", stream.getvalue())

    def test_traceback_of_a_secret(self) -> None:
        """A Secret in an exception prints as stars in Python's own traceback too."""
        try:
            raise ValueError(Secret("abc"), "text")
        except ValueError as error:
            self.assertIn("********", "".join(traceback.format_exception(error)))
