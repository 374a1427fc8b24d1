"""The applications of a web server, by its applicationHost.config, and which files configure each of them.

ASP.NET puts an application's configuration together from machine.config, the framework's own web.config,
and the web.config in each folder on the way from the site's root to the application. Which folders those
are is told by the virtual directories of applicationHost.config. Where that file was not given, every
folder with a web.config is taken for an application, unless it lies below another one and sets nothing that
only an application may.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from partitioner.webfarm.document import Element
from partitioner.webfarm.files import ConfigFile, Kind, Origin, folder_parts

_VARIABLE = re.compile(r"%(\w+)%")
_WINDOWS = {"windir": "windows", "systemroot": "windows"}
_APPLICATION_ONLY = ("system.web/sessionState", "system.web/machineKey")
"""Sections that ASP.NET refuses in a folder that is no application (MachineToApplication)."""


@dataclass(frozen=True, slots=True)
class Application:
    """One application on one web server."""

    server: str
    site: str  # its name; "" where no applicationHost.config tells
    path: str  # "/", "/shop"; without an applicationHost.config, the folder; "": that of every application
    site_id: str | None
    origin: Origin | None  # where the ID of its site is written
    pool: Element | None  # the entry of its application pool
    pool_defaults: Element | None
    host: ConfigFile | None
    folders: tuple[tuple[str, tuple[str, ...]], ...]  # virtual path, and where that lies on disk
    files: tuple[tuple[str, ConfigFile], ...] = ()  # virtual path, and the web.config there

    @property
    def identity(self) -> str | None:
        """The application ID, as it begins each session's key (protocol.md 4.1)."""
        if self.site_id is None:
            return None
        return f"/LM/W3SVC/{self.site_id}/ROOT{'' if self.path == '/' else self.path}"

    @property
    def runtime_major(self) -> str | None:
        """The first digit of the runtime's version, by the application pool."""
        version = self.of_pool("managedRuntimeVersion")
        return version[1] if version is not None and re.fullmatch(r"v\d\..*", version) else None

    @property
    def is_32_bit(self) -> bool:
        return (self.of_pool("enable32BitAppOnWin64") or "").lower() == "true"

    def of_pool(self, name: str) -> str | None:
        """What is said of the application pool, or of all pools."""
        for element in (self.pool, self.pool_defaults):
            if element is not None and name in element.attributes:
                return element.attributes[name]
        return None

    @property
    def name(self) -> str:
        """The application for people."""
        if not self.site:
            return {"": "all applications", "/": "the application"}.get(self.path, self.path)
        return f"{self.site}{self.path}"

    @property
    def group(self) -> tuple[str, str]:
        """What the same application has in common on all web servers."""
        return self.site.lower(), self.path.lower()


def applications(files: Sequence[ConfigFile]) -> list[Application]:
    """The applications of one web server, by all the files that were given of it."""
    webs = [each for each in files if each.kind is Kind.WEB]
    hosts = [each for each in files if each.kind is Kind.HOST]
    if not hosts and not webs:
        outer = [each for each in files if each.kind is not Kind.SECTION]
        return [_any_application(outer[0].server)] if outer else []
    if not hosts:
        return list(_by_folders(webs))
    return [_with_files(each, webs) for host in hosts for each in _of_host(host)]


def _any_application(server: str) -> Application:
    """What stands for all applications of a web server of which only machine.config was given."""
    return Application(server, "", "", None, None, None, None, None, (("", ()),))


def unclaimed(files: Sequence[ConfigFile], found: Sequence[Application]) -> list[ConfigFile]:
    """The files that configure none of these applications."""
    claimed = {id(file) for application in found for _, file in application.files}
    sources = {source for file in files for source in _sources(file)}
    idle = [each for each in files if each.kind is Kind.SECTION and (*each.folder, each.name) not in sources]
    return idle + [
        each
        for each in files
        if each.kind is Kind.WEB
        and id(each) not in claimed
        and not any(is_below(each, file) for application in found for _, file in application.files)
    ]


def _sources(file: ConfigFile) -> Iterator[tuple[str, ...]]:
    """Where the files lie that a file names by `configSource`."""
    for element in file.document.root.walk():
        source = element.attributes.get("configSource")
        if source is not None:
            yield source_path(file, source)


def source_path(file: ConfigFile, source: str) -> tuple[str, ...]:
    """Where a file lies that this one names by `configSource`: at or below its own folder."""
    parts = [each for each in re.split(r"[\\/]+", source) if each not in ("", ".")]
    return (*file.folder, *(each.lower() for each in parts))


def is_below(file: ConfigFile, other: ConfigFile) -> bool:
    return len(file.folder) > len(other.folder) and file.folder[: len(other.folder)] == other.folder


