"""Which applications of several web servers are one application of the farm.

Those with the same site and path are, and those with the same application ID, whatever their sites are
called. Where no applicationHost.config tells of a web server, the folder does: that of an application on
another web server, or the only one that there is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from partitioner.webfarm.files import ConfigFile, Kind
from partitioner.webfarm.sections import Sections
from partitioner.webfarm.sites import Application


@dataclass(frozen=True, slots=True)
class Installed:
    """One application on one web server, with its sections."""

    application: Application
    sections: Sections

    @property
    def is_configured(self) -> bool:
        """Whether any file says something of its sessions; what stands for all applications has no folder."""
        return (
            not self.application.path
            or bool(self.application.files)
            or self.sections.has("system.web/sessionState")
        )

    @property
    def has_own_file(self) -> bool:
        """Whether the web.config in its own folder was given, without which it might not be known at all."""
        path = self.application.path.lower()
        return self.application.host is None or any(
            each.lower() == path for each, _ in self.application.files
        )


Group = dict[str, Installed]
"""One application of the farm, by web server."""


def groups(
    found: Mapping[str, Sequence[Application]], files: Mapping[str, Sequence[ConfigFile]]
) -> list[Group]:
    """The applications of the farm, in the order in which they were found."""
    made: dict[tuple[str, str], Group] = {}
    hosted = [each for server in found.values() for each in server if each.host is not None]
    for server, installed in found.items():
        claimed = {id(file) for each in installed for _, file in each.files}
        inner = [each for each in files[server] if each.kind is Kind.WEB and id(each) not in claimed]
        for application in installed:
            key = application.group if application.host else _group_of_folder(application, installed, hosted)
            sections = Sections(application, files[server], inner)
            made.setdefault(key, {})[server] = Installed(application, sections)
    return _merged(made.values())


def _group_of_folder(
    application: Application, neighbours: Sequence[Application], hosted: Sequence[Application]
) -> tuple[str, str]:
    """The group of an application of which only the folder is known."""
    folder = application.folders[-1][1]
    for other in hosted:
        there = other.folders[-1][1]
        if there and folder and (there == folder or there[1:] == folder):
            return other.group
    likely = {other.group for other in hosted if other.files}
    if len(likely) == 1 and len(neighbours) == 1:
        return likely.pop()
    return application.group


def _merged(found: Iterable[Group]) -> list[Group]:
    """The same, with those as one that have an application ID in common, and no web server."""
    kept: list[Group] = []
    known: dict[str, Group] = {}  # by an ID in it
    for group in found:
        identities = {identity for each in group.values() if (identity := each.application.identity)}
        others = [known[each] for each in sorted(identities) if each in known]
        home = next((each for each in others if not each.keys() & group.keys()), None)
        if home is None:
            kept.append(group)
        else:
            home.update(group)
        known |= dict.fromkeys(identities - known.keys(), group if home is None else home)
    return kept
