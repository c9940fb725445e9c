# SPDX-License-Identifier: Apache-2.0
"""Whatever ends and comes back while a kernel vDPA device serves a guest, the guest's frames come
around again, and nothing is left behind. OVDA_ROUNDS says how often; few by default."""

import os
import time
from pathlib import Path
from typing import Callable

import pytest

from bed.engine_alone import EngineAlone
from bed.loop import Loop
from bed.vdpa import VdpaDevices
from harness.wait import PATIENCE, wait_for

MAC = "02:00:00:00:00:42"
ROUNDS = int(os.environ.get("OVDA_ROUNDS") or 4)
# What the vhost library and the engine say of a front-end or a device that is lost.
LOST = r"\|(dpdk|vhost|vdpa|kernel_vdpa)\|(WARN|ERR)\|"


class Traffic:
    """A front-end that lives on and listens, so that the engine can come back to it."""

    def __init__(self, engine: EngineAlone, devices: VdpaDevices, folder: Path) -> None:
        engine.expect_log(LOST)
        self.engine = engine
        self.devices = devices
        self.create_device()
        self.serve()
        self.loop = Loop(engine.socket_path("vm1"), 10 ** 9, folder, server=1, patience=1)
        self.loop.wait_started()

    def create_device(self) -> None:
        self.device = self.devices.create("v0", "mac", MAC)

    def serve(self) -> None:
        self.engine.serve("vm1", self.device, mode="client")

    def transmitted(self) -> int:
        """Frames that the device has taken since it was made or set up."""
        return self.devices.counter("v0", 1, "tx_packets")

    def await_flow(self) -> None:
        """Frames go around: more of them the second time that one looks."""
        self.engine.wait_port("vm1", "running", queues=1, bound=60)
        before = self.transmitted()
        wait_for(lambda: self.transmitted() > before + 200, 30,
                 lambda: f"frames to go around after {before}: {self.transmitted()}, "
                         f"{self.engine.port('vm1')}\n{self.loop.describe()}")


def kill_engine(traffic: Traffic) -> None:
    traffic.engine.engine.kill()
    traffic.engine.start_engine()
    traffic.engine.prepare()
    traffic.serve()


def stop_engine(traffic: Traffic) -> None:
    traffic.engine.engine.stop()
    traffic.engine.start_engine()
    traffic.engine.prepare()
    traffic.serve()


def delete_device(traffic: Traffic) -> None:
    begin = time.monotonic()
    traffic.devices.delete("v0")
    took = time.monotonic() - begin
    assert took < 2 * PATIENCE, f"vdpa dev del took {took:.1f} s"
    traffic.engine.wait_port("vm1", "failed", reason="device-missing")
    traffic.create_device()


def serve_anew(traffic: Traffic) -> None:
    traffic.engine.remove("vm1")
    traffic.serve()


@pytest.mark.bound(120 + 120 * ROUNDS)
@pytest.mark.parametrize("disturb", [kill_engine, stop_engine, delete_device, serve_anew])
def test_frames_come_around_again(engine: EngineAlone, vdpa_sim_pinned: VdpaDevices, tmp_path: Path,
                                  disturb: Callable[[Traffic], None]) -> None:
    traffic = Traffic(engine, vdpa_sim_pinned, tmp_path)
    with traffic.loop:
        traffic.await_flow()
        for _ in range(ROUNDS):
            disturb(traffic)
            traffic.await_flow()
        descriptors, pinned = engine.descriptors(), engine.pinned()
        disturb(traffic)
        traffic.await_flow()
        assert engine.pinned() == pinned
        assert not engine.descriptors() - descriptors
    engine.remove("vm1")
    assert engine.pinned() == 0


@pytest.mark.bound(120 + 60 * ROUNDS)
def test_front_ends_come_and_go(engine: EngineAlone, vdpa_sim_pinned: VdpaDevices,
                                tmp_path: Path) -> None:
    engine.expect_log(LOST)
    path = engine.serve("vm1", vdpa_sim_pinned.create("v0", "mac", MAC))
    descriptors = engine.descriptors()
    for _ in range(ROUNDS):
        with Loop(path, 10 ** 9, tmp_path) as loop:
            loop.wait_started()
            engine.wait_port("vm1", "running", queues=1)
        engine.wait_port("vm1", "listening")
        engine.wait_clean(descriptors)
    engine.remove("vm1")


@pytest.mark.machine("viommu")
def test_device_that_takes_fresh_rings_only_says_so(engine: EngineAlone, vp_vdpa: VdpaDevices,
                                                    tmp_path: Path) -> None:
    engine.expect_log(LOST)
    device = vp_vdpa.create("v0")
    engine.serve("vm1", device, mode="client")
    with Loop(engine.socket_path("vm1"), 10 ** 9, tmp_path, server=1, patience=1) as loop:
        loop.wait_started()
        engine.wait_port("vm1", "running", queues=1)
        engine.engine.kill()
        engine.start_engine()
        engine.prepare()
        engine.serve("vm1", device, mode="client")
        port = engine.wait_port("vm1", "connected", reason="no-ring-state")
        assert "/dev/vhost-vdpa-" in port["detail"] and "fresh" in port["detail"]
    # The next driver begins with fresh rings, and is served.
    with Loop(engine.socket_path("vm1"), 1000, tmp_path, server=1) as loop:
        loop.wait_started()
        engine.wait_port("vm1", "running", queues=1)
    engine.remove("vm1")
