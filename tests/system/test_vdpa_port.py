# SPDX-License-Identifier: Apache-2.0
"""A row of the database has a guest's rings served by a kernel vDPA device, which moves every
packet without our processes."""

import json
import time
from pathlib import Path

import pytest

from bed.loop import Loop, assert_complete
from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from kernel_port import MAC, KernelPort

FRAMES = 1_000_000
# A part of a processor.
ALLOWED_LOAD = 0.001


@pytest.mark.bound(1200)
def test_million_frames_pass_the_engine_by(stack: Stack, netdevsim: NetdevsimBus,
                                           vdpa_sim: VdpaDevices, tmp_path: Path) -> None:
    port = KernelPort(stack, netdevsim, vdpa_sim)
    port.wait_attached()
    end = time.monotonic() + 20
    idle = stack.watch(lambda: time.monotonic() < end)
    # Half a ring is under way at most: the simulator drops what it has no buffer for.
    with Loop(port.path, FRAMES, tmp_path, window=128, ring=256, patience=60) as loop:
        loop.wait_started()
        status = stack.wait_state("vm1", "running", 30)
        shown = stack.shown()["vm1"]
        first = loop.received()
        busy = stack.watch(lambda: not loop.ended())
        result = loop.wait(30)
    assert_complete(result)
    assert result.received == FRAMES
    print(f"{FRAMES} frames in {result.seconds:.0f} s; without them: {idle}; with them: {busy}")
    assert first < FRAMES / 10, "frames came before the measurement"
    assert busy.processor - idle.processor < ALLOWED_LOAD, f"{idle}; {busy}"
    # Nor does anything wait for packets.
    assert busy.wakeups < 1.5 * idle.wakeups + 1, f"{idle}; {busy}"

    assert (status["mode"], status["device"]) == ("kernel", str(port.device)), status
    assert "reason" not in status, status
    assert shown["doorbell"] == "eventfd" and shown["queues"] == 1, shown
    assert (shown["device_mac"], shown["device_mtu"]) == (MAC, 1500), shown
    assert vdpa_sim.config("v0")["mac"] == MAC
    port.wait_attached()


def test_counters_are_those_of_the_device(stack: Stack, netdevsim: NetdevsimBus,
                                          vdpa_sim: VdpaDevices, tmp_path: Path) -> None:
    port = KernelPort(stack, netdevsim, vdpa_sim)
    with Loop(port.path, 10 ** 9, tmp_path, patience=60) as loop:
        loop.wait_started()
        stack.wait_state("vm1", "running", 30)
        before = vdpa_sim.counter("v0", 1, "tx_packets")
        queues = json.loads(stack.agentctl("vdpa/stats", "vm1", "--json"))["queues"]
        after = vdpa_sim.counter("v0", 1, "tx_packets")
        counted = {queue["index"]: queue["counters"] for queue in queues}
        assert before <= counted[1]["tx packets"] <= after, (before, queues, after)
        assert counted[0]["rx packets"] >= before and counted[0]["rx drops"] == 0, queues


@pytest.mark.kernels("6.1")
def test_kernel_without_vdpa_is_named(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(1)
    stack.expect_log(r"\|port\(control\)\|WARN\|vm1: .*kernel-lacks")
    stack.add_vdpa_port("vm1", vdpa_representor=f"{nic.handle},vf0",
                        vdpa_accelerator_devargs="/dev/vhost-vdpa-0")
    status = stack.wait_status("vm1", reason="kernel-lacks")
    assert status["state"] != "running" and "served-socket" not in status, status
    assert "/dev/vhost-vdpa-0" in status["detail"] and "vhost_vdpa" in status["detail"], status
