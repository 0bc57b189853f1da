"""The functions that a shared library offers, in its ELF file: their names, and a copy of the file without some of them.

64-bit little-endian files only, which is what the drivers are built as. Nothing here knows what the functions do.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HEADER = struct.Struct("<40xQ10xHHH")  # e_shoff, e_shentsize, e_shnum, e_shstrndx
SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")  # st_name, st_info, st_other, st_shndx, st_value, st_size
DYNSYM = 11  # SHT_DYNSYM
FUNCTION = 2  # STT_FUNC
WHERE = struct.Struct("<HQ")  # st_shndx, st_value
WHERE_AT = 6


def names(image: bytes) -> frozenset[str]:
    """The functions that the dynamic linker finds in it."""
    return frozenset(name for _, name in _functions(image))


def without(image: bytes, missing: Collection[str]) -> bytes:
    """The file with these functions taken from its dynamic symbols, as in a release that never had them.

    Source of the rule: the linker passes over a symbol that is undefined or has no value (ELF gABI, Symbol Table).
    """
    changed = bytearray(image)
    for at, name in _functions(image):
        if name in missing:
            WHERE.pack_into(changed, at + WHERE_AT, 0, 0)
    return bytes(changed)


def _functions(image: bytes) -> Iterator[tuple[int, str]]:
    """Offset of each defined function's symbol, and its name."""
    sections = list(_sections(image))
    for kind, offset, size, link in sections:
        if kind != DYNSYM:
            continue
        texts = sections[link][1]
        for at in range(offset, offset + size, SYMBOL.size):
            name, info, _, where, _, _ = SYMBOL.unpack_from(image, at)
            if where and info & 0xF == FUNCTION:
                yield at, image[texts + name : image.index(b"\0", texts + name)].decode()


def _sections(image: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(type, offset, size, link) of each section."""
    table, entry, count, _ = HEADER.unpack_from(image)
    for number in range(count):
        _, kind, _, _, offset, size, link, _, _, _ = SECTION.unpack_from(image, table + number * entry)
        yield kind, offset, size, link
