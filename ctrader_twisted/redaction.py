"""The type of secret values, and the function that masks secrets in text."""

from __future__ import annotations

import hmac
import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

MASK = "********"


class Secret:
    """A credential in memory, printed as ``********``.

    Only ``reveal()`` returns the text. A copy is the same object; pickling is refused, because a
    pickle would hold the plain text.
    """

    __slots__ = ("_value",)

    _value: str

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a Secret holds text")
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """The plain text. Call it only where the secret is sent or compared."""
        return self._value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Secret cannot be changed")

    def __repr__(self) -> str:
        return MASK

    def __format__(self, format_spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is not pickled")


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_CREDENTIAL = (
    r"(?:[A-Za-z0-9_-]*(?:secret|token|password|passwd|passphrase|(?:api|secret|private)[_-]?key)"
    r"|(?:proxy-)?authorization|(?:set-)?cookie|(?:access|refresh) token|client secret)"
)
_CREDENTIAL_NAME = re.compile(_CREDENTIAL, re.IGNORECASE)

# Name, separator (in a URL inside a URL it is %3D), then a value: in escaped quotes (JSON inside
# JSON), in quotes, or bare.
# The look-behind starts each attempt at the beginning of a word, which keeps long lines linear.
_NAMED_VALUE = re.compile(
    rf"(?<![A-Za-z0-9_-])(?P<name>{_CREDENTIAL}\\*[\"']?\s*(?:=>|[:=]|%3[AD])\s*\[?\s*"
    r"(?:b(?=[\"']))?)"
    r"(?:(?P<escaped>\\+[\"']).*?(?:(?P=escaped)|$)"
    r"|(?P<quote>[\"'])(?:\\.|(?!(?P=quote))[^\\\n])*(?P=quote)?"
    r"|(?:(?:bearer|basic|digest|token)\s+)?[^\s&\"'\\,;)\]}]+)",
    re.IGNORECASE | re.MULTILINE,
)
# Parameters that are credentials in a URL; elsewhere their names are ordinary words.
_QUERY_VALUE = re.compile(r"([?&](?:key|apikey|auth|code|sig|signature)=)[^&\s\"'<>]+", re.I)
_BEARER = re.compile(r"\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
# A mix of letters and digits that no word has.
_BASIC = re.compile(
    r"\b([Bb][Aa][Ss][Ii][Cc]\s+)(?=\S*(?:[a-z][A-Z]|[0-9=]))[A-Za-z0-9+/_-]{12,}={0,2}"
)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*")
# Our own API keys in any capitals: at the beginning of a word, after an escaped character (%22, \n,
# \x1b, \u0022), or anywhere if they are long enough to be nothing else.
_API_KEY = re.compile(
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9a-f]{2})|(?<=\\[a-z])|(?<=\\x[0-9a-f]{2})"
    r"|(?<=\\u[0-9a-f]{4}))cts_[A-Za-z0-9_-]{16,}|cts_[A-Za-z0-9_-]{40,}",
    re.IGNORECASE,
)
# The same in base64, for each of the three positions of a key in a group of three bytes.
_API_KEY_IN_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]*(?:Y3RzX[w-z0-9+/_-]|N0c1[89+/_-]|jdHNf)"
    r"[A-Za-z0-9+/_-]{20,}={0,2}"
)
_URL_PASSWORD = re.compile(r"(://[^\s/:@\"']*:)[^\s/@\"']+(?=@)")


class _Concealed:
    """The secrets passed to `conceal`."""

    def __init__(self) -> None:
        # Replaced and never modified, since other threads may iterate over it.
        self.secrets: frozenset[Secret] = frozenset()
        self._adding = threading.Lock()

    def add(self, secrets: Iterable[Secret]) -> None:
        with self._adding:
            self.secrets = self.secrets.union(secret for secret in secrets if secret)

    def discard(self, secret: Secret) -> None:
        """Remove a secret, at the end of a test."""
        with self._adding:
            self.secrets = self.secrets - {secret}


_concealed = _Concealed()


def conceal(*secrets: Secret) -> None:
    """Mask these values in all redacted text of this process from now on.

    May be called at any time and from any thread, such as when a secret is read again.
    """
    _concealed.add(secrets)


def is_credential_name(name: str) -> bool:
    """Return True for a name whose value is always masked, such as ``access_token``."""
    return _CREDENTIAL_NAME.fullmatch(name) is not None


def redact(text: str, secrets: Iterable[Secret] = ()) -> str:
    """Return the text with all known secrets, and all that looks like a credential, masked.

    Known are the given secrets and those passed to `conceal`, in any capitals: plain, and as
    written in a URL, JSON, ``repr``, base64 or hexadecimal digits.
    """
    known = _concealed.secrets.union(secret for secret in secrets if secret)
    if known:
        text = _literal(known).sub(MASK, text)
    # Most lines hold none of these words, and a search for a word is cheaper than for a pattern.
    folded = text.casefold()
    for words, pattern, mask in _PATTERNS:
        if any(word in folded for word in words):
            text = pattern.sub(mask, text)
    return text


def _masked_value(match: re.Match[str]) -> str:
    mark = match["escaped"] or match["quote"] or ""
    return f"{match['name']}{mark}{MASK}{mark}"


# Words of which one is in every match (in lower case), the pattern, and its replacement.
_PATTERNS: tuple[tuple[tuple[str, ...], re.Pattern[str], Any], ...] = (
    (
        ("secret", "token", "passw", "passphrase", "key", "auth", "cookie"),
        _NAMED_VALUE,
        _masked_value,
    ),
    (("?", "&"), _QUERY_VALUE, rf"\1{MASK}"),
    (("://",), _URL_PASSWORD, rf"\1{MASK}"),
    (("bearer",), _BEARER, rf"\1{MASK}"),
    (("basic",), _BASIC, rf"\1{MASK}"),
    (("cts_",), _API_KEY, MASK),
    (("y3rzx", "n0c1", "jdhnf"), _API_KEY_IN_BASE64, MASK),
    (("eyj",), _JWT, MASK),
)


@lru_cache(maxsize=32)
def _literal(secrets: frozenset[Secret]) -> re.Pattern[str]:
    """One expression for all spellings of all secrets, the longest first."""
    spellings: set[str] = set()
    for secret in secrets:
        spellings.update(_spellings(secret.reveal()))
    longest_first = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


# Shorter encoded forms would mask ordinary numbers and words.
_ENCODED_BYTES = 8


def _spellings(value: str) -> Iterator[str]:
    octets = _octets(value)
    yield from (value, quote(octets, safe=""), quote_plus(octets))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (repr(value)[1:-1], repr(octets)[2:-1])
    if len(octets) >= _ENCODED_BYTES:
        yield octets.hex()
        for shift in range(3):
            # Neighbouring bytes influence the first and the last groups, so only the digits that
            # depend on the value alone are used.
            digits = b64encode(bytes(shift) + octets).decode().rstrip("=")
            is_whole = (shift + len(octets)) % 3 == 0
            inner = digits[(0, 2, 3)[shift] : None if is_whole else -1]
            yield inner
            yield inner.translate({ord("+"): "-", ord("/"): "_"})
    # Printed text is logged line by line, so each line of the value is masked by itself.
    lines = value.splitlines()
    yield from (line for line in lines if len(lines) > 1 and len(line) >= _ENCODED_BYTES)
