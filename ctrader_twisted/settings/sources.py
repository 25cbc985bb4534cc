"""Where settings come from: tap.conf, .env, the environment and the command line.

Each source is read into a mapping of key to `Given`: the text, and the words that say where it
stood. Nothing here is believed yet; `settings` parses the texts that win.
"""

from __future__ import annotations

import configparser
import difflib
import io
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv.parser import parse_stream

from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.settings.files import read_text
from ctrader_twisted.settings.keys import KEYS, Given, Key, Layer

# Names that belong to other parts of the service, so they are no mistake in .env.
TOLERATED = ("CTRADER_REDIRECT_URI", "SERVICE_BASE_URL", "WS_BASE_URL", "RABBITMQ_URL")
OLDER = ("HOST", "PORT")

_BY_SECTION = {(key.section, key.name): key for key in KEYS}
_BY_ENVIRONMENT = {key.environment_name: key for key in KEYS}
_BY_SECRET_FILE = {f"{key.environment_name}_FILE": key for key in KEYS if key.secret}
_BY_OPTION = {key.option: key for key in KEYS}
_ENVIRONMENT_NAMES = (*_BY_ENVIRONMENT, *_BY_SECRET_FILE, *TOLERATED)
_SECRETS = {key.name: key for key in KEYS if key.secret}

_HOST = _BY_SECTION["venue", "host"]
_PORT = _BY_SECTION["venue", "port"]
_WS_PORT = _BY_SECTION["web", "ws_port"]
_LISTEN = _BY_SECTION["web", "listen"]


def gather(
    *,
    options: Mapping[str, str | None],
    environ: Mapping[str, str],
    tap_conf: Path | None,
    dotenv: Path | None,
) -> tuple[Layer, list[str]]:
    """What was given for each key by the highest source that says something, and notes about it."""
    notes: list[str] = []
    conf = read_tap_conf(tap_conf) if tap_conf else {}
    names = read_dotenv(dotenv, notes) if dotenv else {}
    _look_for_strays(environ, notes)
    merged: Layer = {}
    older: list[tuple[Key, Given]] = []
    layers = [conf]
    for source, where in ((names, str(dotenv)), (environ, "the environment")):
        layer = _by_names(source, where)
        meant = _older_names(source, where, notes)
        # As the port to listen on, PORT beats the WS_PORT of its own source.
        layer.update({key: given for key, given in meant if key is _WS_PORT})
        # As the venue's address, the older names come after every explicit one.
        merged.update({key: given for key, given in meant if key is not _WS_PORT})
        older += meant
        layers.append(layer)
    layers.append(read_options(options))
    for layer in layers:
        merged.update(layer)
    notes += [_understood(key, given, merged) for key, given in older]
    return merged, notes


# -- tap.conf -------------------------------------------------------------------------------------


def read_tap_conf(path: Path) -> Layer:
    """The keys of an INI file; what the file cannot say is refused with its line or its name."""
    # Without leading blanks no line continues the one above: each is what it looks like.
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", read_text(path))]
    for number, line in enumerate(lines, 1):
        # The parser would pass over what stands behind the bracket.
        if line.startswith("[") and not re.fullmatch(r"\[[^\[\]]+\]\s*(#.*)?", line):
            raise ConfigurationError(
                f"{path} has a line {number} that begins as a section and is none: "
                "let [web] or the like stand alone, and keys below it."
            )
    parser = _Conf(inline_comment_prefixes=("#",), default_section="")
    try:
        parser.read_string("\n".join(lines))
    except configparser.Error as problem:
        wrong = _conf_mistake(problem)
    else:
        wrong = ""
    if wrong:
        raise ConfigurationError(f"{path} has {wrong}.")
    layer: Layer = {}
    for section in parser.sections():
        _conf_section(path, section)
        for name, value in parser[section].items():
            key = _conf_key(path, section, name)
            where = f"{key.title} in {path}"
            if value.strip():
                layer[key] = Given(value, where)
            elif key.default:
                raise ConfigurationError(
                    f"{where} is empty, but must be {key.kind.allowed}: write a value, or put a # "
                    f"in front of the line for the default {key.default}."
                )
    return layer


