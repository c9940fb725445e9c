# SPDX-License-Identifier: Apache-2.0
"""Front-ends that lie about their memory and their rings, on a port whose rings the kernel serves
by what they say: it never hears of a lie, and a port beside it loses nothing."""

from pathlib import Path
from typing import Callable

import pytest

from attacks import REFUSED, Attack, attack
from bed.engine_alone import EngineAlone
from bed.loop import Loop
from bed.vdpa import VdpaDevices
from harness.wait import wait_for
from hostile_memory import memory_attacks, ring_attacks

REFUSED_BY_DEVICE = r"\|kernel_vdpa\|WARN\|/dev/vhost-vdpa-0: "


@pytest.mark.bound(1800)
@pytest.mark.parametrize("attacks", [memory_attacks, ring_attacks])
def test_port_and_its_neighbour_live_on(engine: EngineAlone, vdpa_sim_pinned: VdpaDevices,
                                        tmp_path: Path,
                                        attacks: Callable[[], dict[str, Attack]]) -> None:
    for pattern in (*REFUSED, REFUSED_BY_DEVICE):
        engine.expect_log(pattern)
    path = engine.serve("vm1", vdpa_sim_pinned.create("v0"))
    neighbour = engine.serve("vm2", vdpa_sim_pinned.create("v1"))
    with Loop(neighbour, 10 ** 9, tmp_path, patience=60, memory=64, huge=1) as loop:
        loop.wait_started()
        engine.wait_port("vm2", "running", queues=1)
        before, pinned, descriptors = loop.received(), engine.pinned(), engine.descriptors()
        attack(path, attacks(),
               lambda state, pairs: engine.wait_port("vm1", state, queues=pairs))
        engine.wait_clean(descriptors, pinned)
        assert loop.received() > before
        # It goes on, and so tells of what it lost until now.
        after = loop.received()
        wait_for(lambda: loop.received() > after + 1000, 60, "the neighbour to go on")
        result = loop.stop()
    assert not (result.lost or result.misordered or result.damaged), result
