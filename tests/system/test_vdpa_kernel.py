# SPDX-License-Identifier: Apache-2.0
"""The engine serves a port's rings by a kernel vDPA device, which moves every packet itself."""

from pathlib import Path

import pytest

from bed.engine_alone import EngineAlone
from bed.loop import Loop, VduseLoop, assert_complete, run
from bed.vdpa import VdpaDevices
from harness.wait import wait_for

MAC = "02:00:00:00:00:42"
# Enough for every ring to go around a hundred times.
FRAMES = 25_000
# Of a front-end whose memory is pinned: scattered small pages can be more than vhost_vdpa has entries
# for.
HUGEPAGES = {"memory": 64, "huge": 1}
FRONT_END_KILLED = r"\|(dpdk|vhost)\|(WARN|ERR)\|"


@pytest.mark.bound(300)
def test_memory_is_pinned_while_it_is_served_and_no_longer(
        engine: EngineAlone, vdpa_sim_pinned: VdpaDevices, tmp_path: Path) -> None:
    engine.expect_log(FRONT_END_KILLED)
    path = engine.serve("vm1", vdpa_sim_pinned.create("v0", "mac", MAC))
    # What an engine has once it has served somebody, it keeps.
    assert_complete(run(path, FRAMES, tmp_path, **HUGEPAGES))
    engine.wait_port("vm1", "listening")
    descriptors = engine.descriptors()
    assert engine.pinned() == 0
    for _ in range(5):
        with Loop(path, 10 ** 9, tmp_path, **HUGEPAGES) as loop:
            loop.wait_started()
            engine.wait_port("vm1", "running", queues=1)
            assert engine.pinned() >= 32 * 1024
        engine.wait_port("vm1", "listening")
        engine.wait_clean(descriptors)
    engine.remove("vm1")
    vdpa_sim_pinned.delete("v0", bound=10)


@pytest.mark.parametrize("packed", [0, 1])
def test_queue_pairs(engine: EngineAlone, tmp_path: Path, packed: int) -> None:
    with VduseLoop("d0", pairs=4) as device:
        path = engine.serve("vm1", device.device, queues=4)
        for pairs in (1, 4, 2):
            before = device.frames()
            with Loop(path, FRAMES, tmp_path, pairs=pairs, packed=packed) as loop:
                loop.wait_started()
                engine.wait_port("vm1", "running", queues=pairs)
                assert_complete(loop.wait(60))
            counted = [now - then for now, then in zip(device.frames(), before)]
            assert counted == [FRAMES] * pairs + [0] * (4 - pairs)
        assert engine.port("vm1")["device_queues"] == 4
        engine.remove("vm1")


@pytest.mark.machine("viommu")
@pytest.mark.parametrize("packed", [0, 1])
def test_translated_addresses(engine: EngineAlone, vp_vdpa: VdpaDevices, tmp_path: Path,
                              packed: int) -> None:
    path = engine.serve("vm1", vp_vdpa.create("v0"))
    for _ in range(3):
        with Loop(path, FRAMES, tmp_path, packed=packed, **HUGEPAGES) as loop:
            loop.wait_started()
            engine.wait_port("vm1", "running", queues=1)
            assert engine.pinned() >= 32 * 1024
            assert_complete(loop.wait(60))
        engine.wait_port("vm1", "listening")
        wait_for(lambda: engine.pinned() == 0, 10, lambda: f"no pinned page: {engine.pinned()} kB")
    engine.remove("vm1")
