"""Rules that bind several keys together.

They look at the file's tree rather than at finished settings, so that they can speak while some
other value is still wrong: all problems are reported at once. What is wrong by itself is passed over
here; its own validator has said so.
"""

from collections.abc import Callable, Hashable
from difflib import get_close_matches
from itertools import product
from math import isfinite

from partitioner.config.findings import Finding
from partitioner.config.settings import Settings, TimeoutSettings
from partitioner.config.values import Quantity, read_address
from partitioner.membership.backend import Address, Intent
from partitioner.units import format_duration, parse_duration

Content = dict[str, object]


def broken_rules(content: Content) -> list[Finding]:
    """Check everything that takes more than one key to tell."""
    backends = [each for each in _list(content, "backends") if isinstance(each, dict)]
    return [
        *_exactly_one_pool(content),
        *_one_way_to_the_engine(content),
        *_workers_share_an_engine(content),
        *_no_two_alike("name", _list(content, "backends"), str),
        *_no_two_alike("address", _list(content, "backends"), read_address),
        *_no_two_alike("admin", _list(content, "backends"), read_address),
        *_admin_is_another_port(_list(content, "backends")),
        *_someone_is_ready(backends),
        *_no_backend_is_the_router(content),
        *_router_listens_twice(content),
        *_strangers_need_a_token(content),
        *_one_token(content),
        *_weights_have_a_sum(backends),
        *_part_of_an_exchange(content, "connect"),
        *_part_of_an_exchange(content, "copy"),
        *_copies_have_places(content),
        *_shortest_below_longest_timeout(content),
    ]


_POOLS = ("backends", "embedded")


def _one_way_to_the_engine(content: Content) -> list[Finding]:
    """A store is one primary, or what Sentinels name, or a Cluster, which has but the database 0."""
    store = content.get("store")
    if not isinstance(store, dict):
        return []
    ways = [key for key in ("primary", "sentinel", "cluster") if store.get(key) is not None]
    if not ways:
        return [Finding(("store",), "no engine: expected one of `primary`, `sentinel` and `cluster`")]
    findings = [
        Finding(("store", key), f"`{ways[0]}` is given as well; expected exactly one of the two")
        for key in ways[1:]
    ]
    if ways == ["cluster"]:
        if store["cluster"] == []:
            findings.append(Finding(("store", "cluster"), "no engine: expected at least one address"))
        if store.get("database", 0) != 0:
            findings.append(Finding(("store", "database"), "a Cluster has the database 0 alone; expected 0"))
    return findings


def _workers_share_an_engine(content: Content) -> list[Finding]:
    """Several processes have nothing in common but an engine: each would be a router of its own."""
    if "workers" not in content or "store" in content:
        return []
    return [Finding(("workers",), "goes with a `store` alone; expected no such key")]


def _exactly_one_pool(content: Content) -> list[Finding]:
    if "store" in content:
        return [
            Finding((key,), f"a `store` is configured as well; expected either `{key}` or `store`")
            for key in ("backends", "embedded")
            if key in content
        ]
    is_listed = "backends" in content
    if is_listed and "embedded" in content:
        message = "backends are listed as well; expected either `backends` or `embedded`"
        return [Finding(("embedded",), message)]
    if "embedded" in content:
        return []
    unknown = [key for key in content if key not in Settings.model_fields]
    if not is_listed and any(get_close_matches(key.lower(), _POOLS, n=1) for key in unknown):
        return []  # one of the two is mistyped, which is said of that key
    if not is_listed:
        message = "empty pool: expected a list of state servers, or `embedded: 3` for in-process ones"
        return [Finding(("backends",), message)]
    if content["backends"] in (None, []):
        return [Finding(("backends",), "empty pool: expected at least one state server")]
    return []


def _copies_have_places(content: Content) -> list[Finding]:
    """No two copies of a session live on one server.

    Servers count whatever their intent: else one of two could not be drained without giving up copies.
    """
    copies, embedded = content.get("copies"), content.get("embedded")
    servers = embedded if isinstance(embedded, int) else len(_list(content, "backends"))
    if isinstance(copies, bool) or not isinstance(copies, int) or servers < 1 or copies <= servers:
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


def _no_backend_is_the_router(content: Content) -> list[Finding]:
    """A router that is its own backend would ask itself for ever."""
    findings = []
    for ours, what in (
        ("listen", "where the router itself listens"),
        ("admin", "the router's admin address"),
    ):
        everywhere = _own_addresses(content, ours)
        for position, backend in enumerate(_list(content, "backends")):
            for key in ("address", "admin"):
                there = _maybe_address(backend.get(key) if isinstance(backend, dict) else None)
                if there is not None and any(_leads_to(there, here) for here in everywhere):
                    message = f"{str(there)!r} is {what}; expected a state server"
                    findings.append(Finding(("backends", position, key), message))
    return findings


def _router_listens_twice(content: Content) -> list[Finding]:
    """Web servers and operators are served at two addresses."""
    for listen, admin in product(_own_addresses(content, "listen"), _own_addresses(content, "admin")):
        if _leads_to(listen, admin) or _leads_to(admin, listen):
            return [_listens_twice(content, listen, admin)]
    return []


