"""Rules that bind several keys together.

They look at the file's tree rather than at finished settings, so that they can speak while some
other value is still wrong: all problems are reported at once. What is wrong by itself is passed over
here; its own validator has said so.
"""

from collections.abc import Callable, Hashable

from partitioner.config.findings import Finding
from partitioner.config.settings import Settings, TimeoutSettings
from partitioner.config.values import read_address
from partitioner.membership.backend import Address, Intent
from partitioner.units import format_duration, parse_duration

Content = dict[str, object]


def broken_rules(content: Content) -> list[Finding]:
    """Check everything that takes more than one key to tell."""
    backends = [each for each in _list(content, "backends") if isinstance(each, dict)]
    return [
        *_exactly_one_pool(content),
        *_no_two_alike("name", _list(content, "backends"), str),
        *_no_two_alike("address", _list(content, "backends"), read_address),
        *_someone_is_ready(backends),
        *_nobody_is_the_router(content),
        *_connecting_leaves_time(content),
        *_copies_have_places(content),
    ]


def _exactly_one_pool(content: Content) -> list[Finding]:
    is_listed = "backends" in content
    if is_listed and "embedded" in content:
        message = "backends are listed as well; expected either `backends` or `embedded`"
        return [Finding(("embedded",), message)]
    if "embedded" in content:
        return []
    if not is_listed:
        message = "empty pool: expected a list of state servers, or `embedded: 3` for in-process ones"
        return [Finding(("backends",), message)]
    if content["backends"] in (None, []):
        return [Finding(("backends",), "empty pool: expected at least one state server")]
    return []


def _copies_have_places(content: Content) -> list[Finding]:
    """No two copies of a session live on one server."""
    copies, embedded = content.get("copies"), content.get("embedded")
    servers = embedded if isinstance(embedded, int) else len(_list(content, "backends"))
    if isinstance(copies, bool) or not isinstance(copies, int) or copies <= max(1, servers):
        return []
    count = "1 server" if servers == 1 else f"{servers} servers"
    message = (
        f"{copies} copies are more than the pool can hold; expected at most {servers}, for it has {count}"
    )
    return [Finding(("copies",), message)]


def _no_two_alike(key: str, backends: list[object], identity: Callable[[str], Hashable]) -> list[Finding]:
    """Find backends that share a name or an address with one before them."""
    findings = []
    first_position: dict[Hashable, int] = {}
    for position, backend in enumerate(backends):
        seen = backend.get(key) if isinstance(backend, dict) else None
        if not isinstance(seen, str):
            continue
        try:
            same = identity(seen)
        except ValueError:
            continue
        first = first_position.setdefault(same, position)
        if first != position:
            message = f"{seen!r} is also the {key} of backends[{first}]; expected no two alike"
            findings.append(Finding(("backends", position, key), message))
    return findings


def _nobody_is_the_router(content: Content) -> list[Finding]:
    """A router that is its own backend would ask itself for ever."""
    listen = _maybe_address(content.get("listen", str(Settings.model_fields["listen"].default)))
    if listen is None:
        return []
    findings = []
    for position, backend in enumerate(_list(content, "backends")):
        address = _maybe_address(backend.get("address") if isinstance(backend, dict) else None)
        is_here = address is not None and (
            address == listen or (listen.is_everywhere and address.is_loopback)
        )
        if address is not None and is_here and address.port == listen.port:
            message = f"{str(address)!r} is where the router itself listens; expected a state server"
            findings.append(Finding(("backends", position, "address"), message))
    return findings


def _maybe_address(written: object) -> Address | None:
    try:
        return read_address(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _someone_is_ready(backends: list[Content]) -> list[Finding]:
    others = (Intent.MAINT.value, Intent.DRAIN.value)
    if backends and all(each.get("intent") in others for each in backends):
        message = (
            "no backend is ready: the intent of each is 'maint' or 'drain'; expected at least one 'ready'"
        )
        return [Finding(("backends",), message)]
    return []


def _connecting_leaves_time(content: Content) -> list[Finding]:
    """A connect timeout is a part of the exchange timeout."""
    timeouts = content.get("timeouts")
    if not isinstance(timeouts, dict):
        return []
    defaults = TimeoutSettings()
    connect = _maybe_duration(timeouts, "connect", defaults.connect)
    exchange = _maybe_duration(timeouts, "exchange", defaults.exchange)
    if connect is None or exchange is None or exchange > connect:
        return []
    if "exchange" in timeouts:
        rule = f"expected more than timeouts.connect, which is {format_duration(connect)}"
        return [Finding(("timeouts", "exchange"), f"{timeouts['exchange']!r} is too short; {rule}")]
    rule = f"expected less than timeouts.exchange, which is {format_duration(exchange)}"
    return [Finding(("timeouts", "connect"), f"{timeouts['connect']!r} is too long; {rule}")]


def _maybe_duration(section: Content, key: str, default: float) -> float | None:
    """The duration of this key, its default where it is not written, or None where it is none."""
    if key not in section:
        return default
    written = section[key]
    try:
        return parse_duration(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _list(content: Content, key: str) -> list[object]:
    value = content.get(key)
    return value if isinstance(value, list) else []
