"""Files that hold a bearer token: keys `admin_token_file`, `backend_token_file`; option `--admin-token-file`.

A token in a file stands neither in a configuration that many may read nor on a command line. A service
manager hands such files over as credentials: systemd's LoadCredential= puts them where
$CREDENTIALS_DIRECTORY says.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

SHORTEST_TOKEN = 16
"""Characters: a random token of so many cannot be guessed; a shorter one is warned about."""

TOKEN_RULE = "expected 1 to 256 letters, digits and any of -._~+/="

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,256}")  # what RFC 6750 2.1 lets a bearer token be
_DIRECTORY = "${CREDENTIALS_DIRECTORY}"
_MOST_BYTES = 1024  # the longest token, and blank lines


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A file that holds a token, and what it held when it was read."""

    path: Path
    token: str = field(repr=False)

    def __str__(self) -> str:
        return str(self.path)


def is_token(text: str) -> bool:
    """Whether this can be sent as a bearer token."""
    return _TOKEN.fullmatch(text) is not None


def read_token_file(value: object) -> TokenFile:
    """Read the file at an absolute path, which may begin with `${CREDENTIALS_DIRECTORY}`.

    Blank space around the token does not count. Raises ValueError with a sentence, which never shows the
    token.
    """
    if isinstance(value, TokenFile):
        return value
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not the path of a file that holds a token")
    path = _expanded(str(value))
    if not path.is_absolute():
        raise ValueError(f"'{value}' is not absolute; expected a path such as /etc/partitioner/token")
    return TokenFile(path, _token_in(path))


def weaknesses(name: str, file: TokenFile) -> list[str]:
    """What is allowed and weak about a token file, which is called `name`, a sentence each."""
    readable = [f"{name} {file} can be read by every user of this machine; expected the mode 0600"]
    return short_token(name, file.token) + (readable if is_world_readable(file.path) else [])


def short_token(name: str, token: str) -> list[str]:
    """The sentence about a token that could be guessed, if it is one."""
    if len(token) >= SHORTEST_TOKEN:
        return []
    return [
        f"the token of {name} has {len(token)} characters and could be guessed; expected {SHORTEST_TOKEN} "
        "random ones or more, as `openssl rand -hex 16` makes them"
    ]


def is_world_readable(path: Path) -> bool:
    """Whether every user of this machine may read a file, as far as its own mode says."""
    try:
        return path.stat().st_mode & stat.S_IROTH != 0
    except OSError:
        return False


def _expanded(written: str) -> Path:
    if not written.startswith(f"{_DIRECTORY}/"):
        return Path(written)
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ValueError(
            f"{_DIRECTORY} is not set in the environment; systemd sets it for a unit with LoadCredential="
        )
    return Path(directory + written.removeprefix(_DIRECTORY))


def _token_in(path: Path) -> str:
    try:
        if not path.is_file():  # before it is opened: to open a pipe may take for ever
            what = "is not a regular file" if path.exists() else "does not exist"
            raise ValueError(f"the file '{path}' {what}; expected a file that holds a token")
        with path.open("rb") as file:
            held = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ValueError(f"the file '{path}' cannot be read: {error.strerror}") from error
    token = held.decode("latin-1").strip()
    if len(held) > _MOST_BYTES or not is_token(token):
        raise ValueError(f"what the file '{path}' holds is not a token; {TOKEN_RULE}")
    return token
