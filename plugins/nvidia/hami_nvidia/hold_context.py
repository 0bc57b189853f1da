"""A process that opens a CUDA context on one GPU, says so, and keeps it until its standard input ends.

Run as ``python -m hami_nvidia.hold_context LIBCUDA UUID``; it imports nothing of hami, so that it starts at once and holds
nothing but the context. It prints one line, "ready" or why not.
"""

from __future__ import annotations

import ctypes
import sys


def main(library: str, uuid: str) -> int:
    """Exit status 0 if there was a context."""
    try:
        cuda = ctypes.CDLL(library)
        hold(cuda, uuid)
    except (OSError, RuntimeError) as error:
        say(str(error))
        return 1
    say("ready")
    sys.stdin.read()
    return 0


def say(line: str) -> None:
    """To whoever waits for it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def hold(cuda: ctypes.CDLL, uuid: str) -> None:
    """Retain the primary context of the GPU with this UUID: what the CUDA runtime, and so most programs, use."""
    call(cuda, "cuInit", ctypes.c_uint(0))
    count = ctypes.c_int()
    call(cuda, "cuDeviceGetCount", ctypes.byref(count))
    for ordinal in range(count.value):
        device, found, context = ctypes.c_int(), (ctypes.c_ubyte * 16)(), ctypes.c_void_p()
        call(cuda, "cuDeviceGet", ctypes.byref(device), ctypes.c_int(ordinal))
        call(cuda, "cuDeviceGetUuid", ctypes.byref(found), device)
        if bytes(found).hex() == uuid.removeprefix("GPU-").replace("-", ""):
            call(cuda, "cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
            return
    raise RuntimeError(f"CUDA has no device {uuid}")


def call(cuda: ctypes.CDLL, name: str, *arguments: object) -> None:
    """One function of the driver. RuntimeError: it answers anything but CUDA_SUCCESS."""
    code = getattr(cuda, name)(*arguments)
    if code != 0:
        raise RuntimeError(f"{name} answers {code}")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
