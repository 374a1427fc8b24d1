"""Addresses, as the operator writes them (protocol.md 8.3, design.md 9.2)."""

import pytest

from partitioner.membership.backend import Address, Backend, parse_address
from tests.tables import each_case

ADDRESSES = [
    ("10.0.0.11:42424", Address("10.0.0.11", 42424)),
    ("localhost:42424", Address("localhost", 42424)),
    ("state-1.example.com:1", Address("state-1.example.com", 1)),
    ("[::1]:42424", Address("::1", 42424)),
    ("[fe80::1%eth0]:42424", Address("fe80::1%eth0", 42424)),
    ("0.0.0.0:0", Address("0.0.0.0", 0)),
    ("host:65535", Address("host", 65535)),
]

NO_ADDRESSES = [
    "",
    "host",
    "host:",
    ":42424",
    "[]:42424",
    "::1:42424",
    "::1",
    "[::1]",
    "[::1:42424",
    "::1]:42424",
    "host:port",
    "host:-1",
    "host:+1",
    "host: 1",
    "host:1 ",
    "host:1.0",
    "host:٤٢",
    "host:65536",
    "tcpip=a:b:42424",
]


@each_case(("text", "address"), ADDRESSES)
def test_address_is_read(text: str, address: Address) -> None:
    """An address is `host:port`, with brackets around an IPv6 address."""
    assert address == parse_address(text)


@each_case(("text", "address"), ADDRESSES)
def test_address_is_written_as_it_is_read(text: str, address: Address) -> None:
    """An address looks in logs as it does in the configuration."""
    assert text == str(address)


@each_case("text", NO_ADDRESSES)
def test_no_address_is_refused(text: str) -> None:
    """Whatever else is refused, with a sentence that shows it."""
    with pytest.raises(ValueError) as refused:
        parse_address(text)

    assert repr(text) in str(refused.value)


def test_backend_reads_as_a_status_line() -> None:
    """A backend is shown by its name, and where it lives."""
    expected = "state-1 ([::1]:42424)"

    assert expected == str(Backend("state-1", Address("::1", 42424)))
