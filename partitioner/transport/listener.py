"""The side towards web servers: accepts connections and holds a conversation on each."""

import socket
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import Protocol

import trio

from partitioner.membership.backend import Network
from partitioner.membership.fencing import RouterConnection
from partitioner.transport.channel import Channel, socket_channel
from partitioner.transport.client_connection import Conversation, ConversationPolicy, Opening
from partitioner.transport.limits import ConnectionLimit
from partitioner.transport.messages import Responder
from partitioner.transport.observer import Observer
from partitioner.transport.slices import AT_A_TIME

_BREATHER = 0.1
"""Seconds to wait before accepting again after the system could not, mostly for want of files."""


@dataclass(frozen=True, slots=True)
class DownstreamPolicy:
    """Who may connect, how many at once, and how they are talked to."""

    allow: tuple[Network, ...]
    connections: int
    conversation: ConversationPolicy
    per_client: int | None = None  # of these connections, from one address; None: all of them


class ClientHandoff(Protocol):
    """What the fast path needs of the side towards web servers."""

    def converse(self, connected: socket.socket, peer: str, opening: Opening) -> None:
        """Serve a client here until its exchange is over, and then give it back."""

    def client_left(self, peer: str) -> None:
        """A client's connection has been closed."""


class FastPath(Protocol):
    """Another way of serving clients, to which they are given between exchanges."""

    @property
    def clients(self) -> int:
        """How many it serves."""

    @property
    def exchanges_under_way(self) -> int:
        """How many of them wait for an answer."""

    def take(self, connected: socket.socket, peer: str, router: RouterConnection | None = None) -> None:
        """Serve a client from now on; it has a place. `router` is what a state server remembers of it."""

    async def run(self, client_handoff: ClientHandoff) -> None:
        """Serve the clients that there are, until it is stopped and the last client has left."""

    def stop(self) -> None:
        """Close idle connections, and let the others finish their exchange."""

    def close_idle(self) -> None:
        """Close idle connections, and go on serving."""


