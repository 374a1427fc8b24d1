"""What the scripts do, in Python: for a model of an engine, which has no Lua.

tests/store/test_scripts_model.py holds it to a real engine, reply by reply and record by record.
"""

import re
from dataclasses import dataclass, replace
from struct import Struct

from partitioner.store.scripts import ABSENT, FOREIGN, LATE, NO_COOKIE, NO_ID, PRESENT, UNCLEAR

HEADER = Struct("<Biid8s8s8s")
UNINITIALIZED, LOCKED = 1, 2
LARGEST_COOKIE = 2147483645
CLOCKS_DIFFER = 250  # milliseconds

Reply = int | bytes | list[object] | None


@dataclass(frozen=True)
class Item:
    """What an engine has under a name."""

    value: bytes
    expires_at: float | None = None  # milliseconds


Items = dict[bytes, Item]


@dataclass(frozen=True)
class Record:
    """A session."""

    flags: int
    minutes: int
    cookie: int
    since: float
    lock_id: bytes
    first_id: bytes
    write_id: bytes
    body: bytes

    def item(self, now: float) -> Item:
        """It slides: its time begins anew."""
        head = HEADER.pack(
            *(self.flags, self.minutes, self.cookie, self.since, self.lock_id, self.first_id, self.write_id)
        )
        return Item(head + self.body, now + self.minutes * 60_000 if self.minutes else None)


def read_record(value: bytes) -> Record:
    flags, minutes, cookie, since, lock_id, first_id, write_id = HEADER.unpack_from(value)
    return Record(flags, minutes, cookie, since, lock_id, first_id, write_id, value[HEADER.size :])


@dataclass(frozen=True)
class Arguments:
    """What every script takes, and its own ones."""

    until: int
    again: bool
    began: int
    own: list[bytes]


def run(script: str, items: Items, name: bytes, given: list[bytes], now: float) -> Reply:
    """Carry a script out on one item; `now` is in milliseconds."""
    arguments = Arguments(int(given[0]), given[1] == b"1", int(given[2]), given[3:])
    if now > arguments.until:
        return LATE
    item = items.get(name)
    found: Record | None = None
    if item is not None:
        if len(item.value) < HEADER.size:
            return FOREIGN
        found = read_record(item.value)
        if found.flags > LOCKED or not 0 <= found.minutes <= 525600 or found.cookie < -1:
            return FOREIGN
    return _Run(items, name, found, arguments, now).carry_out(script)


