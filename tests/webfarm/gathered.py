"""Files of web servers for the tests: as they would be gathered, and what is found in them."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path, PurePath

from partitioner.webfarm.comparison import compare
from partitioner.webfarm.document import read_document
from partitioner.webfarm.files import config_file, locate
from partitioner.webfarm.findings import Expectations, Finding, Report

SAMPLES = Path(__file__).parent / "samples"
DEFAULTS = Expectations(exchange_timeout=8.0, session_timeout_max=86_400.0, ports=())


def sample(name: str) -> bytes:
    """One of the files of samples/: the shapes are those of real ones, all names and values are made up."""
    return (SAMPLES / name).read_bytes()


def compared(gathered: Mapping[str, bytes | str], expectations: Expectations = DEFAULTS) -> Report:
    """Compare files, given by their paths."""
    files = []
    for (path, content), where in zip(
        gathered.items(), locate([PurePath(each) for each in gathered]), strict=True
    ):
        document = read_document(content if isinstance(content, bytes) else content.encode())
        files.append(config_file(path, where, document))
    return compare(files, expectations)


def values(report: Report, application: str | None = None) -> dict[str, dict[str, str]]:
    """The values of an application, by setting and web server; of the only one where none is named."""
    (found,) = (each for each in report.applications if application in (None, each.name))
    told: dict[str, dict[str, str]] = {}
    for row in found.rows:
        for server in row.servers:
            told.setdefault(row.setting, {})[server] = row.value
    return told


def said(report: Report) -> list[str]:
    """All findings, each in a line without its reason."""
    return [_line(each) for each in report.findings]


def _line(finding: Finding) -> str:
    place = f" at {finding.origins[0]}" if finding.origins else ""
    return f"{finding.severity} {finding.setting}: {finding.found} on {' '.join(finding.servers)}{place}"


def in_keys(identity: str) -> str:
    """How a key begins: protocol.md 4.1."""
    digest = b64encode(sha256(identity.encode()).digest()).decode()
    return f"{identity}({digest[:8]}...)"
