"""Which connections a port takes."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.stream.accept import connections_max
from candled.stream.admission import Admission, ConnectionLimits, RefusedError, Ticket, address_of


def refused_by(admission: Admission, address: str) -> str | None:
    try:
        admission.admit(address)
    except RefusedError as error:
        return str(error)
    return None


def test_one_address_cannot_have_everything() -> None:
    """One address is refused beyond its own limit while others are admitted, up to the limit of all."""
    admission = Admission(ConnectionLimits(total=3, per_address=2))
    asked = ["a", "a", "a", "b", "c"]
    assert [refused_by(admission, each) for each in asked] == [None, None, "per_address", None, "total"]
    statistics = admission.statistics()
    assert statistics.open == 3
    assert {name: count for name, count in statistics.refused.items() if count} == {"per_address": 1, "total": 1}


def test_silent_connections_have_less_room() -> None:
    """Connections that have said nothing yet have limits of their own; those that spoke leave them."""
    admission = Admission(ConnectionLimits(pending=3, pending_per_address=2))
    first, _second = admission.admit("a"), admission.admit("a")
    assert refused_by(admission, "a") == "pending_per_address"
    first.settle()
    assert refused_by(admission, "a") is None
    assert (refused_by(admission, "b"), refused_by(admission, "c")) == (None, "pending")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["admit", "settle", "close"])), max_size=60))
def test_counts_never_exceed_limits(steps: list[tuple[str, str]]) -> None:
    """However connections come, speak and go, the counts are those of the tickets, within every limit."""
    limits = ConnectionLimits(total=5, per_address=3, pending=3, pending_per_address=2)
    admission = Admission(limits)
    tickets: dict[str, list[Ticket]] = {"a": [], "b": [], "c": []}
    spoken: list[Ticket] = []
    for address, step in steps:
        if step == "admit":
            try:
                tickets[address].append(admission.admit(address))
            except RefusedError:
                continue
        elif tickets[address] and step == "settle":
            spoken.append(tickets[address][0])
            tickets[address][0].settle()
        elif tickets[address]:
            for _ in range(2):  # closing twice counts once
                tickets[address][0].close()
            del tickets[address][0]
        alive = [ticket for each in tickets.values() for ticket in each]
        statistics = admission.statistics()
        assert statistics.open == len(alive) <= limits.total
        assert statistics.pending == len([each for each in alive if each not in spoken]) <= limits.pending
        assert all(len(each) <= limits.per_address for each in tickets.values())


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::"),
        ("", ""),
    ],
)
def test_addresses_of_one_client(peer: object, address: str) -> None:
    """A connection counts for its IPv4 address, or for the IPv6 network that one client has to itself."""
    assert address_of(peer) == address


@pytest.mark.parametrize(
    ("soft", "expected"), [(resource.RLIM_INFINITY, 1000), (65_536, 1000), (392, 100), (20, 1)]
)
def test_descriptors_bound_connections(monkeypatch: pytest.MonkeyPatch, soft: int, expected: int) -> None:
    """Where the process may open few files, some are kept from clients for the history and the exchange."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (soft, soft))
    assert connections_max(1000, 0.5) == expected
