"""Every way of taking device memory at once: in threads of one process, and in processes that are killed at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from hami_mock import machine
from tests.mock.conftest import environment

if TYPE_CHECKING:
    from hami_mock.machine import Machine

    Program = subprocess.Popen[bytes]

pytestmark = pytest.mark.slow

MIB = 1 << 20
T4_CONTEXT = 103 * MIB
FAMILIES = """
import ctypes, os, random, struct, sys, threading
cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
assert not (cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0))
word, size_t, byref = ctypes.c_uint64, ctypes.c_size_t, ctypes.byref
properties = struct.pack("iiii P 8x", 1, 0, 1, 0, 0)
access = struct.pack("iii", 1, 0, 3)

def linear(size):
    address = word()
    return cuda.cuMemAlloc_v2(byref(address), size_t(size)) or (cuda.cuMemFree_v2, address)

def pooled(size):
    address = word()
    return cuda.cuMemAllocAsync(byref(address), size_t(size), None) or (end_pooled, address)

def end_pooled(address):
    assert not cuda.cuMemFreeAsync(address, None)
    return cuda.cuStreamSynchronize(None)

def virtual(size):
    size, handle, address = -(-size // (2 << 20)) * (2 << 20), word(), word()
    if cuda.cuMemCreate(byref(handle), size_t(size), properties, word(0)):
        return 2
    assert not cuda.cuMemAddressReserve(byref(address), size_t(size), size_t(0), word(0), word(0))
    assert not cuda.cuMemMap(address, size_t(size), size_t(0), handle, word(0))
    assert not cuda.cuMemSetAccess(address, size_t(size), access, size_t(1))
    assert not cuda.cuMemRelease(handle)
    return end_virtual, (address, size_t(size))

def end_virtual(held):
    return cuda.cuMemUnmap(*held) or cuda.cuMemAddressFree(*held)

def array(size):
    made = ctypes.c_void_p()
    return cuda.cuArrayCreate_v2(byref(made), struct.pack("QQiI", 4096, size // 4096 + 1, 1, 1)) or (cuda.cuArrayDestroy, made)

def graph(size):
    made, node, run = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    parameters = ctypes.create_string_buffer(struct.pack("iiii P Q 56x P QQ Q", 1, 0, 1, 0, 0, 0, 0, 0, size, 0))
    assert not cuda.cuGraphCreate(byref(made), 0)
    assert not cuda.cuGraphAddMemAllocNode(byref(node), made, None, size_t(0), parameters)
    address = word(struct.unpack("Q", parameters.raw[-9:-1])[0])
    assert not cuda.cuGraphInstantiateWithFlags(byref(run), made, word(0))
    failure = cuda.cuGraphLaunch(run, None)
    if not failure:
        assert not cuda.cuMemFree_v2(address)
    return cuda.cuGraphExecDestroy(run) or cuda.cuGraphDestroy(made) or cuda.cuDeviceGraphMemTrim(0) or failure or 2

families = [linear, pooled, virtual, array, graph]

def work(seed, steps):
    chance, held = random.Random(seed), []
    assert not cuda.cuCtxSetCurrent(context)
    while steps:
        steps -= 1
        if held and chance.random() < 0.5:
            end, what = held.pop(chance.randrange(len(held)))
            assert not end(what)
            continue
        made = chance.choice(families)(chance.randrange(1, 40 << 20))
        assert made == 2 or isinstance(made, tuple), made
        if made != 2:
            held.append(made)
    for end, what in held:
        assert not end(what)
    assert not cuda.cuCtxSynchronize()
"""
IN_THREADS = """
threads = [threading.Thread(target=work, args=(seed, 3000)) for seed in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done", flush=True)
sys.stdin.readline()
"""
FOR_EVER = """
print("ready", flush=True)
work(os.getpid(), -1)
"""


def program(node: Machine, code: str) -> Program:
    return subprocess.Popen(
        [sys.executable, "-c", FAMILIES + code], env=environment(node), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def word_of(running: Program) -> bytes:
    assert running.stdout
    return running.stdout.readline()


def end(running: Program) -> None:
    running.kill()
    running.communicate()


def test_threads_that_take_in_every_way_give_everything_back(node: Machine) -> None:
    running = program(node, IN_THREADS)

    assert word_of(running) == b"done\n"

    device = machine.truth(node.folder).devices[0]
    assert (device.requested, device.physical) == (0, T4_CONTEXT)
    assert device.requested_peak > 100 * MIB
    end(running)


def test_kills_at_random_moments_leave_the_books_exact_for_every_family(node: Machine) -> None:
    busy: list[Program] = []
    try:
        for turn in range(25):
            while len(busy) < 3:
                busy.append(program(node, FOR_EVER))
                assert word_of(busy[-1]) == b"ready\n"
            time.sleep(random.Random(turn).random() * 0.05)
            assert [each.poll() for each in busy] == [None] * 3
            end(busy.pop(0))
        for each in busy:
            each.send_signal(signal.SIGSTOP)

        truth = machine.truth(node.folder)
        assert len(truth.processes) == 2
        assert truth.devices[0].requested == sum(one.requested for one in truth.processes)
        assert truth.devices[0].physical == sum(one.physical for one in truth.processes)
    finally:
        for each in busy:
            end(each)
    truth = machine.truth(node.folder)
    assert (truth.devices[0].requested, truth.devices[0].physical, truth.processes) == (0, 0, ())
