"""The .NET types of values: by their type codes, and of serialised objects by the head of their stream.

An object is what BinaryFormatter has written ([MS-NRBF]). Its first record names its class. That name is all
that is read here: nothing is made of what follows, and no class is ever looked up.
"""

import re

from partitioner.payload.cursor import Cursor, Damaged

STRING, CHARACTER, OBJECT = 1, 7, 20

END_OF_OBJECT = 11
"""The last byte of a serialised object: [MS-NRBF] 2.6.3."""

NAMES = {
    1: "System.String",
    2: "System.Int32",
    3: "System.Boolean",
    4: "System.DateTime",
    5: "System.Decimal",
    6: "System.Byte",
    7: "System.Char",
    8: "System.Single",
    9: "System.Double",
    10: "System.SByte",
    11: "System.Int16",
    12: "System.Int64",
    13: "System.UInt16",
    14: "System.UInt32",
    15: "System.UInt64",
    16: "System.TimeSpan",
    17: "System.Guid",
    18: "System.IntPtr",
    19: "System.UIntPtr",
    20: "System.Object",
    21: "null",
}
"""By type code (protocol.md 9)."""

SIZES = {
    2: 4,
    3: 1,
    4: 8,
    5: 16,
    6: 1,
    8: 4,
    9: 8,
    10: 1,
    11: 2,
    12: 8,
    13: 2,
    14: 4,
    15: 8,
    16: 8,
    17: 16,
    18: 8,
    19: 8,
    21: 0,
}
"""Bytes that follow the type code, where that is always the same. Pointers are those of 64-bit processes; a
character is one to three bytes of UTF-8."""

LONGEST_TYPE = 200
"""Characters of a type's name that are told; generic types of generic types have a thousand."""

_PRIMITIVES = {
    1: "Boolean",
    2: "Byte",
    3: "Char",
    5: "Decimal",
    6: "Double",
    7: "Int16",
    8: "Int32",
    9: "Int64",
    10: "SByte",
    11: "Single",
    12: "TimeSpan",
    13: "DateTime",
    14: "UInt16",
    15: "UInt32",
    16: "UInt64",
    17: "Null",
    18: "String",
}
"""[MS-NRBF] 2.1.2.3."""

_HEADER, _LIBRARY = 0, 12
_CLASSES = frozenset({2, 3, 4, 5})
_STRING_RECORD, _BINARY_ARRAY = 6, 7
_PRIMITIVE_ARRAY, _OBJECT_ARRAY, _STRING_ARRAY = 15, 16, 17
_SIMPLE = {
    _STRING_RECORD: "System.String",
    _OBJECT_ARRAY: "System.Object[]",
    _STRING_ARRAY: "System.String[]",
}

_MOST_LIBRARIES = 64
"""Records that name assemblies, before that of the object."""

_ASSEMBLY = re.compile(r", [^\[\]]*(?=\])")


def object_type(cursor: Cursor) -> str:
    """The class of a serialised object, whose stream begins here; as far as its head tells it."""
    try:
        return shown(_root_class(cursor))
    except Damaged:
        return NAMES[OBJECT]


def _root_class(cursor: Cursor) -> str:
    if cursor.byte() != _HEADER:
        return NAMES[OBJECT]
    cursor.skip(16)  # which object is the root, and the version
    for _ in range(_MOST_LIBRARIES):
        record = cursor.byte()
        cursor.skip(4)  # the number of the object, or of the library
        if record == _LIBRARY:
            cursor.text()
        elif record in _CLASSES:
            return cursor.text()
        elif record == _BINARY_ARRAY:
            return _array_type(cursor)
        elif record == _PRIMITIVE_ARRAY:
            cursor.skip(4)
            return f"{_primitive(cursor.byte())}[]"
        else:
            return _SIMPLE.get(record, NAMES[OBJECT])
    return NAMES[OBJECT]


def _array_type(cursor: Cursor) -> str:
    """[MS-NRBF] 2.4.3.1."""
    kind, rank = cursor.byte(), cursor.int32()
    if not 1 <= rank <= 32:
        return NAMES[OBJECT]
    cursor.skip(4 * rank * (2 if kind >= 3 else 1))  # lengths, and lower bounds
    return f"{_element_type(cursor)}[{',' * (rank - 1)}]"


def _element_type(cursor: Cursor) -> str:
    """[MS-NRBF] 2.1.2.2."""
    kind = cursor.byte()
    if kind == 0:
        return _primitive(cursor.byte())
    if kind == 7:
        return f"{_primitive(cursor.byte())}[]"
    if kind in (3, 4):
        return cursor.text()
    return {1: "System.String", 5: "System.Object[]", 6: "System.String[]"}.get(kind, NAMES[OBJECT])


def _primitive(code: int) -> str:
    return f"System.{_PRIMITIVES.get(code, 'Object')}"


def shown(name: str) -> str:
    """A type's name without the assemblies of its type arguments, and not too long."""
    short = _ASSEMBLY.sub("", name)
    return short if len(short) <= LONGEST_TYPE else f"{short[:LONGEST_TYPE]}..."
