"""The C library that reads regions and limits, as cffi sees it in ABI mode.

The declarations are those of `reader/reader.h`, made into `interface.py` when the package is built: parsing them would take
longer than all that is read. The library is asked for its own sizes when it is opened. No meaning is given to any field here.
"""

from functools import cache
from importlib import import_module
from typing import Any

from hami_native.files import compiled

MESSAGE = 240  # HAMI_MESSAGE
STRUCTURES = ("hami_device", "hami_process", "hami_region", "hami_limits_device", "hami_limits")


@cache
def ffi() -> Any:
    """The declarations, loaded when something is first read. Raises FileNotFoundError when the distribution was never built."""
    compiled("interface.py")
    return import_module("hami_native.interface").ffi


@cache
def reader() -> Any:
    """The library, opened once. Raises ImportError when it was built from another layout than the one declared here."""
    library = ffi().dlopen(str(compiled("libhami_region.so")))
    for name in STRUCTURES:
        if library.hami_sizeof(name.encode()) != ffi().sizeof(f"struct {name}"):
            raise ImportError(f"libhami_region.so: struct {name} has another size than declared: build hami-native again")
    return library


def text(array: Any) -> str:
    """A zero-terminated array of characters; bytes that are no UTF-8 are shown, not refused."""
    return bytes(ffi().string(array)).decode(errors="backslashreplace")
