# SPDX-License-Identifier: Apache-2.0
"""The agent's acts on the host, each by itself: agent_host_kernel_test of tests/unit, which skips
what the kernel does not have, on one that has it."""

import os
import re
import subprocess

import pytest

from bed import kernel
from bed.netdevsim import NetdevsimBus
from bed.sriov import PciPf
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.sandbox import build_folder

# TCG on a busy machine.
BOUND = 300


def pass_all(suites: str, env: dict[str, str] | None = None) -> None:
    """Runs these suites of the program; none of their tests may fail, be skipped or be missing."""
    program = build_folder() / "tests/unit/agent/host/agent_host_kernel_test"
    done = subprocess.run([program, f"--gtest_filter={suites}"], env=env or dict(os.environ),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=BOUND - 30)
    assert done.returncode == 0, done.stdout
    assert "[  SKIPPED ]" not in done.stdout, done.stdout
    passed = re.search(r"^\[  PASSED  \] (\d+) test", done.stdout, re.MULTILINE)
    assert passed and int(passed[1]) > 0, done.stdout


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.bound(BOUND)
def test_switchdev_nic_is_prepared_and_its_representors_named(netdevsim: NetdevsimBus) -> None:
    assert netdevsim.numbers() == []
    pass_all("NetdevsimTest.*")


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.bound(BOUND)
def test_ports_of_a_datapath_are_renamed_without_harm(netdevsim: NetdevsimBus) -> None:
    assert netdevsim.numbers() == []
    kernel.load("openvswitch")
    pass_all("DatapathTest.*")


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.bound(BOUND)
def test_ovs_vswitchd_takes_representors_and_lets_them_go(netdevsim: NetdevsimBus) -> None:
    assert netdevsim.numbers() == []
    with Stack(engine=False, agent=False) as stack:
        # ovs-vswitchd is often quicker than a netdev is named.
        stack.expect_log(r"could not open network device vm[12] \(No such device\)")
        stack.expect_log(r"failed to query port vm[12]: No such device")
        pass_all("VswitchdTest.*", stack.env)


@pytest.mark.bound(BOUND)
def test_vfs_are_made_unbound_and_bound(nvme_pf: PciPf) -> None:
    pass_all("SriovTest.*")
    assert nvme_pf.vfs() == []


@pytest.mark.bound(BOUND)
def test_vdpa_devices_are_made_and_removed(vdpa_sim: VdpaDevices) -> None:
    pass_all("VdpaSimulatorTest.*")
    assert vdpa_sim.names() == []
