"""The settings: what can be configured, with defaults and ranges.

Frozen values, made by loading.load and shared by all rooms above. Durations are float seconds and sizes
int bytes; files write both with units. What each key is for and what changing it costs stands in
conf/partitioner.yml, which a test keeps equal to the defaults here.

Rules that bind several keys together are in rules.py: they have to speak up even where single
values are wrong, which pydantic's validators of whole models do not.
"""

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from partitioner.config.values import (
    choice,
    duration,
    duration_below,
    or_none,
    read_address,
    read_backend_address,
    read_directory,
    read_engine_address,
    read_listen_addresses,
    read_name,
    read_network,
    read_prefix,
    read_secret,
    read_text,
    read_token,
    read_weight,
    refuse_empty,
    refuse_no_address,
    share,
    size,
    whole_number,
)
from partitioner.membership.backend import Address, Backend, Intent, Network
from partitioner.membership.health import HealthPolicy
from partitioner.membership.losses import LostSessions
from partitioner.placement.rendezvous import Ranking
from partitioner.placement.session_id import HashKey
from partitioner.store.policy import (
    Acknowledge,
    Credentials,
    Engine,
    Otherwise,
    SentinelGroup,
    StorePolicy,
    Tls,
)
from partitioner.token_file import TokenFile, read_token_file

MEBIBYTE = 2**20
LARGEST_BODY_OF_A_STORE = 16 * MEBIBYTE

Name = Annotated[str, BeforeValidator(read_name)]
EngineAddress = Annotated[Address, BeforeValidator(read_engine_address)]
LOOPBACK = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))

AllowedNetwork = Annotated[Network, BeforeValidator(read_network)]


class LogFormat(Enum):
    """How log lines are written: configuration key `log_format`."""

    CONSOLE = "console"  # for eyes
    JSON = "json"  # one object a line, for collectors


class LogLevel(Enum):
    """Which lines of the log are written, at least: configuration key `log_level`."""

    INFO = "info"  # all of them
    WARNING = "warning"
    ERROR = "error"


class Switch(Enum):
    """Whether something is used: configuration key `fast_path`."""

    ON = "on"  # ordinary ones by the fast path, all others by the slow path
    OFF = "off"  # all by the slow path


class DefaultStateDir(Enum):
    """The value of `state_dir` where it is left out: a directory that depends on the environment."""

    BY_ENVIRONMENT = "the default directory"