class _Conf(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr.lower().replace("-", "_")


def _conf_mistake(problem: configparser.Error) -> str:
    """What the parser found, by line and name; its own words would repeat the line."""
    if isinstance(problem, configparser.DuplicateSectionError):
        return f"the section {_name(problem.section)} twice: put its keys into one"
    if isinstance(problem, configparser.DuplicateOptionError):
        twice = f"[{_name(problem.section)}] {_name(problem.option)} twice"
        return f"{twice} (again in line {problem.lineno}): keep one of the two"
    if isinstance(problem, configparser.MissingSectionHeaderError):
        return f"a line {problem.lineno} before any section: begin with a line such as [venue]"
    line = problem.errors[0][0] if isinstance(problem, configparser.ParsingError) else "?"
    return f"a line {line} that is neither [section], nor comment, nor key = value: correct it"


def _conf_section(path: Path, section: str) -> None:
    sections = sorted({key.section for key in KEYS})
    if section not in sections:
        raise ConfigurationError(
            f"{path} has an unknown section {_name(section)}: "
            f"{_suggest(section, sections, 'the sections are venue, web and simulator')}."
        )


def _conf_key(path: Path, section: str, name: str) -> Key:
    for secret_name, key in _SECRETS.items():
        if name.startswith(secret_name):
            raise ConfigurationError(
                f"{path} holds {secret_name} in the section {_name(section)}, but secrets do not "
                f"belong into this file: take it out, and {key.secret_place}."
            )
    if (section, name) in _BY_SECTION:
        return _BY_SECTION[section, name]
    elsewhere = [key.section for key in KEYS if key.name == name]
    known = [key.name for key in KEYS if key.section == section and not key.secret]
    near = difflib.get_close_matches(name, known, n=1)
    ours = _ending(section, name)
    if ours is not None:
        advice = f"did you mean {ours.name}"
    elif elsewhere:
        meant = f"did you mean {near[0]}, or does it belong" if near else "it belongs"
        advice = f"{meant} into the section {elsewhere[0]}"
    else:
        advice = _suggest(name, known, "remove it, or see tap.conf.example for the keys there are")
    raise ConfigurationError(f"{path} has an unknown key [{section}] {_name(name)}: {advice}.")


def _ending(section: str, name: str) -> Key | None:
    """The one key of a section that ends with this word, as ``ws_port`` does with ``port``."""
    found = [key for key in KEYS if key.section == section and key.name.endswith(f"_{name}")]
    return found[0] if len(found) == 1 else None


# -- .env and the environment ---------------------------------------------------------------------


def read_dotenv(path: Path, notes: list[str]) -> dict[str, str]:
    """The names and values of a .env file. Others may keep their own names in it."""
    text = read_text(path)
    names: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text, newline="")):
        line = binding.original.line + _leading_newlines(binding.original.string)
        name = binding.key or ""
        if binding.error:
            raise ConfigurationError(
                f"{path} has a line {line} that cannot be read as NAME=value: "
                "close its quotes, or correct it."
            )
        if not _is_ours(name):
            _look_for_a_setting(name, str(path), notes)
            continue
        if binding.value is None or not re.fullmatch(r"\w+", name):
            raise ConfigurationError(
                f"{path} has a line {line} that begins with one of our names but is not NAME=value:"
                " correct that line."
            )
        if name in names:
            raise ConfigurationError(
                f"{path} gives {name} twice (again in line {line}): keep one of the two."
            )
        names[name] = binding.value
    _refuse_unknown([name for name in names if name not in OLDER], str(path))
    if any(names.get(key.environment_name) for key in _SECRETS.values()):
        # It may have been moved away since it was read.
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        if mode & 0o044:
            notes.append(
                f"{path} holds secrets and others can read it (mode {mode:04o}): chmod 600 it."
            )
    return names


# A comment behind the value, which may be in quotes.
_COMMENT_BEHIND = re.compile(
    r"""=\s*(?:'[^']*'|"(?:\\.|[^"\\])*"|[^'"\s][^\r\n]*?)?\s*(?<=[\s'"])#"""
)


def check_environment_file(path: Path) -> None:
    """Raise ConfigurationError for a line that systemd reads otherwise than `read_dotenv`."""
    for binding in parse_stream(io.StringIO(read_text(path), newline="")):
        text, name = binding.original.string.strip(), binding.key or ""
        if not _is_ours(name):
            continue
        line = binding.original.line + _leading_newlines(binding.original.string)
        if re.match(r"export\s", text):
            raise ConfigurationError(
                f"{path} has `export` before {name} (line {line}), and systemd passes such a line "
                "over: take it out."
            )
        if _COMMENT_BEHIND.search(text):
            raise ConfigurationError(
                f"{path} has a comment behind the value of {name} (line {line}), which systemd "
                "takes for a part of the value: put it on a line of its own."
            )


def _leading_newlines(text: str) -> int:
    return len(re.findall(r"\r\n|\n|\r", text[: len(text) - len(text.lstrip())]))


def _is_ours(name: str) -> bool:
    return name.upper().startswith("CTRADER_") or name in OLDER or name in _BY_ENVIRONMENT


def _refuse_unknown(names: Iterable[str], where: str) -> None:
    for name in names:
        if name not in _ENVIRONMENT_NAMES:
            advice = _meant(name) or _suggest(
                name.upper(), _ENVIRONMENT_NAMES, "remove it, or see .env.example for the names"
            )
            raise ConfigurationError(f"{_name(name)} in {where} is an unknown name: {advice}.")


# What Kubernetes tells every container of every service, after the service's name.
_SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_[A-Z]+(_(PROTO|PORT|ADDR))?)?)"
)


