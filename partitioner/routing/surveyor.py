"""Asks all servers at once whose they are: reads canaries, terms and records (design.md 5.3)."""

from collections.abc import Callable, Iterable

import trio

from partitioner.errors import BackendFailure, MalformedFile
from partitioner.membership.backend import Backend, Intent
from partitioner.membership.items import Term
from partitioner.membership.record import Record
from partitioner.membership.record_format import read_record
from partitioner.membership.survey import Survey, order_of
from partitioner.routing.roster import Roster
from partitioner.transport.authority import Authority
from partitioner.transport.channel import Channel
from partitioner.transport.connector import Connector
from partitioner.transport.observer import Observer

CLAIM_TIMEOUT = 1.0
"""Seconds that a server has to take the term of a claim."""


class Surveyor:
    """Asks the servers of a roster, and plants nothing there but our own term."""

    def __init__(
        self,
        connector: Connector,
        authority: Authority,
        roster: Roster,
        farm: str,
        wall_clock: Callable[[], float],
        observer: Observer,
    ) -> None:
        """`farm` is the configured name; `wall_clock` tells seconds since 1970."""
        self._connector = connector
        self._authority = authority
        self._roster = roster
        self._farm = farm
        self._wall_clock = wall_clock
        self._observer = observer

    async def survey(self, *, records_of: Iterable[Term] | None = None, claims: bool = False) -> Survey:
        """Read canary and term everywhere, and records where `records_of` is given: of these terms as well.

        `claims` writes our own term before the records are read. A server that does not answer within
        CLAIM_TIMEOUT is missing in what is returned.
        """
        survey = Survey()

        async def look(backend: Backend) -> None:
            async def read(channel: Channel) -> None:
                await self._read_all(backend, channel, survey, records_of, claims)

            try:
                channel, _ = await self._connector.look(backend, CLAIM_TIMEOUT, read)
            except BackendFailure as failure:
                survey.failures[backend.identity] = failure.detail
            else:
                channel.close_in_order()

        async with trio.open_nursery() as looking:
            for member in self._roster.pool.members.values():
                if member.backend.intent is not Intent.MAINT:
                    looking.start_soon(look, member.backend)
        return survey

    async def _read_all(
        self,
        backend: Backend,
        channel: Channel,
        survey: Survey,
        records_of: Iterable[Term] | None,
        claims: bool,
    ) -> None:
        items = self._connector.canary
        canary = await items.read(channel)
        found = await items.read_term(channel)
        if claims:
            await self._authority.assert_over(channel, found)
        if records_of is not None:
            for term in sorted({*records_of, *(() if found is None else found.all)}, reverse=True):
                written = await items.read_record(channel, term)
                record = self.maybe_record(written, str(backend))
                if record is not None and order_of(record) >= order_of(survey.records.get(backend.identity)):
                    survey.records[backend.identity] = record
        survey.canaries[backend.identity], survey.terms[backend.identity] = canary, found
        survey.addresses.add(backend.address)

    def maybe_record(self, written: bytes | None, where: str) -> Record | None:
        """Read the record that stands there; None if there is none, or it is set aside, which is reported."""
        if written is None:
            return None
        try:
            return read_record(written, self._farm, round(self._wall_clock() * 1000))
        except MalformedFile as error:
            self._observer.record_set_aside(where, str(error))
            return None
