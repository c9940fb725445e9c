# SPDX-License-Identifier: Apache-2.0
"""What tests of ports on a switchdev NIC say again and again: which VF is to be on which port, and
whether it is."""

import contextlib
import os
from typing import Iterator, NamedTuple

from bed.netdevsim import Netdevsim
from bed.stack import Stack
from harness.wait import wait_for


# A NIC that goes away takes its netdevs along while ovs-vswitchd and agent look at them.
NETDEVS_GONE = r"No such device"


def prepare_pf(stack: Stack, pf: str, vfs: int) -> None:
    """Has the agent prepare the PF."""
    stack.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                f'other_config:vdpa-pfs="{pf},num-vfs={vfs}"')


def prepare(stack: Stack, nic: Netdevsim, vfs: int) -> None:
    prepare_pf(stack, nic.handle, vfs)


def representor_key(nic: Netdevsim, vf: int) -> str:
    return f"{nic.handle},vf{vf}"


def no_device(names: str) -> str:
    """What the agent logs of a row that says no device to serve the queues, for a netdevsim's VF is
    none. `names` is a regular expression."""
    return rf"\|WARN\|{names}: invalid \(no-device\)"


def expect_refusal(stack: Stack, what: str, reason: str) -> None:
    """Declares that the agent warns of a row, by its name, or of a PF, by its handle, for that
    reason."""
    stack.expect_log(rf"\|port\(control\)\|WARN\|{what}: [a-z]+ \({reason}\): ")
    stack.expect_log(rf"\|pf\(control\)\|WARN\|{reason}: {what}: ")


def add_port(stack: Stack, nic: Netdevsim, name: str, vf: int, *, mac: str | None = None,
             **options: str | int) -> None:
    """A port on a VF's representor. Without further options nothing serves its queues, for the VF
    of a netdevsim has no device: its netdev is all that a test can look at. The agent warns of
    that, in vain."""
    if "vdpa_accelerator_devargs" not in options:
        stack.expect_log(no_device(name))
    stack.add_vdpa_port(name, mac=mac, vdpa_representor=representor_key(nic, vf), **options)


def set_vf(stack: Stack, nic: Netdevsim, **ports: int) -> None:
    """Gives ports other VFs, in one transaction."""
    words: list[str] = []
    for name, vf in ports.items():
        words += ["--", "set", "Interface", name,
                  f'options:vdpa-representor="{representor_key(nic, vf)}"']
    stack.vsctl("--no-wait", *words[1:])


def ifindex(netdev: str) -> int:
    with open(f"/sys/class/net/{netdev}/ifindex") as stream:
        return int(stream.read())


def difference(stack: Stack, nic: Netdevsim, ports: dict[str, int]) -> str:
    """What differs from each port of that name being the VF's representor, up and in the kernel's
    datapath, and its row saying so; empty if nothing does."""
    attached = stack.vport_netdevs()
    for name, vf in ports.items():
        try:
            if (now := nic.representor(vf)) != name:
                return f"vf{vf} is {now}, not {name}"
            index = ifindex(name)
        except (AssertionError, OSError) as error:
            return str(error)
        link = stack.link(name)
        if not link or "UP" not in link["flags"]:
            return f"{name} is not up: {link}"
        if link.get("master") != "ovs-system" or name not in attached:
            return f"{name} is no port of the datapath: {link}, {attached}"
        row = stack.interface(name, "ifindex", "ofport", "error")
        if row["ifindex"] != index or not isinstance(row["ofport"], int) or row["ofport"] < 1:
            return f"the row of {name} has {row}, the netdev is {index}"
        function = stack.status(name).get("function")
        if function != f"{nic.handle},pf0vf{vf}":
            return f"the row of {name} says that it is {function}"
    return ""


def wait_ports(stack: Stack, nic: Netdevsim, *, bound: float = 30, **ports: int) -> None:
    """Waits until each port of that name is that VF's representor."""
    def why() -> str:
        return difference(stack, nic, ports)
    wait_for(lambda: not why(), bound,
             lambda: f"{ports}: {why()}\n" + "\n".join(f"{name}: {stack.status(name)}"
                                                       for name in ports), 0.05)


def is_local_random(mac: str) -> bool:
    """Whether nobody was given that address: locally administered, unicast."""
    return int(mac[:2], 16) & 3 == 2


class _Footprint(NamedTuple):
    ifindex: int
    ofport: int
    vport: int
    flags: tuple[str, ...]


def _footprint(stack: Stack, name: str) -> _Footprint:
    link = stack.link(name)
    assert link, f"no netdev {name}"
    return _Footprint(link["ifindex"], stack.ofport(name), stack.vport_netdevs()[name],
                      tuple(sorted(link["flags"])))


@contextlib.contextmanager
def untouched(stack: Stack, *names: str, is_rival: bool = False) -> Iterator[None]:
    """The body changes nothing about these ports: netdev, port number in OpenFlow and in the
    datapath, and what the agent says; unless, with `is_rival`, of another row that asks for the
    same, which is said of both."""
    def state() -> dict[str, tuple[_Footprint, dict[str, str]]]:
        return {name: (_footprint(stack, name), {} if is_rival else stack.status(name))
                for name in names}
    before = state()
    yield
    assert state() == before


def own_names(nic: Netdevsim) -> dict[int, str]:
    """The names that the kernel gave to the representors; to be asked before any port is there."""
    return {port["vfnum"]: port["netdev"] for port in nic.devlink_ports()
            if port["flavour"] == "pcivf"}


def exists(netdev: str) -> bool:
    return os.path.exists(f"/sys/class/net/{netdev}")
