"""Files that hold a token: what is read, what is refused, and what is warned about."""

import os
from pathlib import Path

import pytest

from partitioner.token_file import TokenFile, read_token_file, weaknesses
from tests.tables import each_case

GOOD = "f81c1d33a8fe1f4ea4f19f2b5a5b1d2c"


def holding(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """A file with this content."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


@each_case("content", [GOOD.encode(), f"{GOOD}\n".encode(), f"  {GOOD}\r\n\n".encode()])
def test_a_token_is_read_without_the_blank_space_around_it(content: bytes, tmp_path: Path) -> None:
    """Editors end files with a line break."""
    path = holding(tmp_path / "token", content)

    assert TokenFile(path, GOOD) == read_token_file(str(path))


def test_a_credential_of_the_service_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """systemd says in the environment where the credentials of a unit are."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    path = holding(tmp_path / "listing", GOOD.encode())

    assert TokenFile(path, GOOD) == read_token_file("${CREDENTIALS_DIRECTORY}/listing")


def test_a_credential_without_a_service_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said who would set the variable."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(ValueError, match="not set in the environment; systemd sets it for a unit with Load"):
        read_token_file("${CREDENTIALS_DIRECTORY}/listing")


@each_case(
    ("content", "sentence"),
    [
        (b"", "is not a token; expected 1 to 256"),
        (b"two words", "is not a token; expected 1 to 256"),
        (b"s3cr\xe9t", "is not a token; expected 1 to 256"),
        (b"x" * 257, "is not a token; expected 1 to 256"),
        (b"x" + b" " * 2000, "is not a token; expected 1 to 256"),
    ],
)
def test_what_is_not_a_token_is_refused_and_not_shown(content: bytes, sentence: str, tmp_path: Path) -> None:
    """The file is named, and what it holds may be a password."""
    path = holding(tmp_path / "file", content)

    with pytest.raises(ValueError, match=sentence) as caught:
        read_token_file(str(path))
    assert str(path) in str(caught.value)
    assert not content or content.decode("latin-1") not in str(caught.value)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    """A pipe is not opened: nobody may ever write to it."""
    os.mkfifo(tmp_path / "pipe")
    for name, sentence in (("none", "does not exist"), ("pipe", "not a regular file"), ("", "not a regular")):
        with pytest.raises(ValueError, match=sentence):
            read_token_file(str(tmp_path / name))
    for value, sentence in (("token", "is not absolute"), (5, "is not the path of a file")):
        with pytest.raises(ValueError, match=sentence):
            read_token_file(value)


def test_the_token_is_not_shown(tmp_path: Path) -> None:
    """Settings that are printed, in a log or a traceback, keep it to themselves."""
    assert GOOD not in repr(read_token_file(holding(tmp_path / "token", GOOD.encode())))


@each_case(
    ("token", "mode", "expected"),
    [
        (GOOD, 0o600, []),
        (GOOD, 0o640, []),
        (GOOD[:16], 0o600, []),
        (GOOD[:15], 0o600, ["the token of key has 15 characters and could be guessed"]),
        (GOOD, 0o604, ["can be read by every user of this machine; expected the mode 0600"]),
        ("short", 0o644, ["has 5 characters", "can be read by every user"]),
    ],
)
def test_what_is_weak_about_it(token: str, mode: int, expected: list[str], tmp_path: Path) -> None:
    """A short token can be guessed, and one that everybody can read is none."""
    told = weaknesses("key", read_token_file(holding(tmp_path / "token", token.encode(), mode)))

    assert len(expected) == len(told)
    assert all(part in sentence for part, sentence in zip(expected, told, strict=True))
    assert not any(token in sentence for sentence in told)
