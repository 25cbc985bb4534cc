"""What of a value may be repeated to whoever gave it: a secret is easily put in the wrong place.

A client id and its secret stand beside each other where they are copied from, and look alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ctrader_twisted.settings.keys import Key
from ctrader_twisted.settings.kinds import IDENTIFIER

# Venues' secrets are forty characters and more, without a dot or a slash for long stretches.
_STRETCH = re.compile(r"[A-Za-z0-9+=_-]{20,}")


def may_be_secret(text: str) -> bool:
    """True for a text with a long stretch of letters and digits mixed, as no name or path has."""
    return any(
        re.search(r"[0-9]", stretch) and re.search(r"[A-Za-z]", stretch)
        for stretch in _STRETCH.findall(text)
    )


def is_shown(key: Key) -> bool:
    """Secrets never are, and what is copied together with them is not, when it is malformed."""
    return not key.secret and key.kind is not IDENTIFIER


def bad_value(key: Key, text: str) -> str:
    """A value that is refused, as it stands in a sentence."""
    return shown_text(text, 80 if key.kind.wordy else 20)


def shown_text(text: str, longest: int = 80) -> str:
    """A text for use in a sentence; only its length if it may be a secret."""
    if len(text) > longest or may_be_secret(text):
        return f"a text of {len(text)} characters"
    return ascii(text)


def in_part(text: str) -> str:
    """The beginning of a value, enough to know it again by."""
    return f"{text[: min(4, len(text) // 2)]}..."


_QUOTES = ('""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u201e\u201c", "\u00ab\u00bb")

# Of a line of .env, or of a header of HTTP.
_PREFIX = re.compile(r"(?P<name>(export\s+)?[A-Z][A-Z0-9_]{3,}\s*=\s*(?=[^=\s]))|[Bb]earer\s")


def odd_text(raw: str) -> str:
    """The end of a sentence about quotes, a comment or blanks in a value; empty without any.

    Shells and readers of .env remove quotes and comments; `docker run --env-file` and unit files
    with ``Environment=`` do not. The value is not repeated, since it can be a secret.
    """
    text = raw.strip()
    if len(text) >= 2 and text[0] + text[-1] in _QUOTES:
        return "is in quotes, which are taken as part of the value: leave them out."
    if text and (text[0] in "\"'\u201c\u201d" or text[-1] in "\"'\u201c\u201d"):
        return "has a quote at one end, which is taken as part of the value: is it meant?"
    prefix = _PREFIX.match(text)
    if prefix:
        what = "a name and =" if prefix["name"] else "the word Bearer"
        return f"begins with {what}, taken as part of the value: leave that out."
    if re.search(r"\s#", text):
        return (
            "holds a blank and a #, as before a comment, which is taken as part of the value: "
            "leave the comment out."
        )
    if "\r" in raw:
        return "ends in a carriage return, which is left out: save its file with Unix line ends."
    return "has blanks around it, which are left out." if raw != text else ""


# Settings whose values turn out to be wrong only when they are used, and how sentences call them.
_CALLED = {
    "listen": r"\blisten\b|certificate|private key",
    "keys_file": r"key file|\bkeys_file\b",
    "ca_file": "CA file",
    "require_key": "require_key",
    "trusted_proxies": "trusted_proxies",
}


def located(sentence: str, explained: Iterable[tuple[str, str, str]]) -> str:
    """A complaint about settings in use, and where those that it is about were given.

    ``explained``: title, value and source of every setting, as `explain` gives them.
    """
    found = [
        where
        for title, _, where in explained
        if where != "default" and re.search(_CALLED.get(title.split()[-1], "$^"), sentence)
    ]
    places = list(dict.fromkeys(where for where in found if where not in sentence))
    return f"{sentence} (Given by {' and '.join(places)}.)" if places else sentence
