"""What an application's files say together, section by section, as ASP.NET puts them together.

Files are read from the outside in, and what is inside wins, attribute by attribute. A `location` counts at
the path that it names, so that of an outer file comes after the direct sections of that file and before the
web.config at that path; `inheritInChildApplications="false"` ends it at the application that it stands in.
A section may lie in a file of its own (`configSource`), and may be encrypted (`configProtectionProvider`):
then what it says is not known, and neither is what outer files said of it, unless an inner file says it
again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from partitioner.webfarm.document import Element
from partitioner.webfarm.files import ConfigFile, Kind, Origin
from partitioner.webfarm.sites import Application, is_below, source_path

_OUTER = (Kind.MACHINE, Kind.ROOT_WEB, Kind.HOST)
"""Files that configure all of a web server, outermost first."""

_FRAMEWORK_VERSION = re.compile(r"v(\d)\.[\d.]+")

ENCRYPTED = "encrypted"
"""What a hidden value is said to be; where a file is missing, that file is named."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Sections that count for an application: those of a file, or of one of its `location` elements."""

    file: ConfigFile
    container: Element  # <configuration> or <location>


@dataclass(frozen=True, slots=True)
class Told:
    """What files say of an attribute."""

    value: str | None  # None: nothing, or it is hidden
    origin: Origin | None  # None: no file says anything, so ASP.NET's default counts
    hidden: str | None = None  # why it is not known

    @property
    def is_default(self) -> bool:
        return self.origin is None


NOTHING = Told(None, None)


class Sections:
    """The sections that count for one application."""

    def __init__(
        self, application: Application, files: Sequence[ConfigFile], inner: Sequence[ConfigFile] = ()
    ) -> None:
        """`files` are all of its web server, `inner` those in folders that are no application."""
        self._files = files
        self._inner = inner
        self._application = application
        self._layers = [layer for _, layer in sorted(_layers(application, files), key=lambda each: each[0])]

    def attribute(self, section: str, name: str) -> Told:
        """What is said of an attribute of the section at a path such as `system.web/sessionState`."""
        told = NOTHING
        for file, element, hidden in self._elements(section):
            if hidden is not None:
                told = Told(None, Origin(file.path, file.document.line_of(element)), hidden)
            elif name in element.attributes:
                told = Told(element.attributes[name], Origin(file.path, file.document.line_of(element, name)))
        return told

    def entries(self, section: str, key: str) -> dict[str, tuple[Element, Origin]]:
        """The entries of a section that is a collection, by the attribute that names each of them.

        `remove` and `clear` take away what outer files have added.
        """
        found: dict[str, tuple[Element, Origin]] = {}
        for file, element, _ in self._elements(section):
            for child in element.children:
                name = child.attributes.get(key)
                if child.name == "clear":
                    found.clear()
                elif child.name == "remove" and name is not None:
                    found.pop(name, None)
                elif child.name == "add" and name is not None:
                    found[name] = child, Origin(file.path, file.document.line_of(child))
        return found

    def removals(self, section: str, key: str, name: str) -> list[Origin]:
        """Where an entry is taken away from a collection, by name or with all others, and not added again."""
        found: list[Origin] = []
        for file, element, _ in self._elements(section):
            for child in element.children:
                is_meant = child.attributes.get(key) == name
                if child.name == "clear" or (child.name == "remove" and is_meant):
                    found.append(Origin(file.path, file.document.line_of(child)))
                elif child.name == "add" and is_meant:
                    found.clear()
        return found

    def has(self, path: str) -> bool:
        """Whether any file has an element at this path."""
        return any(True for layer in self._layers for _ in layer.container.all(path))

    def parts(self, section: str, name: str) -> list[tuple[str, Told]]:
        """What is said of an attribute for parts of the application, with their paths.

        By `location` elements, and by the web.config of a folder that is no application.
        """
        found: list[tuple[str, Told]] = []
        for virtual, own in self._application.files:
            if virtual.lower() == self._application.path.lower():
                found += _said(own, own.document.root.all("location"), section, name)
                for file in self._inner:
                    if is_below(file, own):
                        folder = "/".join(file.folder[len(own.folder) :])
                        said = _said(file, [file.document.root], section, name)
                        found += [(folder, told) for _, told in said]
        return found

    def _elements(self, section: str) -> Iterator[tuple[ConfigFile, Element, str | None]]:
        """All elements of a section, outermost first, and why one of them cannot be known."""
        for layer in self._layers:
            for element in layer.container.all(section):
                yield self._resolved(layer.file, element)

    def _resolved(self, file: ConfigFile, element: Element) -> tuple[ConfigFile, Element, str | None]:
        """The element itself, or the one in the file of its own that it names."""
        source = element.attributes.get("configSource")
        if source is not None:
            external = self._source(file, source)
            if external is None:
                return file, element, f"in {source}, which was not given"
            file, element = external, external.document.root
        provider = element.attributes.get("configProtectionProvider")
        return file, element, None if provider is None else f"{ENCRYPTED} with {provider}"

    def _source(self, file: ConfigFile, source: str) -> ConfigFile | None:
        """The file that a `configSource` names, if it was given."""
        wanted = source_path(file, source)
        for each in self._files:
            if each.kind is Kind.SECTION and (*each.folder, each.name) == wanted:
                return each
        return None


