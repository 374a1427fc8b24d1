"""The rows of protocol.md 6 as server-side scripts: each is atomic and touches one key.

A session is one string, its record: a header of 41 bytes, then the body. A string and not a hash, because
taking a lock then replicates a few bytes (SETRANGE) and not the body, and because it takes less memory.

    flags B | minutes i4 | cookie i4 | locked_at f8 | lock_id 8 | first_id 8 | write_id 8 bytes | body ...

    flags     1: uninitialized; 2: locked; never both, since taking the lock consumes the flag 1
    locked_at milliseconds by the engine's clock
    lock_id   the id of the request that took the lock
    first_id  the id of the request that consumed the flag 1
    write_id  the id of the request that wrote the body

The ids make a request repeatable: one that finds its own id was carried out before, and gets the same answer.

Every script takes

    KEYS[1]   the session        ARGV[1]  until: milliseconds by the engine's clock; later, nothing is done
    ARGV[2]   again: '1' if it may have been carried out already, else '0'
    ARGV[3]   began: when its request came, milliseconds by the engine's clock

and replies with a status (a negative one is no answer, see below), or with a list that begins with one:

    200, 404                                          {200, first, cookie or -2, minutes, body}   get, acquire
    {423, first, age in ms, cookie, locked_at in ms}  {200, first}, {400, first}                  release

where `first` is 1 if this was the first get of an uninitialized session. A session slides with every
operation that finds it (protocol.md 1, fact 9): its expiry is that of its key.

Scripts may run when the engine's memory is full (allow-oom), or nobody could lock or save any more. The
exception is `insert`, which alone adds sessions.
"""

from dataclasses import dataclass
from hashlib import sha1
from struct import Struct

NO_COOKIE = -2
"""Stands where a get says no cookie. -1 is a cookie: what row 18 leaves behind."""

LATE = -1  # it started after `until`, and has done nothing
UNCLEAR = -2  # it was sent again, and whether it was carried out the first time cannot be told
FOREIGN = -3  # the key holds something that is no session; nothing was changed
ABSENT = -4  # set, create: nothing is there to change; `insert` has to be sent
PRESENT = -5  # insert: something is there; set or create has to be sent

NO_ID = bytes(8)

HEADER = Struct("<BiidQQQ")
UNINITIALIZED, LOCKED = 1, 2

_HEAD = r"""
local key, H = KEYS[1], 41
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now > tonumber(ARGV[1]) then return -1 end
local again, began = ARGV[2] == '1', tonumber(ARGV[3])
local head = redis.call('GETRANGE', key, 0, H - 1)
local flags, minutes, cookie, since, lock_id, first_id, write_id
if #head > 0 then
  if #head < H then return -3 end
  flags, minutes, cookie, since, lock_id, first_id, write_id = struct.unpack('<Bi4i4dc8c8c8', head)
  if flags > 2 or minutes < 0 or minutes > 525600 or cookie < -1 then return -3 end
end
"""

_SLIDE = r"""
local function slide()
  if minutes == 0 then redis.call('PERSIST', key) else redis.call('PEXPIRE', key, minutes * 60000) end
end
"""

_FLAGS = r"""
local function set_flags(new) redis.call('SETRANGE', key, 0, string.char(new)) end
"""

# Only one request is told that a session is new: the same one again, where its reply was lost.
_FIRST = r"""
local function take_flag(id)
  if flags ~= 1 then return first_id == id and 1 or 0 end
  redis.call('SETRANGE', key, 0, '\0')
  redis.call('SETRANGE', key, 25, id)
  return 1
end
"""

_LOCKED = r"""
local function locked(first) return {423, first, math.max(0, now - since), cookie, since} end
"""

# A lock that is younger than the request is not the one that the request speaks of, even if its cookie is the
# same: the session was removed and created anew meanwhile. Two clocks are compared, to a quarter of a second.
_TAKEN_SINCE = r"""
local function taken_since() return again and since > began + 250 end
"""

# Where the cookie is another one, a lock of that age shows that a repetition comes after its first try: what
# that one has ended is over, and what others do since is not its business.
_FOLLOWED = r"""
local function followed() return again and since + 250 >= began end
"""

_STORE = r"""
local function store(new_flags, new_minutes, new_cookie, id, body)
  local nobody = string.rep('\0', 8)
  local ids = nobody .. (first_id or nobody) .. id
  local record = struct.pack('<Bi4i4d', new_flags, new_minutes, new_cookie, 0) .. ids .. body
  if new_minutes == 0 then redis.call('SET', key, record)
  else redis.call('SET', key, record, 'PX', new_minutes * 60000) end
end
"""

_OR_404 = "if #head == 0 then return 404 end\n"


@dataclass(frozen=True, slots=True, eq=False)
class Script:
    """A script, and how it is run: by its hash at an engine that has loaded it."""

    name: str
    source: bytes
    by_hash: bytes  # how a command begins that runs it, with the number of its keys
    by_source: bytes


def _script(name: str, *parts: str, may_fill: bool = False) -> Script:
    first = "#!lua\n" if may_fill else "#!lua flags=allow-oom\n"
    source = (first + "".join(parts)).encode()
    by_hash = b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n$1\r\n1\r\n" % sha1(source).hexdigest().encode()
    by_source = b"$4\r\nEVAL\r\n$%d\r\n%b\r\n$1\r\n1\r\n" % (len(source), source)
    return Script(name, source, by_hash, by_source)


