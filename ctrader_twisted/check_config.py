"""Output of `ctrader-stream check-config`, and its check with the rights of another user."""

from __future__ import annotations

import codecs
import os
import pwd
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ctrader_twisted.asking import plain
from ctrader_twisted.config_files import user_name
from ctrader_twisted.errors import ConfigurationError
from ctrader_twisted.settings import Settings
from ctrader_twisted.settings.sources import check_environment_file, read_dotenv
from ctrader_twisted.terminal import Paint

EMPTY = "(empty)"

Row = tuple[str, str, str]


def shown(rows: Sequence[Row], paint: Paint) -> Iterator[str]:
    """Yield one line a setting: title, value and source, separated by tabs; on a terminal in
    columns below their sections, with emphasis on what is not a default.
    """
    if not paint.is_terminal:
        yield from ("\t".join((title, value or EMPTY, where)) for title, value, where in rows)
        return
    names = [title.rpartition(" ")[2] for title, _, _ in rows]
    width, section = max(map(len, names)), ""
    longest = max(min(len(value), 44) for _, value, _ in rows)
    for name, (title, value, where) in zip(names, rows, strict=True):
        if title.split(" ")[0] != section:
            yield from ([""] if section else [])
            section = title.split(" ")[0]
            yield paint.strong(section)
        text = plain(value or EMPTY).ljust(longest)
        is_default = where == "default"
        look = paint.dim if is_default else paint.strong
        yield f"  {name.ljust(width)}  {look(text)}  {paint.dim(plain(where))}"


# -- as another user ------------------------------------------------------------------------------


def become(
    user: str, environ: dict[str, str], env_file: Path | None
) -> tuple[dict[str, str], Path | None]:
    """Change from root to a user (name or number), for the rest of the process.

    Returns the environment and the .env file to use. A .env file that only root can read is read
    into the environment, as the service manager does, and None takes its place.
    """
    # The highest number stands for none.
    is_number = bool(re.fullmatch("[0-9]{1,10}", user)) and int(user) < 2**32 - 1
    try:
        found = pwd.getpwuid(int(user)) if is_number else pwd.getpwnam(user)
    except KeyError:
        if not is_number:
            raise ConfigurationError(
                f"there is no user {plain(user)}: name the user that runs the daemon."
            ) from None
        # A number that has no name, as in containers.
        found = pwd.struct_passwd((user, "", int(user), int(user), "", "/", ""))
    if found.pw_uid == os.geteuid():
        return environ, env_file
    if os.geteuid() != 0:
        raise ConfigurationError(
            f"only root can check as {user_name(found.pw_uid)}: run this by sudo, or as that user."
        )
    # Loaded before the change of users, which may put our own files out of reach.
    codecs.lookup("utf-8-sig")
    os.initgroups(found.pw_name, found.pw_gid)
    os.setegid(found.pw_gid)
    os.seteuid(found.pw_uid)
    # The service manager sets it, too.
    os.environ["HOME"] = found.pw_dir
    if env_file is None or os.access(env_file, os.R_OK, effective_ids=True):
        return environ, env_file
    os.seteuid(0)
    try:
        names = read_dotenv(env_file, [])
        check_environment_file(env_file)
    finally:
        os.seteuid(found.pw_uid)
    return {**names, **environ}, None


def closed_program(user: str | None) -> Iterator[str]:
    """A warning where the user of the check cannot read the program that makes it, which is the one
    that the daemon will run.
    """
    if user is None:
        return
    for path in program_files():
        closed = first_closed(path)
        if closed is not None:
            yield (
                f"{user_name(os.geteuid())} cannot read {closed}, where the installed program is: "
                "the daemon cannot start as that user. Install it anew with umask 022, and with a "
                "Python that is not in somebody's home folder."
            )
            return


def program_files() -> Iterator[Path]:
    """The interpreter, and every file that a module was loaded from."""
    yield Path(sys.executable).resolve()
    for module in tuple(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is not None:
            yield Path(file)


def first_closed(path: Path) -> Path | None:
    """What stands in our way to a file: the first folder that we may not enter, or the file."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder
    return None if os.access(path, os.R_OK, effective_ids=True) else path


def notes_on_users(
    user: str | None, settings: Settings, files: Iterable[Path | None]
) -> Iterator[str]:
    """Yield notes on what a check as root cannot see."""
    if user is not None or os.geteuid() != 0:
        return
    yield (
        "this was checked as root, who can read every file: if the daemon runs as another user, "
        "add --user NAME."
    )
    for path in only_for_root(settings, files):
        yield f"only root can read {path}: a daemon that runs as another user cannot."


def say_verdict(paint: Paint, count: int) -> None:
    """Print the last line: the daemon can start, with ``count`` warnings."""
    warned = f", with {count} warning{'s' * (count > 1)}" if count else ""
    good = paint.good("The daemon can start with these settings")
    sys.stderr.write(f"{good}{warned} (checked as {user_name(os.geteuid())}).\n")


def only_for_root(settings: Settings, files: Iterable[Path | None]) -> list[str]:
    """The configured files that only root can read."""
    secrets = [Path(given.text.strip()).expanduser() for given in settings.secret_files.values()]
    listed = re.findall(r":(?:privateKey|certKey)=([^:]+)", settings.web.listen)
    configured = [settings.venue.ca_file, settings.web.keys_file, *secrets, *map(Path, listed)]
    found = []
    for path in filter(None, (*files, *configured)):
        try:
            state = path.stat()
        except OSError:
            continue
        if state.st_uid == 0 and not state.st_mode & 0o044:
            found.append(str(path))
    return found