def _said(
    file: ConfigFile, containers: Iterable[Element], section: str, name: str
) -> Iterator[tuple[str, Told]]:
    """What is said of an attribute in these, each with the path that it is for; all of the file has none."""
    for container in containers:
        path = container.attributes.get("path", "")
        if path in ("", ".") and container.name == "location":
            continue
        for element in container.all(section):
            if name in element.attributes:
                line = file.document.line_of(element, name)
                yield path, Told(element.attributes[name], Origin(file.path, line))


def _layers(application: Application, files: Sequence[ConfigFile]) -> Iterator[tuple[tuple[int, int], Layer]]:
    """What counts for an application, each with how far inside it counts: first by path, then by file."""
    for level, kind in enumerate(_OUTER):
        for file in _outer_files(application, [each for each in files if each.kind is kind]):
            yield from _layers_of_outer(application, file, level)
    for virtual, file in application.files:
        level = len(_OUTER) + _depth(virtual)
        yield (1 + _depth(virtual), level), Layer(file, file.document.root)
        for location in file.document.root.all("location"):
            target = _below(virtual, location.attributes.get("path", ""))
            if _leads_to(target, application.path) and _is_inherited(location, virtual, application.path):
                yield (1 + _depth(target), level), Layer(file, location)


def _outer_files(application: Application, files: Sequence[ConfigFile]) -> Sequence[ConfigFile]:
    """Those of several files of one kind that count for an application.

    Each version of the framework has its own, and for 32-bit pools another one; the folders tell.
    """
    if files and files[0].kind is Kind.HOST:
        return [each for each in files if each is application.host]
    versions = {_version(each) for each in files}
    wanted = application.runtime_major if application.runtime_major in versions else max(versions, default="")
    fitting = [each for each in files if _version(each) in (wanted, "")]
    folder = "framework" if application.is_32_bit else "framework64"
    return [each for each in fitting if folder in each.folder] or fitting


def _version(file: ConfigFile) -> str:
    """The major version of the framework in whose folder a file lies, such as `4`; "" where none tells."""
    found = [match[1] for each in file.folder if (match := _FRAMEWORK_VERSION.fullmatch(each)) is not None]
    return found[-1] if found else ""


def _layers_of_outer(
    application: Application, file: ConfigFile, level: int
) -> Iterator[tuple[tuple[int, int], Layer]]:
    """The same of a file that configures all of a web server; its paths begin with the name of a site."""
    yield (0, level), Layer(file, file.document.root)
    for location in file.document.root.all("location"):
        path = location.attributes.get("path", "")
        if path in ("", "."):
            yield (0, level), Layer(file, location)
            continue
        site, _, rest = path.partition("/")
        target = _below("/", rest)
        if site.lower() != application.site.lower() or not _leads_to(target, application.path):
            continue
        if _is_inherited(location, target, application.path):
            yield (1 + _depth(target), level), Layer(file, location)


def _below(virtual: str, path: str) -> str:
    parts = [
        each for each in (*virtual.split("/"), *path.replace("\\", "/").split("/")) if each not in ("", ".")
    ]
    return "/" + "/".join(parts)


def _depth(virtual: str) -> int:
    return len([each for each in virtual.split("/") if each])


def _leads_to(virtual: str, path: str) -> bool:
    """Whether a path is that of an application, or of a folder on the way to it."""
    here, there = virtual.lower().rstrip("/"), path.lower().rstrip("/")
    return there == here or there.startswith(f"{here}/")


def _is_inherited(location: Element, virtual: str, path: str) -> bool:
    is_for_children = location.attributes.get("inheritInChildApplications", "true").lower() != "false"
    return is_for_children or virtual.lower() == path.lower()