class Downstream:
    """Serves the clients of one responder until it is stopped."""

    def __init__(
        self,
        responder: Responder,
        policy: DownstreamPolicy,
        observer: Observer,
        fast_path: FastPath | None = None,
    ) -> None:
        """Clients are given to the fast path if there is one, and come from there for single exchanges."""
        self._fast_path = fast_path
        self._nursery: trio.Nursery | None = None  # while it serves
        self._responder = responder
        self._policy = policy
        self._observer = observer
        self._places = ConnectionLimit(policy.connections)
        self._connections_of: Counter[str] = Counter()  # by the client's address
        self._accepting = trio.CancelScope()
        self._listeners: tuple[trio.SocketListener, ...] = ()
        self._conversations: set[Conversation] = set()
        self._handed_over: deque[tuple[Conversation, _Returned]] = deque()  # whose tasks have yet to begin
        self._beginning = 0  # tasks that begin at this turn of the loop, or the next one

    def __repr__(self) -> str:
        return f"<Downstream, {self.connections} clients>"

    async def serve(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Accept and serve; return when stopped, after the last exchange has ended."""
        self._listeners = tuple(listeners)
        try:
            async with trio.open_nursery() as conversations:
                self._nursery = conversations
                if self._fast_path is not None:
                    conversations.start_soon(self._fast_path.run, self)
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, conversations)
        finally:
            self._close_listeners()

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._conversations) + (self._fast_path.clients if self._fast_path is not None else 0)

    @property
    def most_connections(self) -> int:
        """How many there may be."""
        return self._policy.connections

    @property
    def exchanges_under_way(self) -> int:
        """How many clients wait for an answer."""
        here = sum(conversation.is_busy for conversation in self._conversations)
        return here + (self._fast_path.exchanges_under_way if self._fast_path is not None else 0)

    @property
    def allowed(self) -> tuple[Network, ...]:
        """From where new connections are taken."""
        return self._policy.allow

    def adopt(self, policy: DownstreamPolicy) -> None:
        """From now on take connections by this policy, and talk by it; open connections stay."""
        self._policy.conversation.become(policy.conversation)
        self._policy = replace(policy, conversation=self._policy.conversation)
        self._places.resize(policy.connections)

    def allow(self, networks: tuple[Network, ...]) -> None:
        """From now on take new connections from these networks; open ones stay."""
        self._policy = replace(self._policy, allow=networks)

    @property
    def is_serving(self) -> bool:
        """Whether clients are accepted."""
        return bool(self._listeners) and not self.is_stopping

    @property
    def is_stopping(self) -> bool:
        return self._accepting.cancel_called

    def stop(self) -> None:
        """Accept no more clients, close idle connections, and let the others finish their exchange."""
        self._accepting.cancel()
        self._close_listeners()
        self._end_conversations()
        if self._fast_path is not None:
            self._fast_path.stop()

    def close_idle(self) -> None:
        """Close idle connections, and go on serving: clients connect anew, perhaps to another router."""
        self._end_conversations()
        if self._fast_path is not None:
            self._fast_path.close_idle()

    def _end_conversations(self) -> None:
        for conversation in tuple(self._conversations):
            conversation.end_when_idle()

    def break_off(self, reason: str) -> None:
        """Close all conversations now, with the exchanges that are under way in them."""
        for conversation in tuple(self._conversations):
            conversation.break_off(reason)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.socket.close()

    async def _accept(self, listener: trio.SocketListener, conversations: trio.Nursery) -> None:
        while True:
            if not self._places.free:
                self._observer.clients_filled_up(self._policy.connections)
            await self._places.take()
            try:
                stream = await listener.accept()
            except trio.ClosedResourceError:
                return  # stopped
            except OSError as error:
                self._places.give_back()
                self._observer.accepting_failed(error.strerror or str(error))
                await trio.sleep(_BREATHER)
                continue
            except BaseException:
                self._places.give_back()
                raise
            conversations.start_soon(self._converse, stream)

    async def _converse(self, stream: trio.SocketStream) -> None:
        """Serve a newly accepted client, here or on the fast path."""
        channel = self._admit(stream)
        if channel is None:
            self._places.give_back()
            return
        self._connections_of[channel.peer] += 1
        if self._fast_path is not None:
            self._give_away(channel)
            return
        try:
            policy = self._policy.conversation
            await self._talk(Conversation(channel, self._responder, policy, self._observer))
        finally:
            self.client_left(channel.peer)

    def _admit(self, stream: trio.SocketStream) -> Channel | None:
        """The client's channel; None if it is not to be talked with, and has been closed."""
        peer = _peer_host(stream)
        if peer is None:
            stream.socket.close()  # it has left already
            return None
        if self.is_stopping:  # in the very moment of accepting
            stream.socket.close()
            return None
        refusal = self._maybe_refuse(peer)
        if refusal is not None:
            self._observer.client_turned_away(peer, refusal)
            stream.socket.close()
            return None
        try:
            return socket_channel(stream.socket, peer)
        except OSError:
            stream.socket.close()  # reset since; some systems refuse any option on it then
            return None

    async def _talk(self, conversation: Conversation) -> None:
        self._conversations.add(conversation)
        try:
            await conversation.run()
        finally:
            self._conversations.discard(conversation)

    # --- clients of the fast path ---

    def converse(self, connected: socket.socket, peer: str, opening: Opening) -> None:
        """Serve a client here until its exchange is over, and then give it back."""
        assert self._nursery is not None  # there are clients only while it runs
        policy, channel = self._policy.conversation, socket_channel(connected, peer)
        returned = _Returned()
        conversation = Conversation(channel, self._responder, policy, self._observer, opening, returned.take)
        self._conversations.add(conversation)  # from now on, and not only when its task begins
        if self.is_stopping:
            conversation.end_when_idle()
        self._handed_over.append((conversation, returned))
        self._begin_some()

    def _begin_some(self) -> None:
        """Many may be handed over at one moment: a few begin at each turn of the loop, in their order."""
        assert self._nursery is not None
        while self._handed_over and self._beginning < AT_A_TIME:
            self._beginning += 1
            self._nursery.start_soon(self._converse_once, *self._handed_over.popleft())

    def client_left(self, peer: str) -> None:
        """A client's connection has been closed."""
        self._places.give_back()
        self._connections_of[peer] -= 1
        if not self._connections_of[peer]:
            del self._connections_of[peer]

    async def _converse_once(self, conversation: Conversation, returned: "_Returned") -> None:
        self._beginning -= 1
        self._begin_some()
        try:
            await self._talk(conversation)
        finally:
            if returned.channel is None:
                self.client_left(conversation.peer)
            else:
                self._give_away(returned.channel, conversation.router)

    def _give_away(self, channel: Channel, router: RouterConnection | None = None) -> None:
        """Have the fast path serve this client from now on. Its place goes with it."""
        assert self._fast_path is not None
        connected = channel.maybe_detach()
        assert connected is not None  # it has come over a socket
        self._fast_path.take(connected, channel.peer, router)

    def _maybe_refuse(self, peer: str) -> str | None:
        """Why a client is turned away, if it is."""
        if not self._is_allowed(peer):
            return "its address is not in allow_clients"
        most = self._policy.per_client
        if most is not None and self._connections_of[peer] >= most:
            return f"it has {most} connections already, which is limits.per_client"
        return None

    def _is_allowed(self, peer: str) -> bool:
        address = ip_address(peer)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._policy.allow)


class _Returned:
    """Holds a connection that its conversation gives back between two exchanges."""

    def __init__(self) -> None:
        self.channel: Channel | None = None

    def take(self, channel: Channel) -> None:
        self.channel = channel


def _peer_host(stream: trio.SocketStream) -> str | None:
    try:
        host: str = stream.socket.getpeername()[0]
    except OSError:
        return None
    return host.partition("%")[0]  # without the zone of a link-local IPv6 address
