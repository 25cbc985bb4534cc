"""`ctrader-stream` as a process: where its output goes, and who answers it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ctrader_twisted.web.keys import add_key

COMMAND = (sys.executable, "-m", "ctrader_twisted.cli")
PATIENCE_S = 20
# Each prints, whatever there is to print.
TALKATIVE = [("check-config",), ("keys", "list", "--file", "keys.json"), ("doctor",)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A key file, and a configuration of which nothing runs."""
    (tmp_path / "tap.conf").write_text("[web]\nws_port = 1\n")
    add_key(tmp_path / "keys.json", "a", ["read"], "2026-01-01T00:00:00Z")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    """Ours, without what configures a daemon."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CTRADER")}
    return {**kept, "PYTHONPATH": os.pathsep.join(sys.path), **more}


def run(
    folder: Path, *words: str, stdout: int | None = subprocess.PIPE, **more: str
) -> subprocess.CompletedProcess[str]:
    """A command, until its end."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env=environment(**more),
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize("words", TALKATIVE)
def test_a_reader_that_has_read_enough(folder: Path, words: tuple[str, ...]) -> None:
    """A closed pipe (`| head`) ends a command without a word of complaint, and does not change its
    status: the doctor finds that no daemon runs.
    """
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = run(folder, *words, stdout=writing)
    finally:
        os.close(writing)
    assert ended.returncode == (1 if words[0] == "doctor" else 0), ended.stderr
    assert "Error" not in ended.stderr


@pytest.mark.parametrize("words", TALKATIVE)
def test_a_full_disk(folder: Path, words: tuple[str, ...]) -> None:
    """Output that cannot be written is said in one sentence, with status 1."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        ended = run(folder, *words, stdout=full)
    finally:
        os.close(full)
    assert ended.returncode == 1
    said = ended.stderr.splitlines()
    assert said[-1] == "ctrader-stream: standard output cannot be used (No space left on device)."
    assert "Traceback" not in ended.stderr


def test_a_key_that_nobody_saw(folder: Path) -> None:
    """A key that could not be printed is taken away again."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        words = ("keys", "add", "b", "--scope", "read", "--file", "keys.json")
        ended = run(folder, *words, stdout=full)
    finally:
        os.close(full)
    assert ended.returncode == 1
    assert "no key was made" in ended.stderr
    listed = run(folder, "keys", "list", "--file", "keys.json").stdout
    assert [line.split("\t")[0] for line in listed.splitlines()] == ["a"]


@pytest.mark.parametrize("words", TALKATIVE)
def test_no_output_at_all(folder: Path, words: tuple[str, ...]) -> None:
    """Closed standard streams are no mistake: nobody wants to know."""
    shell = '"$@" >&- 2>&-'
    ended = subprocess.run(
        ["sh", "-c", shell, "sh", *COMMAND, *words],
        cwd=folder,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )
    # The doctor finds that no daemon runs.
    assert ended.returncode == (1 if words[0] == "doctor" else 0)


def test_an_output_that_cannot_write_every_letter(folder: Path) -> None:
    """A letter that the encoding of the output lacks is replaced; the rest is printed."""
    (folder / "tap.conf").write_text("[web]\nkeys_file = \u5bc6.json\n", encoding="utf-8")
    (folder / "keys.json").rename(folder / "\u5bc6.json")
    ended = run(folder, "check-config", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0, ended.stderr
    assert "?.json" in ended.stdout


@contextmanager
def asked(folder: Path, *words: str, **more: str) -> Iterator[tuple[Any, socket.socket]]:
    """A command that has asked us over HTTP and waits, and its connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with subprocess.Popen(
            [*COMMAND, *words, "--url", url],
            cwd=folder,
            env=environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that runs these tests in the background has its children ignore Ctrl-C.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as process:
            try:
                guest, _ = server.accept()
                with guest:
                    guest.settimeout(PATIENCE_S)
                    guest.recv(4096)
                    yield process, guest
            finally:
                process.kill()


def test_an_interrupted_command(folder: Path) -> None:
    """Ctrl-C while a command waits for an answer: no word, and status 130."""
    with asked(folder, "status") as (process, _):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("command", ["status", "doctor"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n<html>", "is no ctrader-stream"),
        (b"HTTP/1.0 200 OK\r\n\r\n\xff\xfe", "is no ctrader-stream"),
        (b"HTTP/1.0 200 OK\r\n\r\n[1]", "is no ctrader-stream"),
        (b"SSH-2.0-\x1b[2JOpenSSH\r\n", "speaks no HTTP"),
        (b"", "closed connection without response"),
        (
            b"HTTP/1.0 401 No\r\nContent-Type: application/problem+json\r\n\r\n"
            b'{"detail": "this key is\\u001bnot known"}',
            "401: this key is not known.",
        ),
    ],
)
def test_something_else_answers(folder: Path, command: str, answer: bytes, words: str) -> None:
    """Whatever it is: one sentence, and status 1."""
    with asked(folder, command, http_proxy="http://127.0.0.1:9") as (process, guest):
        guest.sendall(answer)
        guest.close()
        out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (1, "")
    assert words in err
    assert len(err.splitlines()) == 1, err
