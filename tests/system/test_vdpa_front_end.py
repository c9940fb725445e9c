# SPDX-License-Identifier: Apache-2.0
"""A front-end on a port with a kernel vDPA device that changes its memory, or says what cannot be."""

import os
import time
from typing import Any, Callable, Iterator

import pytest

from bed import kernel
from bed.engine_alone import EngineAlone
from bed.vdpa import VdpaDevices
from harness.front_end import GET_FEATURES, RECEIVE, TRANSMIT, FrontEnd
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


class OtherPort:
    """A port whose front-end asks something, whose guest sends a frame, and whose operator looks at
    it, again and again: how long each waits for it."""

    def __init__(self, engine: EngineAlone, front_end: FrontEnd) -> None:
        self._engine = engine
        self._front_end = front_end
        self._frames = 0
        self._rpc = engine.rpc()
        self.waited: dict[str, list[float]] = {"message": [], "frame": [], "RPC": []}

    def _frame(self) -> None:
        self._frames = (self._frames + 1) & 0xffff
        around(self._front_end, self._frames)
        self._front_end.take()

    def look(self) -> dict[str, dict[str, Any]]:
        """One of each; what the engine says of its ports."""
        ports: list[dict[str, Any]] = []
        for what, act in (("message", lambda: self._front_end.ask(GET_FEATURES)),
                          ("frame", self._frame),
                          ("RPC", lambda: ports.extend(self._rpc.call("port.list")["ports"]))):
            begin = time.monotonic()
            act()
            self.waited[what].append(time.monotonic() - begin)
        return {port["name"]: port for port in ports}

    def longest(self) -> dict[str, float]:
        """Since this was asked last."""
        found = {what: max(times) for what, times in self.waited.items()}
        self.waited = {what: [] for what in self.waited}
        return found

    def close(self) -> None:
        self._rpc.close()


def milliseconds(waited: dict[str, float]) -> str:
    return ", ".join(f"{what} {seconds * 1000:.0f} ms" for what, seconds in waited.items())


@pytest.fixture
def roomy_sim() -> Iterator[VdpaDevices]:
    """Simulated devices that pin memory, with room for far more entries than there are by default:
    each page that is no neighbour of the one before takes one."""
    room = 1 << 20
    kernel.unload("vdpa_sim_net", "vhost_vdpa")
    kernel.load(f"vhost_vdpa max_iotlb_entries={room}",
                f"vdpa_sim use_va=0 max_iotlb_entries={room}", "vdpa_sim_net")
    devices = VdpaDevices("vdpasim_net")
    yield devices
    devices.close()
    kernel.unload("vdpa_sim_net", "vhost_vdpa")


def test_mapping_memory_holds_no_other_port_up(roomy_sim: VdpaDevices, engine: EngineAlone,
                                               files: Callable[[int], int]) -> None:
    """A file in small pages, none of which is there yet, as six regions; and all of it taken away
    again. On hardware a piece of it is mapped in less than 50 ms: here the unit is how long it all
    takes, of which another port may notice a small part; where that is not much longer than the
    guest's processors are away for, the figures tell no more than that it ends."""
    engine.expect_log(LOST)
    size = 64 * MEBIBYTE
    file = files(size)
    regions = [((8 + number) << 30, size, file) for number in range(6)]
    path = engine.serve("vm1", roomy_sim.create("v0", "mac", MAC))
    other_path = engine.serve("vm2", roomy_sim.create("v1", "mac", MAC))
    with FrontEnd(other_path, bound=60) as far, FrontEnd(path, bound=60) as front_end:
        far.set_up()
        engine.wait_port("vm2", "running", queues=1)
        other = OtherPort(engine, far)
        for _ in range(20):
            other.look()
        usual = other.longest()
        before = engine.pinned()

        def until(pinned: Callable[[], bool], state: str) -> float:
            """Looks at the other port until then; how long that took."""
            begin = time.monotonic()
            while other.look()["vm1"]["state"] != state or not pinned():
                assert time.monotonic() < begin + 120, engine.port("vm1")
            return time.monotonic() - begin
        front_end.negotiate()
        front_end.share_memory(*regions)
        front_end.set_rings()
        whole = before + 6 * size // 1024
        took = until(lambda: engine.pinned() > whole, "running")
        mapping = other.longest()
        around(front_end, 1)
        front_end.share_memory()
        took_away = until(lambda: engine.pinned() < before + 10 * 1024, "running")
        unmapping = other.longest()
        around(front_end, 2)
        other.close()
    print(f"\nthe other port waited, without: {milliseconds(usual)}; while 384 MiB were mapped in "
          f"{took:.2f} s: {milliseconds(mapping)}; unmapped in {took_away:.2f} s: "
          f"{milliseconds(unmapping)}")
    for waited, whole_time in ((mapping, took), (unmapping, took_away)):
        for what, seconds in waited.items():
            assert seconds < max(1, 3 * usual[what], whole_time / 4), (what, usual, waited)
