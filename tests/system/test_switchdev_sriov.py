# SPDX-License-Identifier: Apache-2.0
"""SR-IOV on PCI: VFs are made, counted and followed. The device has no eswitch, so that more than
that cannot be had of it, and this is said."""

import pytest

from bed import kernel
from bed.sriov import PciPf
from bed.stack import Stack
from harness.wait import wait_for
from switchdev import expect_refusal, prepare_pf

pytestmark = pytest.mark.kernels("6.1", "6.12")


def functions(stack: Stack, pf: PciPf) -> dict[int, dict]:
    """VFs by number, as the agent sees them."""
    for entry in stack.devices()["pfs"]:
        if entry["pf"] == pf.address:
            return {function["number"]: function for function in entry["functions"]}
    return {}


def wait_functions(stack: Stack, pf: PciPf, count: int) -> dict[int, dict]:
    wait_for(lambda: len(functions(stack, pf)) == count, 20,
             lambda: f"{count} VFs: {stack.devices()}")
    return functions(stack, pf)


def test_vfs_are_made(stack: Stack, nvme_pf: PciPf) -> None:
    expect_refusal(stack, nvme_pf.address, "eswitch-unsupported")
    prepare_pf(stack, nvme_pf.address, 3)
    wait_for(lambda: nvme_pf.vf_count == 3, 30, "three VFs")
    found = wait_functions(stack, nvme_pf, 3)
    assert {number: function["device"] for number, function in found.items()} == {
        number: nvme_pf.vf(number) for number in range(3)}
    host = stack.wait_host_reason("eswitch-unsupported")
    assert nvme_pf.address in host["host-detail"]
    prepare_pf(stack, nvme_pf.address, 4)
    wait_for(lambda: nvme_pf.vf_count == 4, 30, "four VFs")


def test_vfs_that_come_and_go_are_followed(stack: Stack, nvme_pf: PciPf) -> None:
    for count in (2, 0, 4, 0, 1):
        nvme_pf.set_vfs(0)
        nvme_pf.set_vfs(count)
        found = wait_functions(stack, nvme_pf, count)
        assert [found[number]["device"] for number in sorted(found)] == nvme_pf.vfs()


def test_driver_of_a_vf_is_followed(stack: Stack, nvme_pf: PciPf) -> None:
    """The nvme driver gives QEMU's VFs up again; pci-stub takes any device."""
    kernel.load("pci-stub")
    nvme_pf.set_autoprobe(False)
    nvme_pf.set_vfs(1)
    address = nvme_pf.vf(0)
    assert address
    wait_functions(stack, nvme_pf, 1)
    nvme_pf.override(address, "pci-stub")
    for _ in range(2):
        nvme_pf.bind(address, "pci-stub")
        wait_for(lambda: functions(stack, nvme_pf)[0]["driver"] == "pci-stub", 20,
                 lambda: f"the driver to be seen: {stack.devices()}")
        nvme_pf.unbind(address)
        wait_for(lambda: functions(stack, nvme_pf)[0]["driver"] == "", 20,
                 lambda: f"no driver to be seen: {stack.devices()}")


def test_row_waits_for_a_vf(stack: Stack, nvme_pf: PciPf) -> None:
    nvme_pf.set_vfs(2)
    address = nvme_pf.vf(1)
    assert address
    nvme_pf.set_vfs(0)
    stack.add_vdpa_port("vm1", vdpa_accelerator_devargs=address)
    stack.wait_status("vm1", state="waiting", reason="device-missing")
    expect_refusal(stack, "vm1", "eswitch-unsupported")
    nvme_pf.set_vfs(2)
    stack.wait_status("vm1", state="invalid", reason="eswitch-unsupported")