class Section(BaseModel):
    """A mapping of the file: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BackendSettings(Section):
    """One listed state server."""

    name: Name
    address: Annotated[Address, BeforeValidator(read_backend_address)]
    weight: Annotated[float, BeforeValidator(read_weight)] = 1.0
    intent: Annotated[Intent, choice(Intent)] = Intent.READY
    admin: Annotated[Address | None, or_none(read_backend_address)] = None

    def backend(self) -> Backend:
        return Backend(self.name, self.address, self.weight, self.intent, self.admin)


class HealthSettings(Section):
    """When a backend counts as down, and when as back."""

    interval: Annotated[float, duration("10ms", "1h")] = 2.0
    timeout: Annotated[float, duration("10ms", "1h")] = 1.0
    fall: Annotated[int, whole_number(1, 100)] = 3
    rise: Annotated[int, whole_number(1, 100)] = 2
    max_down_share: Annotated[float, share()] = 0.5
    hold_down: Annotated[float, duration("0s", "5m")] = 10.0  # HealthPolicy.LONGEST_HOLD_DOWN

    def policy(self) -> HealthPolicy:
        return HealthPolicy(
            interval=self.interval,
            timeout=self.timeout,
            fall=self.fall,
            rise=self.rise,
            max_down_share=self.max_down_share,
            hold_down=self.hold_down,
        )


class TimeoutSettings(Section):
    """How long the router waits for others."""

    connect: Annotated[float, duration("10ms", "1h")] = 1.0
    exchange: Annotated[float, duration("1s", "1h")] = 8.0  # clients give up at 10 s (protocol.md 7)
    # A model of pydantic's has a method `copy`, so the key's name cannot be the attribute's.
    copying: Annotated[float, duration("10ms", "1h"), Field(alias="copy")] = 0.25
    client_idle: Annotated[float, duration("20s", "24h")] = 60.0  # protocol.md 10.1.6
    backend_idle: Annotated[
        float, duration_below("10ms", "15s", "when stock servers hang up")  # protocol.md 10.1.6
    ] = 10.0
    shutdown: Annotated[float, duration("10ms", "1h")] = 30.0


class LimitSettings(Section):
    """How much the router takes on."""

    connections: Annotated[int, whole_number(1, 1_000_000)] = 10_000
    per_client: Annotated[int, whole_number(1, 1_000_000)] = 1000
    body: Annotated[int, size("1B", "1GiB")] = 64 * MEBIBYTE
    body_memory: Annotated[int, size("1MiB", "1TiB")] = 256 * MEBIBYTE
    per_backend_connections: Annotated[int, whole_number(1, 65_535)] = 256
    ledger: Annotated[int, whole_number(1, 100_000_000)] = 1_000_000


Credential = Annotated[str | None, BeforeValidator(read_secret), Field(repr=False)]


class StoreTls(Section):
    """TLS to the engine, by files in PEM."""

    ca: Annotated[str | None, BeforeValidator(read_text)] = None
    certificate: Annotated[str | None, BeforeValidator(read_text)] = None
    key: Annotated[str | None, BeforeValidator(read_text)] = None

    def tls(self) -> Tls:
        return Tls(self.ca, self.certificate, self.key)


class StoreSentinel(Section):
    """Sentinels that know the primary."""

    name: Name
    addresses: Annotated[tuple[EngineAddress, ...], AfterValidator(refuse_no_address)]
    user: Annotated[str, BeforeValidator(read_text)] = ""
    password: Credential = None

    def group(self) -> SentinelGroup:
        return SentinelGroup(self.name, self.addresses, Credentials(self.user, self.password or ""))


class StoreTimeouts(Section):
    """How long the engine is waited for."""

    connect: Annotated[float, duration("10ms", "10s")] = 1.0
    answer: Annotated[float, duration("100ms", "10s")] = 1.0


class StoreSettings(Section):
    """Sessions on an engine. Exactly one of `primary`, `sentinel` and `cluster` says where."""

    engine: Annotated[Engine, choice(Engine)] = Engine.VALKEY
    primary: Annotated[Address | None, BeforeValidator(read_engine_address)] = None
    sentinel: StoreSentinel | None = None
    cluster: tuple[EngineAddress, ...] = ()
    user: Annotated[str, BeforeValidator(read_text)] = ""
    password: Credential = None
    tls: Annotated[StoreTls | None, BeforeValidator(lambda value: None if value == "none" else value)] = None
    database: Annotated[int, whole_number(0, 1_000_000)] = 0
    prefix: Annotated[str, BeforeValidator(read_prefix)] = "aspnet:"
    acknowledge: Annotated[Acknowledge, choice(Acknowledge)] = Acknowledge.REPLICAS
    otherwise: Annotated[Otherwise, choice(Otherwise)] = Otherwise.DEGRADED
    connections: Annotated[int, whole_number(1, 16)] = 2
    timeouts: StoreTimeouts = StoreTimeouts()


class HealSettings(Section):
    """How missing copies are restored."""

    rate: Annotated[int, whole_number(1, 100_000)] = 500


class Settings(Section):
    """Everything that can be configured.

    Sessions are on `backends`, or on `embedded` state servers, or on the engine of a `store`.
    """

    name: Name = "router-1"
    listen: Annotated[tuple[Address, ...], BeforeValidator(read_listen_addresses)] = (
        Address("127.0.0.1", 42424),
    )
    admin: Annotated[Address, BeforeValidator(read_address)] = Address("127.0.0.1", 9424)
    # Left out of the settings' repr: it is a password.
    admin_token: Annotated[str | None, BeforeValidator(read_token), Field(repr=False)] = None
    admin_token_file: Annotated[TokenFile | None, BeforeValidator(read_token_file)] = None
    backend_token_file: Annotated[TokenFile | None, BeforeValidator(read_token_file)] = None
    admin_allow: Annotated[tuple[AllowedNetwork, ...], AfterValidator(refuse_empty)] = LOOPBACK
    copies: Annotated[int | None, whole_number(1, 64)] = None
    lost_sessions: Annotated[LostSessions, choice(LostSessions)] = LostSessions.NEW
    lost_after: Annotated[float, duration("1s", "24h")] = 60.0
    hash_key: Annotated[HashKey, choice(HashKey)] = HashKey.SESSION_ID
    allow_clients: Annotated[tuple[AllowedNetwork, ...], AfterValidator(refuse_empty)] = LOOPBACK
    session_timeout: Annotated[float, duration("1s", "366d")] = 3600.0
    session_timeout_max: Annotated[float, duration("1s", "366d")] = 86_400.0
    state_dir: Annotated[Path | DefaultStateDir | None, or_none(read_directory)] = (
        DefaultStateDir.BY_ENVIRONMENT
    )
    log_format: Annotated[LogFormat, choice(LogFormat)] = LogFormat.CONSOLE
    log_level: Annotated[LogLevel, choice(LogLevel)] = LogLevel.INFO
    fast_path: Annotated[Switch, choice(Switch)] = Switch.ON
    embedded: Annotated[int | None, whole_number(1, 64)] = None
    backends: tuple[BackendSettings, ...] = ()
    store: StoreSettings | None = None
    workers: Annotated[int, whole_number(1, 64)] = 1
    health: HealthSettings = HealthSettings()
    timeouts: TimeoutSettings = TimeoutSettings()
    limits: LimitSettings = LimitSettings()
    heal: HealSettings = HealSettings()

    def listens_at(self) -> str:
        """Where web servers connect to, as people write it."""
        return ", ".join(map(str, self.listen))

    def listens_for_others(self) -> bool:
        """Whether another machine may reach one of these addresses."""
        return not all(each.is_loopback for each in self.listen)

    def operators_token(self) -> str | None:
        """The token of the admin address, wherever it stands."""
        return self.admin_token if self.admin_token_file is None else self.admin_token_file.token

    def backends_token(self) -> str | None:
        """The token for the listings of state servers of our own."""
        return None if self.backend_token_file is None else self.backend_token_file.token

    def copies_kept(self) -> int:
        """How many servers shall hold a session: what is written, or 2 where there are as many servers."""
        return self.copies if self.copies is not None else min(2, len(self.weights()))

    def store_policy(self) -> StorePolicy | None:
        """How the engine of the store is used; None where sessions are on state servers."""
        store = self.store
        if store is None:
            return None
        loses = self.lost_sessions if "lost_sessions" in self.model_fields_set else LostSessions.CLOSE
        return StorePolicy(
            primary=store.primary,
            sentinel=None if store.sentinel is None else store.sentinel.group(),
            cluster=store.cluster,
            engine=store.engine,
            credentials=Credentials(store.user, store.password or ""),
            tls=None if store.tls is None else store.tls.tls(),
            database=store.database,
            prefix=store.prefix.encode(),
            acknowledge=store.acknowledge,
            otherwise=store.otherwise,
            lost_sessions=loses,
            connections=store.connections,
            connect_timeout=store.timeouts.connect,
            answer_timeout=store.timeouts.answer,
            waiting_memory=self.limits.body_memory,
        )

    def largest_body(self) -> int:
        """`limits.body`, of which the default is less with a store: a long save holds the engine up."""
        if self.store is not None and "body" not in self.limits.model_fields_set:
            return LARGEST_BODY_OF_A_STORE
        return self.limits.body

    def pool_backends(self) -> tuple[Backend, ...]:
        """The listed backends, in the order of the file; none where the pool is embedded."""
        return tuple(each.backend() for each in self.backends)

    def embedded_names(self) -> tuple[str, ...]:
        """The names of the in-process state servers, state-1 and up; none where backends are listed."""
        return tuple(f"state-{number}" for number in range(1, (self.embedded or 0) + 1))

    def weights(self) -> dict[str, float]:
        """The weight of every server of the pool by name, listed or embedded, whatever its intent."""
        return dict.fromkeys(self.embedded_names(), 1.0) | {each.name: each.weight for each in self.backends}

    def ready_weights(self) -> dict[str, float]:
        """The weights of the servers that sessions are placed on while all of them are well."""
        idle = {each.name for each in self.backends if each.intent is not Intent.READY}
        return {name: weight for name, weight in self.weights().items() if name not in idle}

    def ranking(self) -> Ranking:
        """What ranks the whole pool for a session. Intent and health only filter it (design.md 4)."""
        return Ranking(self.weights())