def _look_for_strays(environ: Mapping[str, str], notes: list[str]) -> None:
    """In the environment our long prefix is only ours; the short one others may have as well."""
    for name, value in environ.items():
        is_link = _SERVICE_LINK.fullmatch(name) and ("://" in value or not _meant(name))
        if name in _ENVIRONMENT_NAMES or is_link:
            continue
        if name.startswith("CTRADER_STREAM_"):
            _refuse_unknown([name], "the environment")
        _look_for_a_setting(name, "the environment", notes)


def _look_for_a_setting(name: str, where: str, notes: list[str]) -> None:
    """Note an ignored name that is probably meant for one of our settings."""
    advice = _meant(name)
    if not advice and name.upper().startswith("CTRADER_"):
        near = difflib.get_close_matches(name.upper(), _ENVIRONMENT_NAMES, n=1, cutoff=0.85)
        advice = f"did you mean {near[0]}" if near else ""
    if advice:
        notes.append(f"{_name(name)} in {where} is not read: {advice}?")


def _meant(name: str) -> str:
    """A question for a name that is a setting with a wrong prefix; otherwise empty."""
    has_prefix = name.upper().startswith("CTRADER_")
    plain = re.sub(r"^(CTRADER_)?(STREAM_)?", "", name.upper())
    meant = [
        key.environment_name
        for key in KEYS
        if plain == f"{key.section}_{key.name}".upper()
        # Single words are names of other programs, too, so they need our prefix.
        or (plain == key.name.upper() and (has_prefix or "_" in plain))
    ]
    section, _, name = plain.lower().partition("_")
    ours = _ending(section, name) if has_prefix and not meant else None
    meant += [ours.environment_name] if ours else []
    return f"did you mean {' or '.join(meant)}" if meant else ""


def _by_names(names: Mapping[str, str], where: str) -> Layer:
    """The keys that are given by their environment names; an empty value gives nothing."""
    layer: Layer = {}
    for name, key in _BY_ENVIRONMENT.items():
        if names.get(name, "").strip():
            layer[key] = Given(names[name], f"{name} in {where}")
    for name, key in _BY_SECRET_FILE.items():
        if not names.get(name, "").strip():
            continue
        if key in layer:
            raise ConfigurationError(
                f"{key.environment_name} and {name} are both given in {where}: keep one of the two."
            )
        layer[key] = Given(names[name], f"{name} in {where}", in_file=True)
    return layer


def _older_names(names: Mapping[str, str], where: str, notes: list[str]) -> list[tuple[Key, Given]]:
    """What HOST and PORT of one source mean.

    HOST is the venue's host. PORT is the venue's port when HOST stands with it or when it is one of
    the venue's two well-known ports, otherwise the port that we listen on.
    """
    meant = []
    host = names.get("HOST", "").strip()
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - recognised here, never bound
        notes.append(f"HOST={host} in {where} is no venue's host: ignored; to listen, see listen.")
        host = ""
    elif host and where == "the environment" and "." not in host and host.lower() != "localhost":
        # Shells and containers put the machine's own name there.
        notes.append(f"HOST in {where} looks like this machine's name: ignored.")
        host = ""
    if host:
        meant.append((_HOST, Given(host, f"HOST in {where}")))
    port = names.get("PORT", "").strip()
    if port:
        given = Given(port, f"PORT in {where}")
        meant.append((_PORT if host or port in {"5035", "5036"} else _WS_PORT, given))
    return meant


def _understood(key: Key, given: Given, merged: Layer) -> str:
    """The note on how an older name was understood, and whether it counts."""
    meaning = {_HOST: "the venue's host", _PORT: "the venue's port"}.get(key, "our port")
    winner = merged[_LISTEN] if key is _WS_PORT and _LISTEN in merged else merged[key]
    outcome = "" if winner is given else f", but {winner.where} wins"
    return f"{given.where} ({ascii(given.text)[1:-1]}) is understood as {meaning}{outcome}."


# -- the command line -----------------------------------------------------------------------------


def read_options(options: Mapping[str, str | None]) -> Layer:
    """The keys of the command line; None stands for an option that was not given."""
    layer: Layer = {}
    for option, value in options.items():
        plain = option.lower().replace("_", "-")
        key = _BY_OPTION.get(plain)
        if key is None:
            known = [key.option for key in KEYS if not key.secret]
            advice = _suggest(plain, known, "see --help for the options there are")
            raise ConfigurationError(f"--{_name(option)} is an unknown option: {advice}.")
        if value is None:
            continue
        if key.secret:
            raise ConfigurationError(
                f"--{plain} is refused, because everyone on the machine can read a command line: "
                f"{key.secret_place}."
            )
        if not value.strip():
            raise ConfigurationError(
                f"--{plain} on the command line is empty, but must be {key.kind.allowed}: "
                "give a value, or leave the option out."
            )
        layer[key] = Given(value, f"--{plain} on the command line")
    return layer


# -- words ------------------------------------------------------------------------------------


def _name(text: str) -> str:
    """The name-like beginning of a text: what follows it could be a value, even a secret one."""
    match = re.match(r"[\w-]{1,64}", text)
    return match[0] if match else "(without a name)"


def _suggest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}" if near else otherwise
