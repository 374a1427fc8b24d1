"""The side towards web servers: accepts connections and holds a conversation on each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address

import trio

from partitioner.membership.backend import Network
from partitioner.net.channel import socket_channel
from partitioner.net.conversation import Conversation, ConversationPolicy
from partitioner.net.observer import Observer
from partitioner.net.responder import Responder

_BREATHER = 0.1
"""Seconds to wait before accepting again after the system could not, mostly for want of files."""


@dataclass(frozen=True, slots=True)
class DownstreamPolicy:
    """Who may connect, how many at once, and how they are talked to."""

    allow: tuple[Network, ...]
    connections: int
    conversation: ConversationPolicy


class Downstream:
    """Serves the clients of one responder until it is drained."""

    def __init__(self, responder: Responder, policy: DownstreamPolicy, observer: Observer) -> None:
        self._responder = responder
        self._policy = policy
        self._observer = observer
        self._places = trio.Semaphore(policy.connections)
        self._accepting = trio.CancelScope()
        self._listeners: tuple[trio.SocketListener, ...] = ()
        self._conversations: set[Conversation] = set()

    def __repr__(self) -> str:
        return f"<Downstream, {len(self._conversations)} clients>"

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Accept and serve; return when drained, after the last exchange has ended."""
        self._listeners = tuple(listeners)
        try:
            async with trio.open_nursery() as conversations:
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, conversations)
        finally:
            self._close_listeners()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._conversations)

    @property
    def most_connections(self) -> int:
        """How many there may be."""
        return self._policy.connections

    @property
    def exchanges_under_way(self) -> int:
        """How many clients wait for an answer."""
        return sum(conversation.is_busy for conversation in self._conversations)

    @property
    def allowed(self) -> tuple[Network, ...]:
        """From where new connections are taken."""
        return self._policy.allow

    def allow(self, networks: tuple[Network, ...]) -> None:
        """From now on take new connections from these networks; open ones stay."""
        self._policy = replace(self._policy, allow=networks)

    @property
    def is_serving(self) -> bool:
        """Whether clients are accepted."""
        return bool(self._listeners) and not self.is_draining

    @property
    def is_draining(self) -> bool:
        return self._accepting.cancel_called

    def drain(self) -> None:
        """Accept nobody any more, close idle connections, and let the others finish their exchange."""
        self._accepting.cancel()
        self._close_listeners()
        for conversation in tuple(self._conversations):
            conversation.end_when_idle()

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.socket.close()

    async def _accept(self, listener: trio.SocketListener, conversations: trio.Nursery) -> None:
        while True:
            try:
                self._places.acquire_nowait()
            except trio.WouldBlock:
                self._observer.clients_filled_up(self._policy.connections)
                await self._places.acquire()
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return  # drained
            except OSError as error:
                self._places.release()
                self._observer.accepting_failed(error.strerror or str(error))
                await trio.sleep(_BREATHER)
                continue
            except BaseException:
                self._places.release()
                raise
            conversations.start_soon(self._converse, stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            peer = _peer_host(stream)
            if peer is None:
                stream.socket.close()  # it has left already
                return
            if self.is_draining:  # in the very moment of accepting
                stream.socket.close()
                return
            if not self._is_allowed(peer):
                self._observer.client_turned_away(peer)
                stream.socket.close()
                return
            try:
                channel = socket_channel(stream.socket, peer)
            except OSError:
                stream.socket.close()  # reset since; some systems refuse any option on it then
                return
            conversation = Conversation(channel, self._responder, self._policy.conversation, self._observer)
            self._conversations.add(conversation)
            try:
                await conversation.run()
            finally:
                self._conversations.discard(conversation)
        finally:
            self._places.release()

    def _is_allowed(self, peer: str) -> bool:
        address = ip_address(peer)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._policy.allow)


def _peer_host(stream: trio.SocketStream) -> str | None:
    try:
        host: str = stream.socket.getpeername()[0]
    except OSError:
        return None
    return host.partition("%")[0]  # without the zone of a link-local IPv6 address
