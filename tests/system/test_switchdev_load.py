# SPDX-License-Identifier: Apache-2.0
"""Many VFs, and floods of events."""

import contextlib
import signal
import time
from typing import Callable, Iterator, NamedTuple

import pytest

from bed.netdevsim import Netdevsim, NetdevsimBus
from bed.netlink import overflow
from bed.stack import Stack
from bed.usage import Meter
from harness.wait import wait_for
from switchdev import (NETDEVS_GONE, add_port, exists, ifindex, no_device, own_names,
                       representor_key, wait_ports)


Representors = dict[int, tuple[str, int]]  # by the VF's number: the netdev and its ifindex


def seen(stack: Stack, nic: Netdevsim) -> Representors:
    """Representors of the NIC as the agent has them."""
    found = [pf for pf in stack.devices()["pfs"] if pf["pf"] == nic.handle]
    return {function["number"]: (function["representor"]["netdev"],
                                 function["representor"]["ifindex"])
            for pf in found for function in pf["functions"] if function["representor"]}


def present(nic: Netdevsim) -> Representors:
    return {vf: (name, ifindex(name)) for vf, name in own_names(nic).items()}


@contextlib.contextmanager
def standing_still(stack: Stack) -> Iterator[None]:
    """The agent reads nothing meanwhile."""
    stack.agent.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        stack.agent.signal(signal.SIGCONT)


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.bound(600)
def test_events_that_were_lost_are_made_up_for(stack: Stack, netdevsim: NetdevsimBus) -> None:
    """512 VFs come and go, and of that the agent is told nothing: its receive buffers are full,
    however large they are."""
    stack.expect_log(NETDEVS_GONE)
    count = 512
    nic = netdevsim.create(10).allow_vfs(count)
    other = netdevsim.create(11)
    add_port(stack, nic, "vm1", count - 1)
    stack.wait_status("vm1", state="waiting", reason="pf-legacy")
    with standing_still(stack):
        overflow(stack.agent.pid, other)
        nic.to_switchdev(count)
    wait_ports(stack, nic, vm1=count - 1, bound=60)
    there = present(nic)
    assert len(there) == count and there[count - 1][0] == "vm1"
    wait_for(lambda: seen(stack, nic) == there, 60,
             lambda: f"all as they are, but {set(there.items()) ^ set(seen(stack, nic).items())}")
    with standing_still(stack):
        overflow(stack.agent.pid, other)
        nic.delete()
    stack.wait_state("vm1", "waiting", 60)
    wait_for(lambda: not seen(stack, nic), 60, lambda: f"no VFs: {seen(stack, nic)}")
    assert [pf["pf"] for pf in stack.devices()["pfs"] if pf["driver"] == "netdevsim"] == [
        other.handle]
    # Said twice for each, or less often if the limit of the log's rate has it so.
    log = (stack.logdir / "ovs-vdpa-agent.log").read_text()
    for what in ("rtnetlink", "devlink"):
        assert f"{what}: notifications were lost (ENOBUFS)" in log


class Cost(NamedTuple):
    """Of one VF among others."""

    milliseconds: float
    messages: float  # of the agent to the kernel, by netlink
    processor: float  # milliseconds of the agent
    written: float  # bytes that the agent wrote


def cost(stack: Stack, count: int, act: Callable[[], object], done: Callable[[], bool]) -> Cost:
    meter = Meter(stack.agent.pid)
    with meter.measuring():
        begin = time.monotonic()
        act()
        wait_for(done, 600, f"{count} VFs", 0.1)
        seconds = time.monotonic() - begin
    usage = meter.usage
    return Cost(seconds * 1000 / count, usage.messages / count, usage.processor * 1000 / count,
                usage.written / count)


def provision(stack: Stack, netdevsim: NetdevsimBus, count: int) -> tuple[Cost, Cost]:
    """Ports on as many VFs, in one transaction, from legacy mode and no VFs, until all are attached
    to the datapath; and back. ovs-vswitchd is not asked, which is too busy to answer."""
    nic = netdevsim.create().allow_vfs(count)
    ports = {f"vm{vf}": vf for vf in range(count)}
    words = [f'other_config:vdpa-pfs="{nic.handle},num-vfs={count}"']
    for name, vf in ports.items():
        words += ["--", "add-port", "br0", name, "--", "set", "Interface", name,
                  f'options:vdpa-socket="{stack.socket_path(name)}"',
                  f'options:vdpa-representor="{representor_key(nic, vf)}"',
                  f'external_ids:attached-mac="52:54:00:00:00:{vf:02x}"']
    there = cost(stack, count,
                 lambda: stack.vsctl("--no-wait", "set", "Open_vSwitch", ".", *words),
                 lambda: all(exists(f"{name}/master") for name in ports))
    assert own_names(nic) == {vf: name for name, vf in ports.items()}
    for vf in (0, count - 1):
        assert nic.vf_mac(vf) == f"52:54:00:00:00:{vf:02x}"
    back = cost(stack, count,
                lambda: stack.vsctl("--no-wait",
                                    *" -- ".join(f"del-port {name}" for name in ports).split()),
                lambda: not any(exists(name) for name in ports))
    stack.vsctl("--no-wait", "remove", "Open_vSwitch", ".", "other_config", "vdpa-pfs")
    nic.delete()
    wait_for(lambda: not seen(stack, nic), 60, "the NIC to go")
    return there, back


@pytest.mark.bound(1800)
def test_cost_of_a_vf_does_not_grow_with_their_number(
        stack: Stack, netdevsim: NetdevsimBus, capsys: pytest.CaptureFixture[str]) -> None:
    stack.expect_log(no_device(r"vm\d+"))
    # Of what it would log, the less goes by the limit of its rate the sooner it is done.
    stack.agentctl("vlog/set", "file:off")
    few, many = (provision(stack, netdevsim, count) for count in (64, 128))
    stack.agentctl("vlog/set", "file:info")
    for what, least, most in zip(("provisioned", "given back"), few, many):
        with capsys.disabled():
            print(f"\n{what}, one VF among 64: {least}, among 128: {most}")
        # What all the VFs are asked for anew for each is twice as much. (What is written is the
        # record of what is owned, whose size and changes have a test of their own: it is written
        # whole once its changes are 16 KiB long, which those of 64 VFs may never become.)
        assert most.messages < 1.3 * least.messages