def _of_host(host: ConfigFile) -> Iterator[Application]:
    """What an applicationHost.config tells, still without files."""
    root = host.document.root
    pools = {
        each.attributes.get("name"): each for each in root.all("system.applicationHost/applicationPools/add")
    }
    pool_defaults = next(root.all("system.applicationHost/applicationPools/applicationPoolDefaults"), None)
    default_pool = next(root.all("system.applicationHost/sites/applicationDefaults"), None)
    for site in root.all("system.applicationHost/sites/site"):
        origin = Origin(host.path, host.document.line_of(site, "id"))
        site_default = next(site.all("applicationDefaults"), default_pool)
        roots = _virtual_directories(site)
        for each in site.all("application"):
            path = each.attributes.get("path", "/")
            named = each.attributes.get("applicationPool")
            if named is None and site_default is not None:
                named = site_default.attributes.get("applicationPool")
            yield Application(
                host.server,
                site.attributes.get("name", ""),
                path,
                site.attributes.get("id"),
                origin,
                pools.get(named),
                pool_defaults,
                host,
                tuple((prefix, _on_disk(prefix, roots)) for prefix in _prefixes(path)),
            )


def _virtual_directories(site: Element) -> dict[str, tuple[str, ...]]:
    """Where the virtual directories of a site lie, by their paths below the site."""
    found = {}
    for application in site.all("application"):
        for directory in application.all("virtualDirectory"):
            path = _joined(application.attributes.get("path", "/"), directory.attributes.get("path", "/"))
            found[path.lower()] = disk_path(directory.attributes.get("physicalPath", ""))
    return found


def _joined(*paths: str) -> str:
    return "/" + "/".join(each for path in paths for each in path.split("/") if each)


def _prefixes(path: str) -> list[str]:
    """`/`, `/shop` and `/shop/admin` for `/shop/admin`."""
    parts = [each for each in path.split("/") if each]
    return ["/" + "/".join(parts[:count]) for count in range(len(parts) + 1)]


def _on_disk(path: str, directories: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Where a virtual path lies: in the innermost virtual directory, and below that by folders."""
    lowered = path.lower()
    for prefix in reversed(_prefixes(lowered)):
        if prefix in directories:
            rest = lowered[len(prefix) :].strip("/")
            return (*directories[prefix], *(rest.split("/") if rest else ()))
    return ()


def disk_path(path: str) -> tuple[str, ...]:
    """A path of Windows as its folders in lower case; a disk that only a variable names is left out."""
    known = _VARIABLE.sub(lambda match: _WINDOWS.get(match[1].lower(), ""), path)
    return folder_parts([each for each in re.split(r"[\\/]+", known) if each])


def _with_files(application: Application, webs: Sequence[ConfigFile]) -> Application:
    """The same with the web.config files that are read for it, outermost first."""
    found = []
    for virtual, folder in application.folders:
        file = _lying_in(folder, webs) or _lying_by_name(application.site, virtual, webs)
        if file is not None:
            found.append((virtual, file))
    return replace(application, files=tuple(found))


def _lying_in(folder: tuple[str, ...], webs: Sequence[ConfigFile]) -> ConfigFile | None:
    """The file that lies in this folder of the web server, wherever its disks were gathered."""
    if not folder:
        return None
    without_disk = folder[1:] if len(folder) > 1 and len(folder[0]) == 1 else folder
    for wanted in (folder, without_disk):
        fitting = [each for each in webs if each.folder[-len(wanted) :] == wanted]
        if fitting:
            return min(fitting, key=lambda each: len(each.folder))
    return None


def _lying_by_name(site: str, virtual: str, webs: Sequence[ConfigFile]) -> ConfigFile | None:
    """The file that was gathered under the names of site and application."""
    wanted = (site.lower(), *(each for each in virtual.lower().split("/") if each))
    return next((each for each in webs if each.folder == wanted), None)


def _by_folders(webs: Sequence[ConfigFile]) -> Iterator[Application]:
    """An application for each folder that can be one."""
    ordered = sorted(webs, key=lambda each: each.folder)
    for file in ordered:
        outer = [each for each in ordered if is_below(file, each)]
        if outer and not _is_application(file):
            continue
        path = "/" + "/".join(file.folder)
        chain = [("/" + "/".join(each.folder), each) for each in (*outer, file)]
        yield Application(
            file.server, "", path, None, None, None, None, None, ((path, file.folder),), tuple(chain)
        )


def _is_application(file: ConfigFile) -> bool:
    return any(True for path in _APPLICATION_ONLY for _ in file.document.root.all(path))
