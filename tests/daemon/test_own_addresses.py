"""Backends that turn out to be the router itself once their names are looked up."""

import socket
from typing import Any

import pytest
import trio

from partitioner.config import parse
from partitioner.daemon.own_addresses import backends_that_lead_here, is_own
from tests.tables import each_case

ELSEWHERE = "192.0.2.1"  # kept for documentation: no machine has it
NAMES = {"farm-1": "127.0.0.1", "state-1.example": ELSEWHERE}


@pytest.fixture
def name_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that knows these names alone."""
    ask = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **more: Any) -> Any:
        if more["flags"] & socket.AI_NUMERICHOST or host not in NAMES:
            return ask(host, *arguments, **{**more, "flags": socket.AI_NUMERICHOST})
        return ask(NAMES[host], *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@each_case(
    ("listen", "admin", "address", "problems"),
    [
        ("0.0.0.0:7", "127.0.0.1:8", "farm-1:7", "'farm-1:7' is where the router itself"),
        ("127.0.0.1:7", "127.0.0.1:8", "farm-1:7", "'farm-1:7' is where the router itself"),
        ("farm-1:7", "127.0.0.1:8", "127.0.0.1:7", "'127.0.0.1:7' is where the router itself"),
        ("0.0.0.0:7", "127.0.0.1:8", "farm-1:8", "'farm-1:8' is the router's admin address"),
        ("0.0.0.0:7", "127.0.0.1:8", "farm-1:9", ""),
        ("0.0.0.0:7", "127.0.0.1:8", "state-1.example:7", ""),
        ("0.0.0.0:7", "127.0.0.1:8", "unknown.example:7", ""),
    ],
)  # fmt: skip
def test_who_leads_here(listen: str, admin: str, address: str, problems: str, name_service: None) -> None:
    """Names are looked up; one that is not known is no problem of this kind."""
    settings = parse(f"listen: '{listen}'\nadmin: '{admin}'\nbackends: [{{name: a, address: '{address}'}}]\n")
    found = "; ".join(str(each) for each in trio.run(backends_that_lead_here, settings))

    assert problems in found
    assert bool(problems) == bool(found)


def test_own_addresses() -> None:
    """Loopback is, and an address that no machine has is not, whatever way leads there."""
    assert [True, True, False] == [is_own(host) for host in ("127.0.0.1", "127.8.9.10", ELSEWHERE)]
