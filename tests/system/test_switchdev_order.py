# SPDX-License-Identifier: Apache-2.0
"""In whatever order things come, go, stop and start: the same state in the end, without a manual
step, and nothing else is touched."""

import itertools
import signal
import time
from typing import Callable

import pytest

from bed.netdevsim import Netdevsim, NetdevsimBus
from bed.stack import Stack
from harness.wait import wait_for
from scenarios import DATABASE_LOST
from switchdev import (NETDEVS_GONE, add_port, exists, expect_refusal, own_names, prepare, set_vf,
                       untouched, wait_ports)

pytestmark = pytest.mark.kernels("6.1", "6.12")


def remove_all(stack: Stack, nic: Netdevsim) -> None:
    """As before the first act, with the same daemons."""
    stack.del_port("vm1")
    stack.vsctl("--no-wait", "remove", "Open_vSwitch", ".", "other_config", "vdpa-pfs")
    wait_for(lambda: not stack.shown(), 30, lambda: f"no port: {stack.shown()}")
    nic.delete()


@pytest.mark.bound(900)
def test_row_pf_and_nic_in_any_order(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = Netdevsim(10)
    stack.expect_log(NETDEVS_GONE)
    expect_refusal(stack, nic.handle, "pf-missing")
    acts: dict[str, Callable[[], object]] = {
        "row": lambda: add_port(stack, nic, "vm1", 1),
        "pf": lambda: prepare(stack, nic, 2),
        "nic": nic.create,
    }
    for order in itertools.permutations(acts):
        for act in order:
            acts[act]()
        wait_ports(stack, nic, vm1=1)
        remove_all(stack, nic)
    assert netdevsim.numbers() == []


def test_ovs_vswitchd_is_started_last(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create()
    stack.ovs.stop_vswitchd()
    prepare(stack, nic, 1)
    add_port(stack, nic, "vm1", 0)
    nic.wait_representor(0, "vm1")
    stack.ovs.start_vswitchd()
    wait_ports(stack, nic, vm1=0)


def flags(netdev: str) -> int:
    try:
        with open(f"/sys/class/net/{netdev}/flags") as stream:
            return int(stream.read(), 16)
    except OSError:
        return 0


# What is there of a provisioned port, in the order in which it comes.
STEPS: dict[str, Callable[[Netdevsim], bool]] = {
    "VFs": lambda nic: nic.vfs == 2,
    "a representor": lambda nic: nic.representors() == 2,
    "its name": lambda nic: exists("vm1"),
    "which is up": lambda nic: flags("vm1") & 1 == 1,
}


def step_by_step(stack: Stack, is_done: Callable[[], bool]) -> None:
    """Lets the agent run, a moment at a time, until that is done; then it stands still."""
    end = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < end, "the agent does not get there"
        stack.agent.signal(signal.SIGCONT)
        time.sleep(0.0005)
        stack.agent.signal(signal.SIGSTOP)


@pytest.mark.bound(900)
def test_agent_killed_in_the_middle(stack: Stack, netdevsim: NetdevsimBus) -> None:
    """After each step and before the next: what the agent was quicker with is tried anew."""
    stack.expect_log(NETDEVS_GONE)
    expect_refusal(stack, Netdevsim(10).handle, "pf-missing")
    for name, following in itertools.pairwise(STEPS):
        is_in_the_middle, tries = False, 0
        while not is_in_the_middle:
            tries += 1
            assert tries <= 10, f"the agent is always quicker than that: {name}"
            nic = netdevsim.create()
            stack.agent.signal(signal.SIGSTOP)
            prepare(stack, nic, 2)
            add_port(stack, nic, "vm1", 1)
            step_by_step(stack, lambda: STEPS[name](nic))
            is_in_the_middle = not STEPS[following](nic)
            stack.agent.kill()
            stack.start_agent()
            wait_ports(stack, nic, vm1=1)
            with untouched(stack, "vm1"):
                stack.agent.kill()
                stack.start_agent()
                wait_ports(stack, nic, vm1=1)
            remove_all(stack, nic)


def test_row_deleted_while_the_agent_is_away(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    stack.agent.kill()
    stack.del_port("vm1")
    stack.start_agent()
    nic.wait_representor(0, names[0])
    wait_ports(stack, nic, vm2=1)


def test_nic_is_reset(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create()
    other = netdevsim.create(11).to_switchdev(1)
    prepare(stack, nic, 2)
    add_port(stack, nic, "vm1", 0)
    add_port(stack, other, "vm9", 0)
    wait_ports(stack, nic, vm1=0)
    wait_ports(stack, other, vm9=0)
    stack.expect_log(NETDEVS_GONE)
    expect_refusal(stack, nic.handle, "pf-missing")
    with untouched(stack, "vm9"):
        for _ in range(3):
            nic.delete()
            stack.wait_state("vm1", "waiting")
            nic.create()
            wait_ports(stack, nic, vm1=0)


def rename(stack: Stack, netdev: str, name: str) -> bool:
    """Before 6.2 the kernel renames no netdev that is up, and the agent sets it up again: there is
    less time between than another program takes to start."""
    lines = stack.folder / "rename"
    lines.write_text(f"link set {netdev} down\nlink set {netdev} name {name}\n")
    return stack.program("ip", "-batch", str(lines)).returncode == 0


def test_representor_renamed_by_hand(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    add_port(stack, nic, "vm1", 0)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    with untouched(stack, "vm2"):
        wait_for(lambda: rename(stack, "vm1", "mine"), 15, "a chance to rename vm1", 0.001)
        wait_ports(stack, nic, vm1=0)
    assert not exists("mine")


def test_somebody_else_renames_at_the_same_time(stack: Stack, netdevsim: NetdevsimBus) -> None:
    """As udev does, once, when a netdev comes up."""
    nic = netdevsim.create()
    prepare(stack, nic, 2)
    add_port(stack, nic, "vm1", 0)
    wait_for(lambda: len(own_names(nic)) == 2, 30, "representors", 0.001)
    renamed = []
    for vf, name in own_names(nic).items():
        udevs = f"ens10npf0vf{vf}"
        # It may be up already, or renamed: then udev is late, and its rename fails.
        if stack.program("ip", "link", "set", name, "name", udevs).returncode == 0:
            renamed.append(udevs)
    assert "ens10npf0vf1" in renamed, "of what no row names there is no other who could"
    wait_ports(stack, nic, vm1=0)
    assert nic.representor(1) == "ens10npf0vf1"


def test_two_rows_swap_their_representors(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(3)
    for vf in range(3):
        add_port(stack, nic, f"vm{vf}", vf)
    wait_ports(stack, nic, vm0=0, vm1=1, vm2=2)
    with untouched(stack, "vm2"):
        for vm0, vm1 in ((1, 0), (0, 1), (1, 0)):
            set_vf(stack, nic, vm0=vm0, vm1=vm1)
            wait_ports(stack, nic, vm0=vm0, vm1=vm1)


def test_three_rows_rotate_their_representors(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(3)
    for vf in range(3):
        add_port(stack, nic, f"vm{vf}", vf)
    wait_ports(stack, nic, vm0=0, vm1=1, vm2=2)
    set_vf(stack, nic, vm0=1, vm1=2, vm2=0)
    wait_ports(stack, nic, vm0=1, vm1=2, vm2=0)


def test_vf_is_changed_live(stack: Stack, netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(3)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    with untouched(stack, "vm2"):
        set_vf(stack, nic, vm1=2)
        wait_ports(stack, nic, vm1=2)
        nic.wait_representor(0, names[0])


def test_vf_is_changed_while_ovs_vswitchd_stands_still(stack: Stack,
                                                       netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)
    stack.ovs.vswitchd.signal(signal.SIGSTOP)
    try:
        set_vf(stack, nic, vm1=1)
        nic.wait_representor(1, "vm1")
    finally:
        stack.ovs.vswitchd.signal(signal.SIGCONT)
    wait_ports(stack, nic, vm1=1)
    nic.wait_representor(0, names[0])


def test_port_is_deleted_while_ovs_vswitchd_stands_still(stack: Stack,
                                                         netdevsim: NetdevsimBus) -> None:
    """The netdev keeps the row's name as long as Open vSwitch holds it: a rename would wedge the
    port for good."""
    nic = netdevsim.create().to_switchdev(1)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)
    stack.ovs.vswitchd.signal(signal.SIGSTOP)
    try:
        stack.del_port("vm1")
        wait_for(lambda: stack.shown().get("vm1", {}).get("reason") == "ovs-detach", 15,
                 lambda: f"ovs-detach: {stack.shown()}")
        assert nic.representor(0) == "vm1"
    finally:
        stack.ovs.vswitchd.signal(signal.SIGCONT)
    nic.wait_representor(0, names[0])
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)


def test_ovs_vswitchd_is_restarted_during_a_release(stack: Stack,
                                                    netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create().to_switchdev(2)
    names = own_names(nic)
    add_port(stack, nic, "vm1", 0)
    add_port(stack, nic, "vm2", 1)
    wait_ports(stack, nic, vm1=0, vm2=1)
    stack.ovs.vswitchd.kill()
    stack.del_port("vm1")
    set_vf(stack, nic, vm2=0)
    stack.ovs.start_vswitchd()
    wait_ports(stack, nic, vm2=0)
    nic.wait_representor(1, names[1])


def test_database_is_restarted_meanwhile(stack: Stack, netdevsim: NetdevsimBus) -> None:
    stack.expect_log(DATABASE_LOST)
    stack.expect_log(NETDEVS_GONE)
    nic = netdevsim.create().to_switchdev(1)
    add_port(stack, nic, "vm1", 0)
    wait_ports(stack, nic, vm1=0)
    stack.ovs.stop_server()
    nic.delete()
    stack.ovs.start_server()
    nic.create().to_switchdev(1)
    wait_ports(stack, nic, vm1=0)
