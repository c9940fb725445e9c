# SPDX-License-Identifier: Apache-2.0
"""A PF's eswitch whose VFs are PCI functions with drivers: they are unbound for the change of its
mode, and it is not changed while one is in use. One that takes its time, or cannot be asked. The
eswitch is played by a module of our own on an nvme controller, so there are no representors."""

import errno
import time
from typing import Any

import pytest

from bed import kernel
from bed.eswitch import Eswitch
from bed.netdevsim import NetdevsimBus
from bed.sriov import PciPf
from bed.stack import Stack
from harness.wait import wait_for
from switchdev import add_port, exists, expect_refusal, prepare_pf, untouched, wait_ports

pytestmark = pytest.mark.kernels("6.1", "6.12")

STUB = "pci-stub"  # Takes any device and does nothing with it.
FOR_PROGRAMS = "uio_pci_generic"


def add_vfs(pf: PciPf, count: int, driver: str) -> list[str]:
    """VFs that are bound to that driver; their addresses."""
    kernel.load(driver)
    pf.set_autoprobe(False)
    pf.set_vfs(count)
    for address in pf.vfs():
        pf.override(address, driver)
        pf.bind(address, driver)
    return pf.vfs()


def shown(stack: Stack, pf: PciPf) -> dict[str, Any]:
    return next((entry for entry in stack.devices()["pfs"] if entry["pf"] == pf.address), {})


def wait_prepared(stack: Stack, pf: PciPf, bound: float = 30) -> None:
    wait_for(lambda: shown(stack, pf).get("eswitch") == "switchdev" and
             shown(stack, pf)["reason"] is None, bound, lambda: f"{shown(stack, pf)}")


def test_vfs_have_no_driver_while_the_eswitch_changes(stack: Stack, nvme_pf: PciPf,
                                                      eswitch: Eswitch) -> None:
    vfs = add_vfs(nvme_pf, 2, STUB)
    eswitch.plug(set_seconds=3)
    wait_for(lambda: shown(stack, nvme_pf).get("eswitch") == "legacy", 30,
             lambda: f"an eswitch: {shown(stack, nvme_pf)}")
    prepare_pf(stack, nvme_pf.address, 2)
    wait_for(lambda: not any(map(nvme_pf.driver, vfs)), 30, "VFs without driver", 0.001)
    assert shown(stack, nvme_pf)["eswitch"] == "legacy"
    wait_for(lambda: list(map(nvme_pf.driver, vfs)) == [STUB] * 2, 30, "VFs with a driver", 0.001)
    assert eswitch.mode == "switchdev"
    wait_prepared(stack, nvme_pf)
    assert nvme_pf.vfs() == vfs


def test_eswitch_is_not_changed_while_a_vf_is_in_use(stack: Stack, nvme_pf: PciPf,
                                                     eswitch: Eswitch) -> None:
    """By a program, which a driver hands it to. (vfio-pci would want an IOMMU.)"""
    idle, used = add_vfs(nvme_pf, 2, STUB)
    nvme_pf.unbind(used)
    kernel.load(FOR_PROGRAMS)
    nvme_pf.override(used, FOR_PROGRAMS)
    nvme_pf.bind(used, FOR_PROGRAMS)
    eswitch.plug()
    expect_refusal(stack, nvme_pf.address, "pf-needs-drain")
    prepare_pf(stack, nvme_pf.address, 2)
    host = stack.wait_host_reason("pf-needs-drain", 30)
    assert "switchdev" in host["host-detail"] and used in host["host-detail"]
    assert shown(stack, nvme_pf)["reason"] == "pf-needs-drain"
    assert eswitch.mode == "legacy"
    assert list(map(nvme_pf.driver, (idle, used))) == [STUB, FOR_PROGRAMS]
    nvme_pf.unbind(used)
    wait_prepared(stack, nvme_pf)
    stack.wait_host_reason(None)
    assert eswitch.mode == "switchdev" and nvme_pf.driver(idle) == STUB


def test_eswitch_that_cannot_be_read_is_asked_again(stack: Stack, nvme_pf: PciPf,
                                                    eswitch: Eswitch) -> None:
    eswitch.plug(get_error=errno.ENOMEM)
    expect_refusal(stack, nvme_pf.address, "eswitch-unread")
    stack.expect_log(rf"\|WARN\|{eswitch.handle}: its eswitch's mode cannot be read: ")
    prepare_pf(stack, nvme_pf.address, 1)
    host = stack.wait_host_reason("eswitch-unread", 30)
    assert "Cannot allocate memory" in host["host-detail"]
    stack.add_vdpa_port("vm1", vdpa_representor=f"{nvme_pf.address},vf0")
    stack.wait_status("vm1", state="waiting", reason="eswitch-unread")
    assert shown(stack, nvme_pf)["eswitch"] == "unread"
    assert "Cannot allocate memory" in shown(stack, nvme_pf)["detail"]
    assert nvme_pf.vf_count == 0, "what is not known is not changed"
    eswitch.set_get_error(0)
    # By itself: nothing notifies of it. It has been asked for some time, so at long intervals.
    wait_prepared(stack, nvme_pf, 60)
    stack.wait_status("vm1", state="waiting", reason="representor-missing")


def add_and_delete(stack: Stack, name: str, netdevsim: Any, vf: int) -> tuple[float, float, float]:
    """How long it takes a port to come and to go, and vdpa/show to be answered, in seconds."""
    begin = time.monotonic()
    add_port(stack, netdevsim, name, vf)
    wait_for(lambda: name in stack.vport_netdevs(), 60, name, 0.02)
    there = time.monotonic()
    stack.agentctl("vdpa/show")
    shown_at = time.monotonic()
    stack.vsctl("--no-wait", "del-port", name)
    wait_for(lambda: not exists(name), 60, f"{name} to have its old name", 0.02)
    return there - begin, time.monotonic() - shown_at, shown_at - there


@pytest.mark.bound(600)
def test_eswitch_that_takes_long_holds_up_nobody_else(
        stack: Stack, netdevsim: NetdevsimBus, nvme_pf: PciPf, eswitch: Eswitch) -> None:
    nic = netdevsim.create().to_switchdev(2)
    add_vfs(nvme_pf, 2, STUB)
    seconds = 20
    eswitch.plug(set_seconds=seconds)
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)
    usual = add_and_delete(stack, "vm2", nic, 1)

    def is_changing() -> bool:
        return "setting the eswitch to switchdev mode" in shown(stack, nvme_pf)["detail"]
    prepare_pf(stack, nvme_pf.address, 2)
    wait_for(is_changing, 60, lambda: f"a change: {shown(stack, nvme_pf)}", 0.02)
    begin = time.monotonic()
    meanwhile = []
    with untouched(stack, "vm1"):
        while is_changing():
            meanwhile.append(add_and_delete(stack, "vm2", nic, 1))
    assert time.monotonic() - begin > 10, "it has taken its time"
    wait_prepared(stack, nvme_pf)
    # The last may have begun when the change was over already.
    for what, normal, times in zip(("add", "delete", "vdpa/show"), usual, zip(*meanwhile)):
        assert max(times) < 3 * normal + 4, f"{what}: {times}, usually {normal}"