def _listens_twice(content: Content, listen: Address, admin: Address) -> Finding:
    if "admin" in content:
        message = f"{str(admin)!r} is where web servers connect, too; expected another port"
        return Finding(("admin",), message)
    message = f"{str(listen)!r} is the admin address as well, by default; expected another port"
    return Finding(("listen",), message)


def _strangers_need_a_token(content: Content) -> list[Finding]:
    """Anyone who reaches the admin address can take servers out of service."""
    if "admin_token" in content or "admin_token_file" in content:
        return []
    rule = "expected an admin_token for those who connect from elsewhere, or a loopback address"
    return [
        Finding(("admin",), f"{str(admin)!r} is not on loopback and has no token; {rule}")
        for admin in _own_addresses(content, "admin")
        if not admin.is_loopback
    ]


def _one_token(content: Content) -> list[Finding]:
    """The admin address has one password."""
    if "admin_token" not in content or "admin_token_file" not in content:
        return []
    message = "admin_token is set as well; expected either `admin_token` or `admin_token_file`"
    return [Finding(("admin_token_file",), message)]


def _weights_have_a_sum(backends: list[dict[str, object]]) -> list[Finding]:
    """A share is a weight divided by the sum of all weights."""
    weights = [each.get("weight", 1.0) for each in backends]
    if isfinite(sum(each for each in weights if isinstance(each, int | float) and isfinite(each))):
        return []
    message = "the sum of all weights is infinite; expected weights such as 1 and 2"
    return [Finding(("backends",), message)]


def _admin_is_another_port(backends: list[object]) -> list[Finding]:
    """A state server's sessions and its listing of them are at two addresses."""
    addresses: dict[Address, int] = {}
    for position, backend in enumerate(backends):
        address = _maybe_address(backend.get("address") if isinstance(backend, dict) else None)
        if address is not None:
            addresses.setdefault(address, position)
    findings = []
    for position, backend in enumerate(backends):
        admin = _maybe_address(backend.get("admin") if isinstance(backend, dict) else None)
        if admin is not None and admin in addresses:
            whose = f"backends[{addresses[admin]}]"
            message = f"{str(admin)!r} is where {whose} serves sessions; expected its admin port"
            findings.append(Finding(("backends", position, "admin"), message))
    return findings


def _own_addresses(content: Content, key: str) -> list[Address]:
    """Addresses of the router: those that are written, or the default; what is none is left out."""
    written = content.get(key, Settings.model_fields[key].default)
    addresses = map(_maybe_address, written if isinstance(written, list | tuple) else [written])
    return [each for each in addresses if each is not None]


def _leads_to(address: Address, listening: Address) -> bool:
    """Whether connecting to `address` reaches the socket listening on `listening`."""
    if address.port != listening.port or address.port == 0:
        return False
    is_here = listening.is_everywhere and (address.is_loopback or address.is_everywhere)
    return address.host == listening.host or is_here


def _maybe_address(written: object) -> Address | None:
    try:
        return read_address(written) if isinstance(written, str | Address) else None
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


def _part_of_an_exchange(content: Content, key: str) -> list[Finding]:
    """Connecting, and writing a copy, are parts of an exchange and need less time than the whole."""
    timeouts = content.get("timeouts")
    if not isinstance(timeouts, dict):
        return []
    defaults = TimeoutSettings().model_dump(by_alias=True)
    part = _maybe_duration(timeouts, key, defaults[key])
    exchange = _maybe_duration(timeouts, "exchange", defaults["exchange"])
    if part is None or exchange is None or exchange > part:
        return []
    if "exchange" in timeouts:
        rule = f"expected more than timeouts.{key}, which is {format_duration(part)}"
        return [Finding(("timeouts", "exchange"), f"{timeouts['exchange']!r} is too short; {rule}")]
    rule = f"expected less than timeouts.exchange, which is {format_duration(exchange)}"
    return [Finding(("timeouts", key), f"{timeouts[key]!r} is too long; {rule}")]


def _shortest_below_longest_timeout(content: Content) -> list[Finding]:
    """The longest session is at least as long as the shortest that is reckoned with."""
    keys = ("session_timeout", "session_timeout_max")
    least, most = (_maybe_duration(content, key, Settings.model_fields[key].default) for key in keys)
    if least is None or most is None or least <= most:
        return []
    if "session_timeout_max" in content:
        rule = f"expected session_timeout, which is {format_duration(least)}, or more"
        return [Finding(("session_timeout_max",), f"{content['session_timeout_max']!r} is too short; {rule}")]
    rule = f"expected session_timeout_max, which is {format_duration(most)}, or less"
    return [Finding(("session_timeout",), f"{content['session_timeout']!r} is too long; {rule}")]


def _maybe_duration(section: Content, key: str, default: float) -> float | None:
    return _maybe(parse_duration, section, key, default)


def _maybe(
    parse: Callable[[str], Quantity], section: Content, key: str, default: Quantity
) -> Quantity | None:
    """The quantity of this key, its default where it is not written, or None where it is none."""
    if key not in section:
        return default
    written = section[key]
    try:
        return parse(written) if isinstance(written, str) else None
    except ValueError:
        return None


def _list(content: Content, key: str) -> list[object]:
    value = content.get(key)
    return value if isinstance(value, list) else []
