"""The settings that web servers of one farm must share: how each is read, and why it matters."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from types import MappingProxyType

from partitioner.placement.application import name_of
from partitioner.webfarm.files import Origin
from partitioner.webfarm.sections import NOTHING, Sections, Told
from partitioner.webfarm.sites import Application

SESSION_STATE = "system.web/sessionState"
MACHINE_KEY = "system.web/machineKey"
HTTP_RUNTIME = "system.web/httpRuntime"
COMPILATION = "system.web/compilation"
DEPLOYMENT = "system.web/deployment"
MODULES = "system.webServer/modules"

STATE_SERVER = "StateServer"
AUTO_GENERATE = "AutoGenerate"
MODES = ("Off", "InProc", STATE_SERVER, "SQLServer", "Custom")
NO_MANAGED_CODE = "none"
SESSION_MODULE = "System.Web.SessionState.SessionStateModule"

DEFAULT_CONNECTION = "tcpip=loopback:42424"
"""Source: protocol.md 2."""

DEFAULT_TIMEOUT = 20
"""Minutes. Source: protocol.md 7, as are the next two, in seconds."""

DEFAULT_NETWORK_TIMEOUT = 10
DEFAULT_EXECUTION_TIMEOUT = 110


@dataclass(frozen=True, slots=True)
class Value:
    """What a setting is for one application on one web server."""

    shown: str
    origin: Origin | None  # None: no file says it
    hidden: bool = False  # whether it is not known; `shown` says why
    meaning: str | None = None  # what is equal for two values that mean the same; None: they are shown alike

    @property
    def compared(self) -> str:
        return self.shown if self.meaning is None else self.meaning


class KeyNames:
    """Names for secrets, so that they can be compared and never printed: `key A`, `key B`."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}  # by the hash of the secret

    def name(self, *secrets: str) -> str:
        digest = sha256("\0".join(secrets).encode()).digest()
        return self._names.setdefault(digest, f"key {_letters(len(self._names))}")


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    while number >= 0:
        text = chr(ord("A") + number % 26) + text
        number = number // 26 - 1
    return text


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting."""

    name: str
    read: Callable[[Application, Sections, KeyNames], Value | None]  # None: it does not apply
    why: str  # it matters that all web servers have the same
    is_fatal: bool = True  # whether sessions or pages are lost where they do not


def _written(told: Told, default: str, read: Callable[[str], str] = str.strip) -> Value:
    if told.hidden is not None:
        return Value(told.hidden, told.origin, hidden=True)
    return Value(default if told.value is None else read(told.value), told.origin)


def _attribute(
    section: str, name: str, default: str, read: Callable[[str], str] = str.strip
) -> Callable[[Application, Sections, KeyNames], Value | None]:
    """Read one attribute of a section."""

    def reading(_application: Application, sections: Sections, _names: KeyNames) -> Value:
        return _written(sections.attribute(section, name), default, read)

    return reading


def _of_state_server(
    name: str, default: str, read: Callable[[str], str] = str.strip
) -> Callable[[Application, Sections, KeyNames], Value | None]:
    """Read an attribute that only counts where sessions are kept on a state server."""

    def reading(_application: Application, sections: Sections, _names: KeyNames) -> Value | None:
        mode = sections.attribute(SESSION_STATE, "mode")
        if mode.hidden is None and mode.value != STATE_SERVER:
            return None
        return _written(sections.attribute(SESSION_STATE, name), default, read)

    return reading


def _connection(_application: Application, sections: Sections, _names: KeyNames) -> Value | None:
    """The connection string, where one counts; names of hosts are the same in capitals."""
    if sections.attribute(SESSION_STATE, "partitionResolverType").value is not None:
        return None
    mode = sections.attribute(SESSION_STATE, "mode")
    if mode.hidden is None and mode.value != STATE_SERVER:
        return None
    value = _written(sections.attribute(SESSION_STATE, "stateConnectionString"), DEFAULT_CONNECTION)
    return replace(value, meaning=value.shown.lower())


def _cookie_name(_application: Application, sections: Sections, _names: KeyNames) -> Value:
    """The name of the cookie, which ASP.NET finds in capitals as well."""
    value = _written(sections.attribute(SESSION_STATE, "cookieName"), "ASP.NET_SessionId")
    return replace(value, meaning=value.shown.lower())


def _optional(name: str) -> Callable[[Application, Sections, KeyNames], Value | None]:
    """Read an attribute of sessionState that few applications have."""

    def reading(_application: Application, sections: Sections, _names: KeyNames) -> Value:
        return _written(sections.attribute(SESSION_STATE, name), "none")

    return reading


def _identity(application: Application, _sections: Sections, _names: KeyNames) -> Value | None:
    """The application ID as it begins keys, with the hash of 4.5 and later: others cannot be known."""
    identity = application.identity
    if identity is None:
        return None
    if application.runtime_major in ("1", "2"):
        return Value(identity, application.origin, meaning=identity)
    digest = b64encode(sha256(identity.encode()).digest())
    return Value(name_of(identity.encode() + b"(" + digest + b")/"), application.origin, meaning=identity)


def _runtime(application: Application, _sections: Sections, _names: KeyNames) -> Value | None:
    """The version of the runtime, by the application pool."""
    host = application.host
    if host is None:
        return None
    for element in (application.pool, application.pool_defaults):
        version = None if element is None else element.attributes.get("managedRuntimeVersion")
        if element is not None and version is not None:
            line = host.document.line_of(element, "managedRuntimeVersion")
            return Value(version or NO_MANAGED_CODE, Origin(host.path, line))
    return Value("not written", None)


def _target_framework(_application: Application, sections: Sections, _names: KeyNames) -> Value:
    """The version that pages are run as: without one in httpRuntime, ASP.NET behaves like 4.0."""
    told = sections.attribute(HTTP_RUNTIME, "targetFramework")
    if told is NOTHING:
        told = sections.attribute(COMPILATION, "targetFramework")
    return _written(told, "not written")


def _machine_key(_application: Application, sections: Sections, names: KeyNames) -> Value:
    validation = sections.attribute(MACHINE_KEY, "validationKey")
    decryption = sections.attribute(MACHINE_KEY, "decryptionKey")
    for told in (validation, decryption):
        if told.hidden is not None:
            return Value(told.hidden, told.origin, hidden=True)
    keys = [told.value or f"{AUTO_GENERATE},IsolateApps" for told in (validation, decryption)]
    origin = validation.origin or decryption.origin
    if any(each.strip().lower().startswith(AUTO_GENERATE.lower()) for each in keys):
        return Value(AUTO_GENERATE, origin)
    return Value(names.name(*(each.strip().upper() for each in keys)), origin)


def _algorithms(_application: Application, sections: Sections, _names: KeyNames) -> Value:
    told = {
        each: sections.attribute(MACHINE_KEY, each)
        for each in ("validation", "decryption", "compatibilityMode")
    }
    written = [each for each in told.values() if not each.is_default]
    for each in written:
        if each.hidden is not None:
            return Value(each.hidden, each.origin, hidden=True)
    shown = " ".join(f"{name}={each.value}" for name, each in told.items() if each.value is not None)
    return Value(shown or "default", written[0].origin if written else None)


def _session_module(_application: Application, sections: Sections, _names: KeyNames) -> Value:
    """Whether requests pass the session module; many applications remove it, and add one of their own."""
    added = sections.entries(MODULES, "name").get("Session")
    if added is not None:
        kind = added[0].attributes.get("type", "").partition(",")[0].strip()
        return Value("present" if kind in ("", SESSION_MODULE) else kind, added[1])
    removed = sections.removals(MODULES, "name", "Session")
    return Value("removed", removed[-1]) if removed else Value("present", None)


def _cookie_mode(text: str) -> str:
    """A mode, also where it is written as .NET 1.1 did."""
    text = text.strip()
    return {"false": "UseCookies", "true": "UseUri"}.get(text.lower(), text)


def _boolean(text: str) -> str:
    return text.strip().lower()


SETTINGS: Mapping[str, Setting] = MappingProxyType(
    {
        setting.name: setting
        for setting in (
            Setting(
                "application ID",
                _identity,
                "It is the first part of every session's key, and its letters' case counts: web servers with "
                "different IDs have sessions of their own, and a user is logged out by each change of server",
            ),
            Setting(
                "framework version",
                _runtime,
                "Versions before 4.5 key sessions with a hash made with the machine key, later ones with "
                "a plain hash: two versions have no session in common",
            ),
            Setting(
                "target framework",
                _target_framework,
                "It decides how login cookies and view state are encrypted, so one web server may refuse "
                "what another has issued",
                is_fatal=False,
            ),
            Setting(
                "machineKey",
                _machine_key,
                "Login cookies and view state of one web server are refused by the others, so users seem "
                "to be logged out; before 4.5 it is a part of every session's key as well",
            ),
            Setting(
                "machineKey algorithms",
                _algorithms,
                "Login cookies and view state that were made with one algorithm are refused with another",
            ),
            Setting(
                "sessionState mode",
                _attribute(SESSION_STATE, "mode", "InProc"),
                "Only web servers that keep sessions in the same place see the same sessions",
            ),
            Setting(
                "connection string",
                _connection,
                "Web servers that are sent to different state servers have sessions of their own",
            ),
            Setting(
                "cookie name",
                _cookie_name,
                "A web server looks for the session ID in a cookie of this name; under another one it "
                "finds none, and begins a new session",
            ),
            Setting(
                "cookieless",
                _attribute(SESSION_STATE, "cookieless", "UseCookies", _cookie_mode),
                "One web server looks for the session ID in the cookie, another one in the URL",
            ),
            Setting(
                "timeout",
                _attribute(SESSION_STATE, "timeout", str(DEFAULT_TIMEOUT)),
                "Each save gives a session the time-out of the web server that made it, so when it "
                "expires depends on which one served the user last; a change also resets its lock",
            ),
            Setting(
                "stateNetworkTimeout",
                _of_state_server("stateNetworkTimeout", str(DEFAULT_NETWORK_TIMEOUT)),
                "One web server gives up where another one still waits",
                is_fatal=False,
            ),
            Setting(
                "compressionEnabled",
                _of_state_server("compressionEnabled", "false", _boolean),
                "Nothing in a session says whether it is compressed: a web server that expects the other "
                "kind cannot read it, and its page fails",
            ),
            Setting(
                "executionTimeout",
                _attribute(HTTP_RUNTIME, "executionTimeout", str(DEFAULT_EXECUTION_TIMEOUT)),
                "A web server breaks another one's lock when it is older than its own executionTimeout: "
                "the shortest one of the farm counts for the pages of all",
                is_fatal=False,
            ),
            Setting(
                "session module",
                _session_module,
                "A web server without the module has no sessions at all",
            ),
            Setting(
                "partition resolver",
                _optional("partitionResolverType"),
                "It picks the state server in place of the connection string",
            ),
            Setting(
                "session ID manager",
                _optional("sessionIDManagerType"),
                "It makes and reads session IDs: one web server may not find or not accept those of another",
            ),
        )
    }
)
