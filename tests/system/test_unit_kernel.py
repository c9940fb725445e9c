# SPDX-License-Identifier: Apache-2.0
"""Unit tests of what the agent does to a host, on a kernel that has what they need: elsewhere they
skip themselves."""

import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bed import kernel
from bed.netdevsim import NetdevsimBus
from bed.sriov import PciPf
from bed.stack import Stack
from harness.sandbox import build_folder

PROGRAM = "tests/unit/agent/host/agent_host_kernel_test"


def run(program: Path, folder: Path, stack: Stack) -> tuple[list[str], list[str]]:
    """Names of the tests that passed and that were skipped; AssertionError if one failed."""
    results = folder / "results.xml"
    done = subprocess.run([program, f"--gtest_output=xml:{results}", "--gtest_brief=1"],
                          env=stack.env, capture_output=True, text=True, timeout=1100)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = list(ElementTree.parse(results).iter("testcase"))
    skipped = [case for case in cases if case.get("result") == "skipped"]
    return ([f"{case.get('classname')}.{case.get('name')}" for case in cases
             if case not in skipped],
            [f"{case.get('classname')}.{case.get('name')}" for case in skipped])


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.bound(1200)
def test_acts_on_the_host(kernel_ovs: Stack, netdevsim: NetdevsimBus, nvme_pf: PciPf,
                          tmp_path: Path, kernel_series: str) -> None:
    del netdevsim, nvme_pf  # Their modules are loaded, and what is left of them goes.
    # The netdevs that it attaches, exchanges and removes are ovs-vswitchd's while it does so.
    kernel_ovs.expect_log(r"No such device|File exists")
    if kernel_series != "6.1":
        kernel.load("vhost_vdpa", "vdpa_sim_net")
    program = build_folder() / PROGRAM
    if not program.exists():
        pytest.skip(f"{program} is not built")
    passed, skipped = run(program, tmp_path, kernel_ovs)
    assert passed
    # Before 6.12 Debian's kernels have no vDPA; nothing else may be missing.
    assert kernel_series == "6.1" or not skipped, skipped
