"""From a file to settings, or to the list of everything that is wrong with it."""

from pathlib import Path

from pydantic import ValidationError

from partitioner.config.document import Document, read_document
from partitioner.config.findings import Finding, KeyPath, spell
from partitioner.config.rules import broken_rules
from partitioner.config.sentences import findings_of
from partitioner.config.settings import Settings
from partitioner.errors import ConfigurationInvalid, Problem

DEFAULT_EMBEDDED = 3
"""How many in-process state servers make the pool where there is no file at all."""


def load(path: Path | None) -> Settings:
    """Read the configuration file; without one, all defaults and an embedded pool.

    Raises ConfigurationInvalid with all problems, in the order of the file.
    """
    return Settings(embedded=DEFAULT_EMBEDDED) if path is None else parse(_text(path))


def parse(text: str) -> Settings:
    """Read the text of a configuration file.

    Raises ConfigurationInvalid with all problems, in the order of the text.
    """
    document = read_document(text)
    findings = [*document.findings, *broken_rules(document.content)]
    try:
        settings = Settings.model_validate(document.content)
    except ValidationError as invalid:
        raise _invalid([*findings, *findings_of(invalid)], document) from None
    if findings:
        raise _invalid(findings, document)
    return settings


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        message = f"there is no file {str(path)!r}"
    except UnicodeDecodeError as error:
        message = f"not UTF-8: the byte 0x{error.object[error.start]:02x} at offset {error.start}"
    except OSError as error:
        message = f"the file {str(path)!r} cannot be read: {error.strerror}"
    raise ConfigurationInvalid([Problem("", message)])


def _invalid(findings: list[Finding], document: Document) -> ConfigurationInvalid:
    in_order = sorted(findings, key=lambda finding: _place(finding, document))
    return ConfigurationInvalid([_problem(finding, document) for finding in in_order])


def _problem(finding: Finding, document: Document) -> Problem:
    line, _ = _place(finding, document)
    where = "" if line == _NOWHERE[0] else f" (line {line:.0f})"
    return Problem(spell(finding.path), finding.message + where)


_NOWHERE = (float("inf"), 0.0)  # after everything that is somewhere


def _place(finding: Finding, document: Document) -> tuple[float, float]:
    """Line and column of what a finding is about; of the mapping around it, where a key is missing."""
    if finding.line is not None:
        return finding.line, 0
    path: KeyPath = finding.path
    while path:
        if path in document.marks:
            return document.marks[path]
        path = path[:-1]
    return _NOWHERE
