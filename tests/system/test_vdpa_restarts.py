# SPDX-License-Identifier: Apache-2.0
"""An engine, or a port, that ends in an orderly way and comes back gives its guest's rings back so
that frames go on coming around. What ends otherwise is in test_vdpa_convergence.py."""

from pathlib import Path
from typing import Callable

import pytest

from bed.engine_alone import EngineAlone
from bed.loop import Loop, assert_complete, run
from bed.vdpa import VdpaDevices
from harness.wait import wait_for
from kernel_port import LOST, MAC

ROUNDS = 3
FRAMES = 1000


class Traffic:
    """A front-end that lives on and listens, so that the engine can come back to it."""

    def __init__(self, engine: EngineAlone, devices: VdpaDevices, folder: Path) -> None:
        engine.expect_log(LOST)
        self.engine = engine
        self.device = devices.create("v0", "mac", MAC)
        self.serve()
        self.loop = Loop(engine.socket_path("vm1"), 10 ** 9, folder, server=1, patience=1,
                         memory=64, huge=1)
        self.loop.wait_started()

    def serve(self) -> None:
        self.engine.serve("vm1", self.device, mode="client")

    def await_flow(self) -> None:
        """Frames come back: more of them the second time that one looks."""
        self.engine.wait_port("vm1", "running", queues=1, bound=60)
        before = self.loop.received()
        wait_for(lambda: self.loop.received() > before + 500, 30,
                 lambda: f"frames to come back after {before}: {self.loop.received()}, "
                         f"{self.engine.port('vm1')}\n{self.loop.describe()}")


def stop_engine(traffic: Traffic) -> None:
    traffic.engine.engine.stop()
    traffic.engine.start_engine()
    traffic.engine.prepare()
    traffic.serve()


def serve_anew(traffic: Traffic) -> None:
    traffic.engine.remove("vm1")
    traffic.serve()


@pytest.mark.bound(600)
@pytest.mark.parametrize("disturb", [stop_engine, serve_anew])
def test_frames_come_around_again(engine: EngineAlone, vdpa_sim_pinned: VdpaDevices, tmp_path: Path,
                                  disturb: Callable[[Traffic], None]) -> None:
    traffic = Traffic(engine, vdpa_sim_pinned, tmp_path)
    with traffic.loop:
        traffic.await_flow()
        descriptors, pinned = engine.descriptors(), engine.pinned()
        for _ in range(ROUNDS):
            disturb(traffic)
            traffic.await_flow()
        engine.wait_clean(descriptors, pinned)
        result = traffic.loop.stop()
    assert not (result.misordered or result.damaged), result
    engine.remove("vm1")
    # It is off the list before its device is let go of.
    wait_for(lambda: engine.pinned() == 0, 30, lambda: f"no pinned memory: {engine.pinned()}")


@pytest.mark.machine("viommu")
def test_device_that_takes_fresh_rings_only(engine: EngineAlone, vp_vdpa: VdpaDevices,
                                            tmp_path: Path) -> None:
    """Says so of others, and serves those."""
    engine.expect_log(LOST)
    device = vp_vdpa.create("v0")
    engine.serve("vm1", device, mode="client")
    path = engine.socket_path("vm1")
    with Loop(path, 10 ** 9, tmp_path, server=1, patience=1, memory=64, huge=1) as loop:
        loop.wait_started()
        engine.wait_port("vm1", "running", queues=1)
        engine.engine.kill()
        engine.start_engine()
        engine.prepare()
        engine.serve("vm1", device, mode="client")
        port = engine.wait_port("vm1", "connected", reason="no-ring-state")
        assert "/dev/vhost-vdpa-" in port["detail"] and "fresh" in port["detail"]
    path.unlink()  # virtio-user's, which was killed
    assert_complete(run(path, FRAMES, tmp_path, server=1, memory=64, huge=1))
    engine.remove("vm1")
