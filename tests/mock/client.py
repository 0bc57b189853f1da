"""A program on a simulated machine, told what to call: a JSON list a line on stdin, a JSON list a line on stdout.

``["cuMemAlloc_v2", "out", 4096]`` calls that function of libcuda.so.1 (``nvml...`` of libnvidia-ml.so.1) with the address of a
fresh 64-bit zero for every "out", and of a buffer for every "text" and "raw" (answered in hex); it answers the result and what
was written there. ``{"bytes": hex}`` is the address of those bytes, answered as they are afterwards; ``{"value": hex}`` is 64
bytes passed by value, as IPC handles are. ``["send", path, fd]`` waits on a Unix socket and hands a descriptor to whoever does
``["receive", path]``; ``["open", path]`` and ``["close", fd]`` are what they say.
``["fork", ...]`` does one such call in a child, ``["exec", ...]`` becomes another program, ``["address", name]`` answers where
a function is. Run with the machine's libraries on LD_LIBRARY_PATH.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

LIBRARIES = {"cu": "libcuda.so.1", "nv": "libnvidia-ml.so.1"}
TEXT = 256


class Handle(ctypes.Structure):
    _fields_ = (("reserved", ctypes.c_char * 64),)


def place(argument: str | int | dict[str, str]) -> Any:
    if isinstance(argument, dict) and "value" in argument:
        return Handle.from_buffer_copy(bytes.fromhex(argument["value"]))
    if isinstance(argument, dict):
        content = bytes.fromhex(argument["bytes"])
        return ctypes.create_string_buffer(content, len(content))
    if argument == "out":
        return ctypes.pointer(ctypes.c_uint64(0))
    if argument in {"text", "raw"}:
        return ctypes.create_string_buffer(TEXT)
    if isinstance(argument, str):
        return ctypes.c_char_p(argument.encode())
    return ctypes.c_uint64(argument)


def is_raw(argument: str | int | dict[str, str]) -> bool:
    return argument == "raw" or (isinstance(argument, dict) and "bytes" in argument)


def call(name: str, *arguments: str | int | dict[str, str]) -> list[Any]:
    places = [place(argument) for argument in arguments]
    result = getattr(ctypes.CDLL(LIBRARIES[name[:2]]), name)(*places)
    outs = [each.contents.value for each in places if hasattr(each, "contents")]
    texts = [each.value.decode() for each, argument in zip(places, arguments, strict=True) if argument == "text"]
    raws = [each.raw.hex() for each, argument in zip(places, arguments, strict=True) if is_raw(argument)]
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


def send(path: str, descriptor: int) -> list[Any]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path + ".new")
        listener.listen()
        Path(path + ".new").rename(path)  # it is there only when it can be connected to
        with listener.accept()[0] as other:
            socket.send_fds(other, [b"x"], [descriptor])
    return [0]


def receive(path: str) -> list[Any]:
    with socket.socket(socket.AF_UNIX) as other:
        while True:
            try:
                other.connect(path)
            except FileNotFoundError:
                continue
            return [0, socket.recv_fds(other, 1, 1)[1][0]]


def carry_out(name: str, *arguments: Any) -> list[Any]:
    if name == "exec":
        os.execvp(arguments[0], arguments)
    if name == "fork":
        return in_child(*arguments)
    if name == "send":
        return send(*arguments)
    if name == "receive":
        return receive(*arguments)
    if name == "open":
        return [0, os.open(arguments[0], os.O_RDWR)]
    if name == "close":
        os.close(arguments[0])
        return [0]
    if name == "address":
        function = getattr(ctypes.CDLL(LIBRARIES["cu"]), arguments[0])
        return [ctypes.cast(function, ctypes.c_void_p).value]
    return call(name, *arguments)


for line in sys.stdin:
    sys.stdout.write(json.dumps(carry_out(*json.loads(line))) + "\n")
    sys.stdout.flush()
