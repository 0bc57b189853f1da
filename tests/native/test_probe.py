"""hami-probe, the workload that we ship, on a simulated machine: what it says, and when it says that something is wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hami_native
from hami_mock import machine
from tests.native.harness import LIMIT, Frame, device
from tests.native.hooks import NATIVE

PROBE = hami_native.probe()


@pytest.fixture
def simulated(tmp_path: Path) -> Frame:
    made = machine.install("t4-node", tmp_path / "machine")
    folder = tmp_path / "grant"
    folder.mkdir()
    return Frame(made.libraries, folder).grants(device(name=made.uuids[0], memory=LIMIT))


def lines(frame: Frame, *arguments: str) -> tuple[int, str, str]:
    process = frame.start(PROBE, *arguments)
    said, errors = process.communicate(timeout=60)
    return process.returncode, said, errors


def test_it_shows_its_share_and_is_refused_beyond(simulated: Frame) -> None:
    status, said, errors = lines(simulated)

    assert (status, errors) == (0, "")
    assert re.search(r"^  CUDA device 0: Tesla T4, 1024 MiB, GPU-[0-9a-f]{8}$", said, re.MULTILINE)
    assert re.search(r"^  NVML device 0: Tesla T4, 1024 MiB, GPU-[0-9a-f]{8}$", said, re.MULTILINE)
    assert "held 1024 MiB (1073741824 bytes)" in said
    assert "one byte more: CUDA_ERROR_OUT_OF_MEMORY" in said


def test_its_json_tells_the_same(simulated: Frame) -> None:
    status, said, _ = lines(simulated, "--json")
    told = json.loads(said)

    assert (status, told["v"], told["coherent"]) == (0, 1, True)
    [cuda], [nvml], [filled] = told["cuda"], told["nvml"], told["filled"]
    assert cuda == nvml
    assert (cuda["total"], filled["held"], filled["refusal"], filled["free_at_limit"]) == (LIMIT, LIMIT, 2, 0)


def test_without_a_limit_it_takes_what_the_card_has(simulated: Frame) -> None:
    status, said, _ = lines(simulated.without_interposer(), "--json")

    assert (status, json.loads(said)["filled"][0]["held"] > LIMIT) == (0, True)


def test_two_that_meet_hold_their_memory_at_the_same_moment(simulated: Frame, tmp_path: Path) -> None:
    simulated.grants(device(name=machine.install("t4-node", simulated.driver.parent).uuids[0], memory=LIMIT), grant="pod/a")
    other = Frame(simulated.driver, tmp_path / "other")
    other.folder.mkdir()
    other.grants(device(name=machine.install("t4-node", simulated.driver.parent).uuids[0], memory=LIMIT), grant="pod/b")
    arguments = ("--barrier", str(tmp_path / "meeting"), "2")

    pair = [frame.start(PROBE, *arguments) for frame in (simulated, other)]
    ends = [(process.communicate(timeout=60), process.returncode) for process in pair]

    assert all(status == 0 and "all 2 hold their memory at this moment" in said for (said, _), status in ends)
    assert machine.truth(simulated.driver.parent).devices[0].requested_peak == 2 * LIMIT


def test_the_environment_can_name_the_meeting_and_the_folder_is_made(simulated: Frame, tmp_path: Path) -> None:
    other = Frame(simulated.driver, tmp_path / "other")
    other.folder.mkdir()
    other.limits.write_text(simulated.limits.read_text().replace("pod/main", "pod/other"))
    meeting = tmp_path / "a meeting"

    pair = [frame.but(HAMI_PROBE_BARRIER=f"{meeting} 2").start(PROBE) for frame in (simulated, other)]
    ends = [(process.communicate(timeout=60)[0], process.returncode) for process in pair]

    assert all(status == 0 and "all 2 hold their memory at this moment" in said for said, status in ends)
    assert meeting.is_dir()


@pytest.mark.parametrize("wrong", ["", "2", " 2", "folder", "folder 0", "folder two", "folder 2 "])
def test_a_wrong_meeting_in_the_environment_is_explained(wrong: str) -> None:
    done = subprocess.run([PROBE], env={"HAMI_PROBE_BARRIER": wrong}, capture_output=True, text=True, check=False)

    assert (done.returncode, "HAMI_PROBE_BARRIER takes a folder" in done.stderr) == (2, True)


def test_it_is_installed_as_a_command() -> None:
    command = Path(sys.executable).with_name("hami-probe")

    assert command.read_bytes() == PROBE.read_bytes()
    assert os.access(command, os.X_OK)


@pytest.mark.long
def test_a_wheel_brings_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=NATIVE, check=True, capture_output=True)

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"hami_native-0.1.0.data/scripts/hami-probe", "hami_native/hami-probe", "hami_native/libvgpu.so"} <= set(names)


def test_it_holds_until_its_input_ends(simulated: Frame) -> None:
    with simulated.start(PROBE, "--hold") as process:
        assert process.stdout is not None
        while "one byte more" not in process.stdout.readline():
            pass
        held = machine.truth(simulated.driver.parent).devices[0].requested
        said, _ = process.communicate("")

    assert (held, process.returncode, "everything is given back" in said) == (LIMIT, 0, True)


@pytest.mark.parametrize("hold", [["--hold"], ["--hold", "1000"]])
def test_it_holds_until_it_is_asked_to_end(simulated: Frame, hold: list[str]) -> None:
    with simulated.start(PROBE, *hold) as process:
        assert process.stdout is not None
        while "one byte more" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()

    assert (process.returncode, "everything is given back" in said) == (0, True)


def test_without_a_device_it_says_so_and_fails(simulated: Frame) -> None:
    simulated.limits.write_text("")

    status, said, _ = lines(simulated)

    assert (status, "no device is here" in said) == (1, True)


def test_without_a_driver_it_says_so_and_fails(tmp_path: Path) -> None:
    done = subprocess.run([PROBE], env={"LD_LIBRARY_PATH": str(tmp_path)}, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("hami-probe: no driver: libcuda.so.1")


@pytest.mark.parametrize("wrong", [["--loud"], ["--barrier"], ["--barrier", "x"], ["--barrier", "x", "0"], ["3"]])
def test_a_wrong_command_line_is_explained(wrong: list[str]) -> None:
    done = subprocess.run([PROBE, *wrong], capture_output=True, text=True, check=False)

    assert (done.returncode, "usage: hami-probe" in done.stderr) == (2, True)
