# SPDX-License-Identifier: Apache-2.0
"""A front-end on a port with a kernel vDPA device that changes its memory, or says what cannot be."""

import os
import time
from pathlib import Path
from typing import Callable, Iterator

import pytest

from bed.engine_alone import EngineAlone
from bed.vdpa import VdpaDevices
from harness.front_end import RECEIVE, TRANSMIT, FrontEnd
from harness.vhost_user import ask_features
from harness.wait import wait_for

MAC = "02:00:00:00:00:42"
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\x07" + b"\x88\xb5" + bytes(50)
LOST = r"\|(dpdk|vhost|vdpa|kernel_vdpa)\|(WARN|ERR)\|"
MEBIBYTE = 1 << 20


@pytest.fixture
def files() -> Iterator[Callable[[int], int]]:
    """Makes files of memory, by their size."""
    made: list[int] = []

    def make(size: int) -> int:
        made.append(os.memfd_create("further"))
        os.ftruncate(made[-1], size)
        return made[-1]
    yield make
    for fd in made:
        os.close(fd)


def around(front_end: FrontEnd, number: int) -> None:
    """Sends the frame of that number, from 1 on, and has it come back."""
    front_end.transmit(FRAME)
    for ring in (TRANSMIT, RECEIVE):
        wait_for(lambda: front_end.used(ring) == number, 15,
                 lambda: f"frame {number} to pass ring {ring}: {front_end.used(ring)}")


def test_memory_is_plugged_and_unplugged_in_mid_traffic(
        engine: EngineAlone, vdpa_sim_pinned: VdpaDevices, files: Callable[[int], int]) -> None:
    engine.expect_log(LOST)
    path = engine.serve("vm1", vdpa_sim_pinned.create("v0", "mac", MAC))
    further = files(4 * MEBIBYTE)
    with FrontEnd(path) as front_end:
        front_end.set_up()
        engine.wait_port("vm1", "running", queues=1)
        own = engine.pinned()
        for number in range(1, 41):
            around(front_end, number)
            plugged = number % 2 == 1
            front_end.share_memory(*([(1 << 30, 4 * MEBIBYTE, further)] if plugged else []))
            wait_for(lambda: engine.pinned() == own + (4096 if plugged else 0), 15,
                     lambda: f"{'more' if plugged else 'less'} memory: {engine.pinned()} kB")
    engine.wait_port("vm1", "listening")
    wait_for(lambda: engine.pinned() == 0, 10, lambda: f"no pinned page: {engine.pinned()} kB")


@pytest.mark.parametrize(("guest", "size", "words"), [
    (0x1000_0800, MEBIBYTE, "whole pages"),
    (0x1000_0000, MEBIBYTE - 0x800, "whole pages"),
    (1 << 40, 1 << 46, "more memory than this host has"),
])
def test_impossible_memory_is_refused(engine: EngineAlone, vdpa_sim: VdpaDevices,
                                      files: Callable[[int], int], guest: int, size: int,
                                      words: str) -> None:
    engine.expect_log(LOST)
    path = engine.serve("bad", vdpa_sim.create("v0", "mac", MAC))
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.share_memory((guest, size, files(size)))
        front_end.set_rings()
        port = engine.wait_port("bad", "connected", reason="device-failed")
        assert words in port["detail"] and "/dev/vhost-vdpa-0" in port["detail"], port
        # With memory as it should be all is well.
        front_end.share_memory()
        engine.wait_port("bad", "running", reason=None, queues=1)
        around(front_end, 1)


def test_mapping_memory_holds_no_other_port_up(engine: EngineAlone, vdpa_sim_pinned: VdpaDevices,
                                               files: Callable[[int], int]) -> None:
    """A gibibyte in small pages, none of which is there yet."""
    engine.expect_log(LOST)
    size = 1024 * MEBIBYTE
    path = engine.serve("vm1", vdpa_sim_pinned.create("v0", "mac", MAC))
    other = engine.serve("vm2", vdpa_sim_pinned.create("v1", "mac", MAC))

    def answer_time() -> float:
        begin = time.monotonic()
        connection = ask_features(other)
        assert connection, "the other port does not answer"
        connection.close()
        return time.monotonic() - begin
    usual = max(answer_time() for _ in range(20))
    with FrontEnd(path, bound=60) as front_end:
        front_end.negotiate()
        front_end.share_memory((1 << 32, size, files(size)))
        front_end.set_rings()
        begin = time.monotonic()
        times = []
        while engine.port("vm1")["state"] != "running":
            times.append(answer_time())
            assert time.monotonic() < begin + 90, engine.port("vm1")
        took = time.monotonic() - begin
        assert engine.pinned() > size // 1024
        around(front_end, 1)
    print(f"mapped in {took:.2f} s; the other port answered {len(times)} times meanwhile, within "
          f"{max(times) * 1000:.0f} ms, at other times within {usual * 1000:.0f} ms")
    assert len(times) > 5, times
    assert max(times) < max(0.05, 3 * usual) or max(times) < took / 5, (max(times), usual, took)