# ARGV[4]: the id of the request
GET = _script(
    "get",
    _HEAD,
    _OR_404,
    _SLIDE,
    _FIRST,
    _LOCKED,
    r"""
local first = take_flag(ARGV[4])
slide()
if flags == 2 then return locked(first) end
return {200, first, -2, minutes, redis.call('GETRANGE', key, H, -1)}
""",
)

# ARGV[4]: the id of the request
ACQUIRE = _script(
    "acquire",
    _HEAD,
    _OR_404,
    _SLIDE,
    _LOCKED,
    r"""
slide()
if flags == 2 then
  if lock_id ~= ARGV[4] then return locked(0) end
else
  cookie = cookie < 2147483645 and cookie + 1 or 2
  local id = ARGV[4]
  if flags == 1 then first_id = id end
  redis.call('SETRANGE', key, 0, struct.pack('<Bi4i4dc8c8', 2, minutes, cookie, now, id, first_id))
end
return {200, first_id == ARGV[4] and 1 or 0, cookie, minutes, redis.call('GETRANGE', key, H, -1)}
""",
)

# ARGV[4]: the cookie, or nothing, [5]: the id of the request
RELEASE = _script(
    "release",
    _HEAD,
    _OR_404,
    _SLIDE,
    _FLAGS,
    _FIRST,
    _LOCKED,
    _TAKEN_SINCE,
    _FOLLOWED,
    r"""
local first = take_flag(ARGV[5])
slide()
if ARGV[4] == '' then return {400, first} end
if flags == 2 then
  if tonumber(ARGV[4]) ~= cookie then
    if followed() then return {200, first} end
    return locked(first)
  end
  if not taken_since() then set_flags(0) end
end
return {200, first}
""",
)

# ARGV[4]: the id of the request, [5]: minutes, [6]: the cookie, or nothing, [7]: body
SET = _script(
    "set",
    _HEAD,
    r"""
if #head == 0 then
  if again and ARGV[6] ~= '0' then return -2 end
  return -4
end
""",
    _SLIDE,
    _LOCKED,
    _TAKEN_SINCE,
    _FOLLOWED,
    _STORE,
    r"""
if write_id == ARGV[4] then slide() return 200 end
if flags == 2 then
  if tonumber(ARGV[6]) ~= cookie then
    slide()
    if followed() then return -2 end
    return locked(0)
  end
  if taken_since() then return -2 end
elseif again then
  return -2
end
local new_minutes = tonumber(ARGV[5])
if new_minutes == minutes then
  store(flags == 1 and 1 or 0, minutes, cookie, ARGV[4], ARGV[7])
else
  store(0, new_minutes, ARGV[6] == '' and -1 or tonumber(ARGV[6]), ARGV[4], ARGV[7])
end
return 200
""",
)

CREATE = _script(
    "create",
    _HEAD,
    "if #head == 0 then return -4 end\n",
    _SLIDE,
    "slide()\nreturn 200\n",
)

# ARGV[4]: the id of the request, [5]: minutes, [6]: the cookie, or nothing, [7]: body, [8]: flags
INSERT = _script(
    "insert",
    _HEAD,
    _STORE,
    r"""
if #head > 0 then
  if write_id == ARGV[4] then return 200 end
  return -5
end
if again and ARGV[6] ~= '0' then return -2 end
store(tonumber(ARGV[8]), tonumber(ARGV[5]), 1, ARGV[4], ARGV[7])
return 200
""",
    may_fill=True,
)

# ARGV[4]: the cookie, or nothing
REMOVE = _script(
    "remove",
    _HEAD,
    "if #head == 0 then return again and 200 or 404 end\n",
    _SLIDE,
    _LOCKED,
    _TAKEN_SINCE,
    _FOLLOWED,
    r"""
if flags == 2 then
  if tonumber(ARGV[4]) ~= cookie then
    slide()
    if followed() then return 200 end
    return locked(0)
  end
  if taken_since() then return 200 end
elseif again then
  return -2
end
redis.call('DEL', key)
return 200
""",
)

RESET = _script("reset", _HEAD, _OR_404, _SLIDE, "slide()\nreturn 200\n")

# ARGV[4]: the id of an acquire whose answer was not delivered. All is then as it was before.
UNLOCK = _script(
    "unlock",
    _HEAD,
    _OR_404,
    _FLAGS,
    r"""
if flags == 2 and lock_id == ARGV[4] then set_flags(first_id == ARGV[4] and 1 or 0) end
return 200
""",
)

# ARGV[4]: the cookie of a save, release or remove whose page has failed. Only a lock that is older than that.
FREE = _script(
    "free",
    _HEAD,
    _OR_404,
    _FLAGS,
    r"""
if flags == 2 and cookie == tonumber(ARGV[4]) and since <= began then set_flags(0) end
return 200
""",
)

ADVANCE = _script(
    "advance",
    r"""
local item = redis.call('GET', KEYS[1])
if not item then return false end
local token, number, steps, rest = string.match(item, '^(%x+):(%d+):([%x.]*)(.*)$')
if not token then return item end
steps = string.sub(ARGV[1] .. '.' .. steps, 1, 32 * 7 - 1)
local advanced = token .. ':' .. string.format('%.0f', number + 1) .. ':' .. steps .. rest
redis.call('SET', KEYS[1], advanced)
return advanced
""",
)
"""Counts the number of the canary up by a step of 6 digits, and replies with the item (canary.py)."""

SCRIPTS = (GET, ACQUIRE, RELEASE, SET, CREATE, INSERT, REMOVE, RESET, UNLOCK, FREE)
"""Those that calls are made of."""
