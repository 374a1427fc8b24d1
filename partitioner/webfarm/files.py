"""The configuration files of a farm: what each one is, and which web server it comes from.

Files are gathered in a folder for each web server (docs/windows.md), and below that as they lie on its
disks. A name in front of the path, as in `WEB1=some/file.config`, says it outright. Otherwise the first
folder in which the paths differ names the server; and where files lie side by side, their names do.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath

from partitioner.errors import NoWebConfig
from partitioner.webfarm.document import Document, Element

MACHINE_WIDE = ("applicationhost.config", "machine.config", "root-web.config")
"""Names of files of which a web server has one."""

NAMES = (*MACHINE_WIDE, "web.config")
"""What files that configure a web server are called."""

SECTIONS = ("sessionState", "machineKey", "httpRuntime", "compilation", "appSettings", "modules")
"""What may stand in a file of its own (`configSource`), of all that is compared."""

ONLY_SERVER = "web server"
"""What the web server is called where nothing names it."""

_SIDE_BY_SIDE = re.compile(
    r"(?P<server>.+?)[-_. ](?P<name>(?:web|machine|applicationHost|root-web)\.config)", re.I
)
_DISK = re.compile(r"(?P<drive>[a-z])[:$]?", re.I)
_ROOT_WEB = re.compile(r"microsoft\.net/framework(64)?/v[\d.]+/config/web\.config$")


class Kind(StrEnum):
    """What a file configures."""

    HOST = "applicationHost.config"  # sites, applications and their pools
    MACHINE = "machine.config"
    ROOT_WEB = "web.config of the framework"  # beside machine.config, and read after it
    WEB = "web.config"
    SECTION = "section"  # one section, which another file names by `configSource`


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something is written."""

    file: str  # as given
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Whose file it is, by its path."""

    server: str
    folder: tuple[str, ...]  # below the server's own folder, in lower case; a disk is one letter
    name: str  # in lower case


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that was read."""

    path: str  # as given
    server: str
    folder: tuple[str, ...]  # as in Whereabouts
    name: str
    kind: Kind
    document: Document


def config_file(path: str, where: Whereabouts, document: Document) -> ConfigFile:
    """Say what a document is. Raises NoWebConfig where it configures no web server."""
    return ConfigFile(path, where.server, where.folder, where.name, _kind(where, document), document)


def _kind(where: Whereabouts, document: Document) -> Kind:
    root = document.root
    place = document.place(root.offset)
    if root.name in SECTIONS:
        return Kind.SECTION
    if root.name != "configuration":
        reason = f"is not a configuration: its root element is <{root.name}>, expected <configuration>"
        raise NoWebConfig(reason, place.line, place.column)
    if any(
        name.startswith("xmlns:") and "XML-Document-Transform" in uri for name, uri in root.attributes.items()
    ):
        reason = "is a transform that a build applies to a web.config; give the web.config that came of it"
        raise NoWebConfig(reason, place.line, place.column)
    if any(root.all("system.applicationHost")):
        return Kind.HOST
    if where.name.endswith("machine.config") or _declares_system_web(root):
        return Kind.MACHINE
    is_root = where.name == "root-web.config" or _ROOT_WEB.search("/".join((*where.folder, where.name)))
    return Kind.ROOT_WEB if is_root or _has_internal_policy(root) else Kind.WEB


def _declares_system_web(root: Element) -> bool:
    """Whether the sections of ASP.NET are declared here, as machine.config alone does."""
    return any(
        each.attributes.get("name") == "system.web" for each in root.all("configSections/sectionGroup")
    )


def _has_internal_policy(root: Element) -> bool:
    """Whether full trust is declared here, as the framework's web.config alone does."""
    levels = root.all("location/system.web/securityPolicy/trustLevel")
    return any(each.attributes.get("policyFile") == "internal" for each in levels)


def locate(paths: Sequence[PurePath]) -> list[Whereabouts]:
    """Say of each path which web server's file it is, by what the paths have in common."""
    parents = [path.parent.parts for path in paths]
    common = _common(parents)
    home = common[-1] if common and common[-1] not in ("/", "..") else ONLY_SERVER
    rests = [parent[len(common) :] for parent in parents]
    if _is_one_server(paths, rests):
        return [_whereabouts(home, rest, path.name) for rest, path in zip(rests, paths, strict=True)]
    found = []
    for rest, path in zip(rests, paths, strict=True):
        if rest:
            found.append(_whereabouts(rest[0], rest[1:], path.name))
        else:
            found.append(_by_name(path))
    return found


def _common(parents: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders that all of these paths begin with."""
    first, last = min(parents), max(parents)
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _is_one_server(paths: Sequence[PurePath], rests: Sequence[tuple[str, ...]]) -> bool:
    """Whether all of this is of one web server, and where the paths differ its disks and folders begin."""
    top = [path.name.lower() for path, rest in zip(paths, rests, strict=True) if not rest]
    tops = {rest[0].lower() for rest in rests if rest}
    if any(name in MACHINE_WIDE for name in top) or tops & {"windows", "inetpub"}:
        return True
    if any(_DISK.fullmatch(each) for each in tops):
        return True
    return len(paths) == 1 or top == ["web.config"]


def _by_name(path: PurePath) -> Whereabouts:
    """`WEB1-machine.config` is the machine.config of WEB1, and `web1.config` a web.config of web1."""
    match = _SIDE_BY_SIDE.fullmatch(path.name)
    if match is not None:
        return _whereabouts(match["server"], (), match["name"])
    return _whereabouts(path.stem, (), "web.config")


def _whereabouts(server: str, folders: Sequence[str], name: str) -> Whereabouts:
    return Whereabouts(server, folder_parts(folders), name.lower())


def folder_parts(folders: Sequence[str]) -> tuple[str, ...]:
    """Folders as they are compared: in lower case, and `C:` or `C$` as `c`."""
    lowered = [each.lower() for each in folders]
    if lowered and (disk := _DISK.fullmatch(lowered[0])):
        lowered[0] = disk["drive"]
    return tuple(lowered)
