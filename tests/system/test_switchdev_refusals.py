# SPDX-License-Identifier: Apache-2.0
"""What is unsafe or senseless is not done, and the row, or the host's keys, say why.

A netdevsim has neither SFs nor ports of an external controller, and its VFs have no devices that
could hold its eswitch: these are played by the unit tests' fixtures (agent_inventory_test)."""

import pytest

from bed.netdevsim import NetdevsimBus
from bed.sriov import PciPf
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.wait import wait_for
from switchdev import (add_port, exists, expect_refusal, ifindex, no_device, own_names, prepare,
                       representor_key, untouched, wait_ports)

BOTH_KERNELS = pytest.mark.kernels("6.1", "6.12")


@BOTH_KERNELS
def test_fewer_vfs_while_one_is_in_use(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create()
    prepare(stack, nic, 2)
    add_port(stack, nic, "vm1", 1)
    wait_ports(stack, nic, vm1=1)
    expect_refusal(stack, nic.handle, "pf-needs-drain")
    with untouched(stack, "vm1"):
        prepare(stack, nic, 1)
        host = stack.wait_host_reason("pf-needs-drain")
        assert nic.handle in host["host-detail"] and "vm1" in host["host-detail"]
        assert nic.vfs == 2
    stack.del_port("vm1")
    wait_for(lambda: nic.vfs == 1, 30, "one VF")
    stack.wait_host_reason(None)


def ports_of_engine(stack: Stack) -> list[dict]:
    with stack.rpc() as engine:
        return engine.call("port.list")["ports"]


def test_eswitch_is_put_into_legacy_mode(stack: Stack, netdevsim: NetdevsimBus,
                                         vdpa_sim: VdpaDevices) -> None:
    """By somebody else, under a port that is served. That takes the representors along, so nothing
    is left that a change back could harm: the PF is prepared anew, and the guest has lost nothing
    but its flows meanwhile."""
    nic = netdevsim.create()
    device = vdpa_sim.create("v0")
    prepare(stack, nic, 1)
    add_port(stack, nic, "vm1", 0, vdpa_accelerator_devargs=str(device))
    stack.wait_state("vm1", "listening", 30)
    wait_ports(stack, nic, vm1=0)
    before, served = ifindex("vm1"), ports_of_engine(stack)
    nic.set_eswitch_mode("legacy")
    wait_for(lambda: nic.eswitch_mode == "switchdev", 30, "switchdev mode")
    wait_ports(stack, nic, vm1=0)
    assert ifindex("vm1") != before
    stack.wait_state("vm1", "listening", 30)
    assert ports_of_engine(stack) == served


@BOTH_KERNELS
def test_vf_named_by_two_rows(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)
    expect_refusal(stack, "vm[12]", "duplicate-device")
    with untouched(stack, "vm1", is_rival=True):
        add_port(stack, nic, "vm2", 0)
        status = stack.wait_status("vm2", state="invalid", reason="duplicate-device")
    assert "vm1" in status["detail"] and "vm2" in stack.status("vm1")["detail"]
    stack.del_port("vm1")
    wait_ports(stack, nic, vm2=0)


@BOTH_KERNELS
def test_name_is_taken_by_a_foreign_netdev(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(1)
    names = own_names(nic)
    stack.ip("link", "add", "vm1", "type", "dummy")
    expect_refusal(stack, "vm1", "name-taken")
    add_port(stack, nic, "vm1", 0)
    stack.wait_status("vm1", state="invalid", reason="name-taken")
    assert nic.representor(0) == names[0]
    stack.ip("link", "del", "vm1")
    wait_ports(stack, nic, vm1=0)


@BOTH_KERNELS
def test_representors_that_cannot_be_had(stack: Stack, netdevsim: NetdevsimBus,
                                         nvme_pf: PciPf) -> None:
    nic = netdevsim.create().to_switchdev(2)
    nvme_pf.set_vfs(1)
    add_port(stack, nic, "vm1", 1)
    wait_ports(stack, nic, vm1=1)
    with untouched(stack, "vm1"):
        for number, (representor, state, reason) in enumerate([
                (f"{nic.handle},c1pf0vf0", "invalid", "external-controller"),
                (f"{nic.handle},vf5", "waiting", "device-missing"),
                (f"{nic.handle},sf3", "waiting", "device-missing"),
                ("netdevsim/netdevsim77,vf0", "waiting", "pf-missing"),
                ("0000:7f:00.0,vf0", "waiting", "pf-missing"),
                (f"{nvme_pf.address},vf0", "invalid", "eswitch-unsupported"),
                (f"{nvme_pf.vf(0)},vf0", "invalid", "not-a-pf")]):
            name = f"bad{number}"
            expect_refusal(stack, name, reason)
            stack.add_vdpa_port(name, vdpa_representor=representor)
            status = stack.wait_status(name, state=state, reason=reason)
            assert representor.split(",")[0] in status["detail"], status


def test_devices_that_cannot_serve(stack: Stack, netdevsim: NetdevsimBus, vdpa_sim: VdpaDevices,
                                   nvme_pf: PciPf) -> None:
    nic = netdevsim.create().to_switchdev(4)
    assert not vdpa_sim.names()
    for vf, (device, state, reason) in enumerate([
            (nvme_pf.address, "invalid", "not-a-vf"),
            ("0000:7f:00.2", "waiting", "device-missing"),
            ("vdpa:nothing", "waiting", "device-missing"),
            ("/dev/vhost-vdpa-9", "waiting", "device-missing")]):
        name = f"bad{vf}"
        expect_refusal(stack, name, reason)
        add_port(stack, nic, name, vf, vdpa_accelerator_devargs=device)
        status = stack.wait_status(name, state=state, reason=reason)
        assert device in status["detail"], status
        # What cannot be served is not attached either.
        assert not exists(name)


@pytest.mark.machine("viommu")
def test_nic_without_sriov_is_no_pf(stack: Stack, vp_vdpa: VdpaDevices) -> None:
    address = vp_vdpa.management_device.removeprefix("pci/")
    expect_refusal(stack, "vm1", "not-a-pf")
    stack.add_vdpa_port("vm1", vdpa_representor=f"{address},vf0")
    status = stack.wait_status("vm1", state="invalid", reason="not-a-pf")
    assert address in status["detail"]


def test_device_that_comes_later(stack: Stack, netdevsim: NetdevsimBus,
                                 vdpa_sim: VdpaDevices) -> None:
    nic = netdevsim.create().to_switchdev(1)
    add_port(stack, nic, "vm1", 0, vdpa_accelerator_devargs="vdpa:late")
    stack.wait_status("vm1", state="waiting", reason="device-missing")
    vdpa_sim.create("late")
    stack.wait_state("vm1", "listening", 30)
    wait_ports(stack, nic, vm1=0)


@BOTH_KERNELS
def test_more_vfs_than_there_can_be(stack: Stack, nvme_pf: PciPf) -> None:
    stack.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                f'other_config:vdpa-pfs="{nvme_pf.address},num-vfs=5"')
    expect_refusal(stack, nvme_pf.address, "sriov-unsupported")
    host = stack.wait_host_reason("sriov-unsupported")
    assert nvme_pf.address in host["host-detail"] and nvme_pf.vf_count == 0


@BOTH_KERNELS
def test_row_is_not_read_wrongly(stack: Stack, netdevsim: NetdevsimBus) -> None:
    """A malformed value is named with its key, and the NIC left as it is."""
    nic = netdevsim.create().to_switchdev(1)
    names = own_names(nic)
    expect_refusal(stack, "vm1", "bad-representor")
    stack.expect_log(no_device("vm1"))
    stack.add_vdpa_port("vm1", vdpa_representor=f"{nic.handle},vf0,vf1")
    status = stack.wait_status("vm1", state="invalid", reason="bad-representor")
    assert "vdpa-representor" in status["detail"]
    assert own_names(nic) == names
    stack.set_option("vm1", vdpa_representor=representor_key(nic, 0))
    wait_ports(stack, nic, vm1=0)
