# SPDX-License-Identifier: Apache-2.0
"""The guest's kernel vDPA devices move packets for DPDK's own front-end. What is measured here is
what the project's engine, between the two, may not lose."""

import contextlib
import os
from pathlib import Path
from typing import Iterator

import pytest

from bed.vdpa import VdpaDevices
from harness.testpmd import Testpmd
from harness.wait import wait_for

MAC = "02:00:00:00:00:42"
PACKETS = 20_000


@contextlib.contextmanager
def front_end(device: Path, folder: Path) -> Iterator[Testpmd]:
    """testpmd on the device itself; it sends on what it receives, to the device's own MAC."""
    testpmd = Testpmd("direct", device, folder, os.environ, forward="io",
                      options=f"--eth-peer=0,{MAC}", bound=60)
    try:
        yield testpmd
        testpmd.quit()
    finally:
        testpmd.kill()


def received(testpmd: Testpmd) -> int:
    return testpmd.statistics()["RX-packets"]


def test_simulator_moves_packets(vdpa_sim: VdpaDevices, tmp_path: Path) -> None:
    with front_end(vdpa_sim.create("v0", "mac", MAC), tmp_path) as testpmd:
        # One burst circulates: well below half a ring.
        testpmd.command("start tx_first 1")
        wait_for(lambda: received(testpmd) >= PACKETS, 60,
                 lambda: f"{PACKETS} packets, {received(testpmd)} came")
        testpmd.command("stop")
        counted = testpmd.statistics()
    assert counted["TX-packets"] - counted["RX-packets"] <= 32
    vdpa_sim.delete("v0", bound=10)


def test_simulator_pins_memory_where_it_is_told_to(vdpa_sim_pinned: VdpaDevices,
                                                   tmp_path: Path) -> None:
    device = vdpa_sim_pinned.create("v0", "mac", MAC)

    def pinned(pid: int) -> int:
        """Pages that a device may write to, in kB."""
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmPin:"):
                return int(line.split()[1])
        raise AssertionError("no VmPin")
    with front_end(device, tmp_path) as testpmd:
        assert pinned(testpmd.pid) > 0
        testpmd.command("start tx_first 1")
        wait_for(lambda: received(testpmd) > 1000, 60, "packets")


@pytest.mark.machine("viommu")
def test_virtio_pci_device_takes_a_front_end(vp_vdpa: VdpaDevices, tmp_path: Path) -> None:
    """Its network gives back what is sent, and nobody takes that here, so that it fills up: more than
    a ring of packets gets through before. With packed rings DPDK 22.11 would state no wrap counter
    of the used ring, which the driver refuses."""
    with front_end(vp_vdpa.create("p0"), tmp_path) as testpmd:
        testpmd.command("set fwd txonly")
        testpmd.command("start")
        wait_for(lambda: testpmd.statistics()["TX-packets"] >= 300, 60,
                 lambda: f"packets to be sent: {testpmd.statistics()}")
