"""The page and its files, read once at start and served from memory.

Only what was found at start can be asked for, by its exact path: there is nothing to list, and
no path that could lead elsewhere. Every file has a strong ETag and, where that makes it smaller,
a compressed twin.
"""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from twisted.logger import Logger
from twisted.web.http import CACHED, NOT_MODIFIED, OK
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from ctrader_twisted.web import problems
from ctrader_twisted.web.cors import add_vary

log = Logger()

STATIC = Path(__file__).with_name("static")
PAGE = "index.html"
ICON = "icon.svg"

#: The library that draws candles: PyPI package, the file in it, what we call it.
CHARTS = ("litecharts", "js/lightweight-charts.js", "vendor/lightweight-charts.js")

TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
    ".webmanifest": b"application/manifest+json",
}

#: Nothing but our own files; no inline script or style; and text never becomes HTML, which the
#: browser itself sees to (trusted types).
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

HEADERS = {
    b"content-security-policy": POLICY,
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    # Kept by the browser, but asked for again each time: after an upgrade nobody sees the old page
    # beside the new daemon, and an unchanged file costs one short answer.
    b"cache-control": b"no-cache",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file. ``packed`` is it in gzip; empty when that would not be smaller."""

    kind: bytes
    body: bytes
    packed: bytes
    tag: bytes

    @classmethod
    def of(cls, name: str, body: bytes) -> StaticFile:
        """A file of this name and content."""
        packed = gzip.compress(body, mtime=0)
        return cls(
            kind=TYPES.get(Path(name).suffix, b"application/octet-stream"),
            body=body,
            packed=packed if len(packed) < 0.9 * len(body) else b"",
            tag=sha256(body).hexdigest()[:20].encode(),
        )


class Readable(ABC, Resource):
    """What can be read, and nothing else done with it."""

    isLeaf = True

    def render(self, request: Request) -> bytes | int:
        """The file; only its headers for HEAD. Raises Refused."""
        if request.method not in (b"GET", b"HEAD"):
            raise problems.not_allowed(request.method, "GET, HEAD")
        body = self.read(request)
        if not body and request.code == NOT_MODIFIED:
            # Without a length: it would have to be that of the file, and Twisted says 0.
            request.finish()
            return NOT_DONE_YET
        if request.method == b"GET":
            return body
        if request.code == OK:
            request.setHeader(b"content-length", b"%d" % len(body))
        return b""

    @abstractmethod
    def read(self, request: Request) -> bytes:
        """The body. Raises Refused."""


class StaticFiles(Readable):
    """Files by their path below this resource; ``page`` and ``icon`` are also at ``/`` and at
    ``/favicon.ico``.
    """

    def __init__(self, files: Mapping[str, StaticFile] | None = None) -> None:
        super().__init__()
        self._files = dict(find_files()) if files is None else dict(files)
        self.page = OneFile(self._files[PAGE])
        self.icon = OneFile(self._files[ICON])

    def read(self, request: Request) -> bytes:
        """A file, or 404."""
        name = b"/".join(request.postpath or ()).decode("utf-8", "replace")
        file = self._files.get(name)
        if file is None:
            raise problems.not_found(request.path)
        return send(file, request)


class OneFile(Readable):
    """One file, whatever the path."""

    def __init__(self, file: StaticFile) -> None:
        super().__init__()
        self._file = file

    def read(self, request: Request) -> bytes:
        """The file."""
        body = send(self._file, request)
        # At the same address others get text.
        add_vary(request, b"accept")
        return body


def send(file: StaticFile, request: Request) -> bytes:
    """The file with its headers; nothing but those when the browser has it already."""
    for name, value in HEADERS.items():
        request.setHeader(name, value)
    add_vary(request, b"accept-encoding")
    is_packed = bool(file.packed) and _takes_gzip(request.getHeader(b"accept-encoding") or b"")
    # Two representations, two tags.
    tag = b'"' + file.tag + (b'-gz"' if is_packed else b'"')
    request.setHeader(b"content-type", file.kind)
    known = (request.getHeader(b"if-none-match") or b"").split(b",")
    if tag in (one.strip().removeprefix(b"W/") for one in known):
        # Proxies that pack what we send make our tags weak, and lists may have no blanks.
        request.requestHeaders.setRawHeaders(b"if-none-match", [tag])
    if request.setETag(tag) is CACHED:
        return b""
    if is_packed:
        request.setHeader(b"content-encoding", b"gzip")
    return file.packed if is_packed else file.body


def _takes_gzip(accepted: bytes) -> bool:
    for part in accepted.lower().split(b","):
        coding, _, weight = part.partition(b";")
        if coding.strip() in (b"gzip", b"*"):
            return weight.replace(b" ", b"") not in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000")
    return False


def find_files() -> Iterator[tuple[str, StaticFile]]:
    """Our own files, and the library that draws candles, if it is installed."""
    for path in sorted(STATIC.rglob("*")):
        name = path.relative_to(STATIC).as_posix()
        if path.is_file() and path.suffix in TYPES:
            yield name, StaticFile.of(name, path.read_bytes())
    package, inside, name = CHARTS
    # The package itself is never imported: all that we want of it is this file.
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        library = Path(folder) / inside
        if library.is_file():
            yield name, StaticFile.of(name, library.read_bytes())
            return
    log.warn("the package {package} is not installed: the page draws no charts", package=package)
