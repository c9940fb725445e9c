# SPDX-License-Identifier: Apache-2.0
"""Guests with Linux's own virtio-net driver on kernel vDPA devices, by the whole stack."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.uml import UmlGuest
from harness.wait import wait_for

MAC = "02:00:00:00:00:42"
OTHER_MAC = "02:00:00:00:00:43"
MTU = 1400
# Of netdevsim, whose VFs it can tell apart without PCI functions.
REPRESENTOR = "netdevsim/netdevsim10,vf0"
LARGEST_FRAME = 14 + 20 + 8 + 1000


class Counters(NamedTuple):
    frames: int
    octets: int


def counters(guest: UmlGuest, direction: str) -> Counters:
    """What the guest's driver has counted of its own rings; `direction` is rx or tx."""
    text = guest.run(f"cd /sys/class/net/eth0/statistics && cat {direction}_packets "
                     f"{direction}_bytes")
    return Counters(*map(int, text.split()))


def boot(stack: Stack, path: Path) -> UmlGuest:
    """A guest that sends nothing but what it is told to, and that is all broadcast: the simulator
    returns nothing else to a guest but what is addressed to its own MAC."""
    guest = stack.uml("vm1", path)
    # A kernel without IPv6 has nothing to be told, and sends nothing by it.
    guest.run("[ ! -e /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
    guest.configure("10.1.0.2/24")
    return guest


def assert_receives_its_broadcasts(devices: VdpaDevices, guest: UmlGuest) -> None:
    sent, received = counters(guest, "tx"), counters(guest, "rx")
    # Nobody answers, which is status 1: whether it sent is read from what it says.
    said = guest.run("ping -c 5 -W 1 -s 1000 10.1.0.255 || true", bound=60)
    assert "5 packets transmitted" in said, said
    wait_for(lambda: counters(guest, "tx").octets - sent.octets >= 5 * LARGEST_FRAME, 30,
             lambda: f"five pings to be sent after {sent}: {counters(guest, 'tx')}")
    wait_for(lambda: counters(guest, "rx").frames - received.frames ==
             counters(guest, "tx").frames - sent.frames, 30,
             lambda: f"as many frames after {received} as after {sent}: "
                     f"{counters(guest, 'rx')}, {counters(guest, 'tx')}")
    assert counters(guest, "rx").octets - received.octets == \
        counters(guest, "tx").octets - sent.octets
    # The device has moved them, and by its rings.
    name = devices.names()[0]
    assert devices.counter(name, 1, "tx_packets") >= 5
    assert devices.counter(name, 0, "rx_packets") >= 5


def await_config(devices: VdpaDevices, **wanted: str | int) -> None:
    """Waits until the only device is vm1's, with that in its configuration space."""
    def found() -> dict[str, Any]:
        return devices.config("vm1") if devices.names() == ["vm1"] else {}
    wait_for(lambda: wanted.items() <= found().items(), 30,
             lambda: f"a device with {wanted}: {found()}")


@pytest.mark.bound(1800)
def test_guest_receives_its_own_broadcasts(stack: Stack, netdevsim: NetdevsimBus,
                                           vdpa_sim: VdpaDevices) -> None:
    nic = netdevsim.create().to_switchdev(2)
    name = nic.representor(0)
    path = stack.socket_path("vm1")
    stack.vsctl("--no-wait", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
                f"mtu_request={MTU}", f'options:vdpa-socket="{path}"',
                f'options:vdpa-representor="{REPRESENTOR}"', f'external_ids:attached-mac="{MAC}"',
                "options:vdpa-accelerator-devargs=vdpa:vdpasim_net")
    await_config(vdpa_sim, mac=MAC, mtu=MTU)
    stack.wait_state("vm1", "listening")
    guest = boot(stack, path)
    status = stack.wait_state("vm1", "running", bound=60)
    assert "reason" not in status, status
    assert int(guest.run("cat /sys/class/net/eth0/mtu")) == MTU and guest.carrier()
    assert_receives_its_broadcasts(vdpa_sim, guest)
    guest.poweroff()
    stack.wait_state("vm1", "listening")
    stack.vsctl("del-port", "br0", "vm1")
    wait_for(lambda: not vdpa_sim.names(), 15, "the vDPA device to go")
    nic.wait_representor(0, name)


def test_device_other_than_the_row_says_is_told_of(stack: Stack, netdevsim: NetdevsimBus,
                                                   vdpa_sim: VdpaDevices) -> None:
    """Whoever starts the guest gives it the MAC address of the row."""
    netdevsim.create().to_switchdev(1)
    device = vdpa_sim.create("v0", "mac", OTHER_MAC)
    stack.add_vdpa_port("vm1", mac=MAC, vdpa_representor=REPRESENTOR,
                        vdpa_accelerator_devargs=str(device))
    status = stack.wait_status("vm1", state="listening", reason="guest-differs")
    assert MAC in status["detail"] and OTHER_MAC in status["detail"], status
    stack.vsctl("set", "Interface", "vm1", f'external_ids:attached-mac="{OTHER_MAC}"')
    stack.wait_status("vm1", state="listening", reason=None)
