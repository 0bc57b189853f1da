"""Devices outside the grant do not exist: in CUDA and in NVML alike, by UUID, in the grant's order."""

import pytest

from tests.native.harness import LIMIT, MIB, Frame, device, uuid


def test_cuda_and_nvml_show_the_granted_devices_in_the_grants_order(frame: Frame) -> None:
    frame.grants(device(3), device(1))

    outcome = frame.python("c = Cuda(); c.start(); say(c.count(), [c.device(i) for i in range(3)]); say(Nvml().uuids())")

    # CUDA's ordinal of NVML's device n is 3 - n; -1 is what the program had before an ordinal past the end
    assert outcome.said == [[2, [0, 2, -1]], [uuid(3), uuid(1)]]


def test_without_the_interposer_all_four_are_there(frame: Frame) -> None:
    outcome = frame.without_interposer().python("c = Cuda(); c.start(); say(c.count(), Nvml().count())")

    assert outcome.said == [[4, 4]]


def test_a_granted_device_that_the_driver_does_not_have_is_left_out(frame: Frame) -> None:
    frame.grants(device(name="GPU-11111111-2222-3333-4444-555555555555"), device(2))

    outcome = frame.python("c = Cuda(); c.start(); say(c.count(), c.device(0)); say(Nvml().uuids())")

    assert outcome.said == [[1, 1], [uuid(2)]]


def test_a_grant_of_absent_devices_only_is_no_device(frame: Frame) -> None:
    frame.grants(device(name="GPU-11111111-2222-3333-4444-555555555555"))

    assert frame.python("say(Cuda().start(), Nvml().count())").said == [[100, 0]]


def test_nvml_asked_before_cuda_and_nvml_asked_alone_answer_the_same(frame: Frame) -> None:
    alone = frame.python("n = Nvml(); say(n.uuids(), n.memory())")
    before = frame.python("n = Nvml(); answer = [n.uuids(), n.memory()]; c = Cuda(); c.start(); say(*answer); say(n.memory())")

    assert alone.said == [[[uuid(2)], [LIMIT, LIMIT, 0]]]
    assert before.said == [*alone.said, [LIMIT, LIMIT, 0]]


def test_no_question_of_nvml_leads_to_a_device_that_is_not_granted(frame: Frame) -> None:
    outcome = frame.python(
        "n = Nvml(); one = ctypes.byref(ctypes.c_void_p())\n"
        "say([n.by_index(i)[0] for i in range(4)],\n"
        f"    [n.by_uuid(u) for u in {[uuid(i) for i in range(4)]}],\n"
        "    [n.library.nvmlDeviceGetHandleByPciBusId_v2(str(i).encode(), one) for i in range(4)],\n"
        "    [n.table_by_index(i) for i in range(4)])"
    )

    assert outcome.said == [[[0, 2, 2, 2], [6, 6, 0, 6], [6, 6, 0, 6], [0, 2, 2, 2]]]


def test_no_question_of_cuda_leads_to_a_device_that_is_not_granted(frame: Frame) -> None:
    outcome = frame.python(
        "c = Cuda(); c.start(); one = ctypes.byref(ctypes.c_int()); context = ctypes.byref(ctypes.c_void_p()); l = c.library\n"
        "say([l.cuDeviceGet(one, i) for i in range(-1, 4)],\n"
        "    [l.cuDeviceGetByPCIBusId(one, str(i).encode()) for i in range(4)],\n"
        "    [l.cuDevicePrimaryCtxRetain(context, i) for i in range(4)],\n"
        "    [l.cuCtxCreate_v2(context, 0, i) for i in range(4)],\n"
        "    [l.cuDeviceTotalMem_v2(ctypes.byref(ctypes.c_size_t()), i) for i in range(4)])"
    )

    assert outcome.said == [
        [[101, 0, 101, 101, 101], [101, 101, 0, 101], [101, 0, 101, 101], [101, 0, 101, 101], [101, 0, 101, 101]]
    ]


def test_an_index_counts_the_granted_devices(frame: Frame) -> None:
    frame.grants(device(3), device(1))

    outcome = frame.python(
        "n = Nvml(); index = ctypes.c_uint(); said = []\n"
        "for i in range(2):\n"
        "    n.library.nvmlDeviceGetIndex(n.by_index(i)[1], ctypes.byref(index)); said.append(index.value)\n"
        "say(said)"
    )

    assert outcome.said == [[0, 1]]


def test_nvml_that_was_not_started_says_so(frame: Frame) -> None:
    outcome = frame.python(
        "n = Nvml(); n.library.nvmlShutdown(); count = ctypes.c_uint()\n"
        "say(n.by_index(0)[0], n.library.nvmlDeviceGetCount_v2(ctypes.byref(count)))"
    )

    assert outcome.said == [[1, 1]]


def test_handles_are_good_again_after_nvml_was_started_again(frame: Frame) -> None:
    outcome = frame.python("n = Nvml(); n.library.nvmlShutdown(); n = Nvml(); say(n.uuids(), n.memory())")

    assert outcome.said == [[[uuid(2)], [LIMIT, LIMIT, 0]]]


def test_the_process_list_names_the_grants_own_processes_and_their_bytes(frame: Frame) -> None:
    with frame.start_python("c = Cuda(); c.start(); c.code(3 * MIB); say(pid()); wait_for_word()") as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        outcome = frame.python("n = Nvml(); say(n.processes(), n.processes(0))")
        other.communicate("go\n")

    assert outcome.said == [[[0, 1, [[pid, 3 * MIB, 0xFFFFFFFF]]], [7, 1, []]]]


def test_the_process_list_is_empty_while_nothing_is_held(frame: Frame) -> None:
    assert frame.python("n = Nvml(); c = Cuda(); c.start(); say(n.processes(), n.processes(0))").said == [
        [[0, 0, []], [0, 0, []]]
    ]


def test_a_dead_process_is_not_listed(frame: Frame) -> None:
    frame.python("c = Cuda(); c.start(); c.code(3 * MIB)")

    assert frame.python("say(Nvml().processes())").said == [[0, 0, []]]


@pytest.mark.parametrize("slot", [213, 214, 215])
def test_the_private_table_lists_only_processes_with_a_slot(frame: Frame, slot: int) -> None:
    with frame.start_python("c = Cuda(); c.start(); c.code(3 * MIB); say(pid()); wait_for_word()") as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        outcome = frame.but(STUB_PIDS=f"1 {pid} 2").python(f"say(Nvml().table_processes({slot}))")
        other.communicate("go\n")

    assert outcome.said == [[[pid, 3 * MIB]]]


def test_the_private_table_is_as_long_as_the_drivers_and_given_once(frame: Frame) -> None:
    outcome = frame.python("n = Nvml(); a, b = n.table(), n.table(); say(a[0], a[81] == b[81], a[82] is None)")

    assert outcome.said == [[4096, True, True]]


def test_a_function_that_the_driver_lacks_is_not_there(frame: Frame) -> None:
    outcome = frame.python("n = Nvml(); say(hasattr(n.library, 'nvmlDeviceGetGraphicsRunningProcesses_v3'))")

    assert outcome.said == [False]


def test_one_device_may_be_used_up_while_another_is_free(frame: Frame) -> None:
    frame.grants(device(0, memory=4 * MIB), device(1, memory=4 * MIB))

    outcome = frame.python("c = Cuda(); c.start(0); c.code(4 * MIB); n = Nvml(); say(n.memory(0)[1], n.memory(1)[1])")

    assert outcome.said == [[0, 4 * MIB]]