class _Run:
    def __init__(
        self, items: Items, name: bytes, found: Record | None, arguments: Arguments, now: float
    ) -> None:
        self.items = items
        self.name = name
        self.found = found
        self.arguments = arguments
        self.now = now

    def carry_out(self, script: str) -> Reply:
        own, found = self.arguments.own, self.found
        if script == "insert":
            return self.insert(*own)
        if found is None:
            return self.miss(script)
        match script:
            case "get":
                return self.get(found, *own)
            case "acquire":
                return self.acquire(found, *own)
            case "release":
                return self.release(found, *own)
            case "set":
                return self.set(found, *own)
            case "remove":
                return self.remove(found, *own)
            case "create" | "reset":
                self.store(found)
                return 200
            case "unlock":
                if found.flags == LOCKED and found.lock_id == own[0]:
                    self.change(replace(found, flags=int(found.first_id == own[0])))
                return 200
            case "free":
                is_older = found.since <= self.arguments.began
                if found.flags == LOCKED and found.cookie == int(own[0]) and is_older:
                    self.change(replace(found, flags=0))
                return 200
        raise AssertionError(script)

    def miss(self, script: str) -> Reply:
        match script:
            case "set":
                return UNCLEAR if self.arguments.again and self.arguments.own[2] != b"0" else ABSENT
            case "create":
                return ABSENT
            case "remove":
                return 200 if self.arguments.again else 404
        return 404

    # --- what several of them do ---

    def store(self, record: Record) -> None:
        self.items[self.name] = record.item(self.now)

    def change(self, record: Record) -> None:
        """The same without sliding."""
        self.items[self.name] = replace(record.item(self.now), expires_at=self.items[self.name].expires_at)

    def take_flag(self, found: Record, request_id: bytes) -> tuple[Record, int]:
        if found.flags != UNINITIALIZED:
            return found, int(found.first_id == request_id)
        return replace(found, flags=0, first_id=request_id), 1

    def locked(self, found: Record, first: int) -> Reply:
        return [423, first, int(max(0, self.now - found.since)), found.cookie, int(found.since)]

    def taken_since(self, found: Record) -> bool:
        return self.arguments.again and found.since > self.arguments.began + CLOCKS_DIFFER

    def followed(self, found: Record) -> bool:
        return self.arguments.again and found.since + CLOCKS_DIFFER >= self.arguments.began

    # --- the scripts ---

    def get(self, found: Record, request_id: bytes) -> Reply:
        taken, first = self.take_flag(found, request_id)
        self.store(taken)
        if found.flags == LOCKED:
            return self.locked(found, first)
        return [200, first, NO_COOKIE, found.minutes, found.body]

    def acquire(self, found: Record, request_id: bytes) -> Reply:
        self.store(found)
        if found.flags == LOCKED:
            if found.lock_id != request_id:
                return self.locked(found, 0)
        else:
            found = replace(
                found,
                flags=LOCKED,
                cookie=found.cookie + 1 if found.cookie < LARGEST_COOKIE else 2,
                since=self.now,
                lock_id=request_id,
                first_id=request_id if found.flags == UNINITIALIZED else found.first_id,
            )
            self.store(found)
        return [200, int(found.first_id == request_id), found.cookie, found.minutes, found.body]

    def release(self, found: Record, cookie: bytes, request_id: bytes) -> Reply:
        taken, first = self.take_flag(found, request_id)
        self.store(taken)
        if cookie == b"":
            return [400, first]
        if found.flags == LOCKED:
            if int(cookie) != found.cookie:
                return [200, first] if self.followed(found) else self.locked(found, first)
            if not self.taken_since(found):
                self.store(replace(taken, flags=0))
        return [200, first]

    def set(self, found: Record, request_id: bytes, minutes: bytes, cookie: bytes, body: bytes) -> Reply:
        if found.write_id == request_id:
            self.store(found)
            return 200
        if found.flags == LOCKED:
            if cookie == b"" or int(cookie) != found.cookie:
                self.store(found)
                return UNCLEAR if self.followed(found) else self.locked(found, 0)
            if self.taken_since(found):
                return UNCLEAR
        elif self.arguments.again:
            return UNCLEAR
        is_same = int(minutes) == found.minutes
        flags = UNINITIALIZED if is_same and found.flags == UNINITIALIZED else 0
        kept = found.cookie if is_same else (-1 if cookie == b"" else int(cookie))
        self.store(Record(flags, int(minutes), kept, 0, NO_ID, found.first_id, request_id, body))
        return 200

    def insert(self, request_id: bytes, minutes: bytes, cookie: bytes, body: bytes, flags: bytes) -> Reply:
        if self.found is not None:
            return 200 if self.found.write_id == request_id else PRESENT
        if self.arguments.again and cookie != b"0":
            return UNCLEAR
        self.store(Record(int(flags), int(minutes), 1, 0, NO_ID, NO_ID, request_id, body))
        return 200

    def remove(self, found: Record, cookie: bytes) -> Reply:
        if found.flags == LOCKED:
            if cookie == b"" or int(cookie) != found.cookie:
                self.store(found)
                return 200 if self.followed(found) else self.locked(found, 0)
            if self.taken_since(found):
                return 200
        elif self.arguments.again:
            return UNCLEAR
        del self.items[self.name]
        return 200


_COUNTED = re.compile(rb"([0-9a-f]+):([0-9]+):([0-9a-f.]*)(.*)", re.DOTALL)


def advance(items: Items, name: bytes, step: bytes) -> bytes | None:
    """Count the canary up."""
    item = items.get(name)
    if item is None:
        return None
    match = _COUNTED.fullmatch(item.value)
    if match is None:
        return item.value
    token, number, steps, rest = match.groups()
    steps = (step + b"." + steps)[: 32 * 7 - 1]
    advanced = b"%b:%d:%b%b" % (token, int(number) + 1, steps, rest)
    items[name] = Item(advanced)
    return advanced
