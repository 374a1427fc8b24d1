"""A router of which a test says how its servers fare, for the verbs that look again and again."""

from dataclasses import dataclass, field, replace

from partitioner.cli.admin_client import NoRouterAnswers
from partitioner.ops.admin.reports import BackendReport, Status
from tests.ops.admin.pages import backend_report, drain_report, status_of

NAMES = ("state-1", "state-2", "state-3")


@dataclass
class RolledRouter:
    """Carries orders out at once; a server that was restarted is back after so many looks, then redundant."""

    copies: int = 2
    looks_until_back: int = 3
    looks_until_redundant: int = 3
    names: tuple[str, ...] = NAMES
    orders: list[tuple[str, str]] = field(default_factory=list)
    intents: dict[str, str] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    standby_because: str | None = None
    silent_looks: int = 0  # for so many looks no router answers
    _back_in: dict[str, int] = field(default_factory=dict)
    _redundant_in: int = 0

    def status(self) -> Status:
        if self.silent_looks:
            self.silent_looks -= 1
            raise NoRouterAnswers("no router answers at http://nowhere")
        backends = tuple(self._backend(name) for name in self.names)
        if all(each.serves for each in backends):
            self._redundant_in = max(0, self._redundant_in - 1)
        is_redundant = self.copies > 1 and self._is_redundant and all(each.serves for each in backends)
        return replace(
            status_of(*backends),
            copies=self.copies,
            standby_because=self.standby_because,
            redundant_since=1.0 if is_redundant else None,
            not_redundant=() if is_redundant else ("a server was restarted",),
        )

    def set_intent(self, name: str, intent: str) -> BackendReport:
        self.orders.append((intent, name))
        if intent == "ready":
            self._back_in[name] = self.looks_until_back
            self._redundant_in = self.looks_until_redundant
        self.intents[name] = intent
        return self._backend(name)

    @property
    def _is_redundant(self) -> bool:
        return self._redundant_in == 0

    def _backend(self, name: str) -> BackendReport:
        intent = self.intents.get(name, "ready")
        left = self._back_in.get(name, 0)
        self._back_in[name] = max(0, left - 1)
        is_up = left == 0 and name not in self.down
        is_safe = self._is_redundant and self.copies > 1
        return replace(
            backend_report(name),
            intent=intent,
            health="up" if is_up else "down" if name in self.down else "unknown",
            serves=is_up and intent == "ready",
            safe_to_stop=is_safe,
            not_safe_to_stop=() if is_safe else ("a server was restarted",),
            drain=drain_report(name, 10, 0) if intent == "drain" else None,
        )
