"""A program on a simulated machine, told what to call: a JSON list a line on stdin, a JSON list a line on stdout.

``["cuMemAlloc_v2", "out", 4096]`` calls that function of libcuda.so.1 (``nvml...`` of libnvidia-ml.so.1) with the address of a
fresh 64-bit zero for every "out", and of a buffer for every "text" and "raw" (answered in hex); it answers the result and what
was written there.
``["fork", ...]`` does one such call in a child, ``["exec", ...]`` becomes another program, ``["address", name]`` answers where
a function is. Run with the machine's libraries on LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

LIBRARIES = {"cu": "libcuda.so.1", "nv": "libnvidia-ml.so.1"}
TEXT = 256


def place(argument: str | int) -> Any:
    if argument == "out":
        return ctypes.pointer(ctypes.c_uint64(0))
    if argument in {"text", "raw"}:
        return ctypes.create_string_buffer(TEXT)
    if isinstance(argument, str):
        return ctypes.c_char_p(argument.encode())
    return ctypes.c_uint64(argument)


def call(name: str, *arguments: str | int) -> list[Any]:
    places = [place(argument) for argument in arguments]
    result = getattr(ctypes.CDLL(LIBRARIES[name[:2]]), name)(*places)
    outs = [each.contents.value for each in places if hasattr(each, "contents")]
    texts = [each.value.decode() for each, argument in zip(places, arguments, strict=True) if argument == "text"]
    raws = [each.raw.hex() for each, argument in zip(places, arguments, strict=True) if argument == "raw"]
    return [result, *outs, *texts, *raws]


def in_child(name: str, *arguments: str | int) -> list[Any]:
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.write(writer, json.dumps(call(name, *arguments)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        found: list[Any] = json.loads(answer.read())
    os.waitpid(child, 0)
    return found


def carry_out(name: str, *arguments: Any) -> list[Any]:
    if name == "exec":
        os.execvp(arguments[0], arguments)
    if name == "fork":
        return in_child(*arguments)
    if name == "address":
        function = getattr(ctypes.CDLL(LIBRARIES["cu"]), arguments[0])
        return [ctypes.cast(function, ctypes.c_void_p).value]
    return call(name, *arguments)


for line in sys.stdin:
    sys.stdout.write(json.dumps(carry_out(*json.loads(line))) + "\n")
    sys.stdout.flush()
