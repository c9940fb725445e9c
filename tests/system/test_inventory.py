# SPDX-License-Identifier: Apache-2.0
"""The agent's inventory follows real devices: devlink's netdevsim, nvme's SR-IOV, vDPA."""

import contextlib
import re
import subprocess
from pathlib import Path
from typing import Callable, Iterator

import pytest

from bed.netdevsim import Netdevsim, NetdevsimBus
from bed.sriov import PciPf
from bed.vdpa import VdpaDevices
from bed.watch import InventoryWatch

BOTH = pytest.mark.kernels("6.1", "6.12")
PF = "netdevsim/netdevsim10"


@pytest.fixture
def watch() -> Iterator[Callable[..., InventoryWatch]]:
    """Makes watches."""
    with contextlib.ExitStack() as stack:
        def make(**options: int) -> InventoryWatch:
            made = InventoryWatch(**options)
            stack.callback(made.close)
            return made
        yield make


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@BOTH
def test_netdevsim_is_followed(netdevsim: NetdevsimBus,
                               watch: Callable[..., InventoryWatch]) -> None:
    seen = watch()
    nic = netdevsim.create(10)
    seen.wait_line(f"PF {PF} number 0 eswitch legacy driver netdevsim vfs 0/")
    nic.set_vfs(2)
    seen.refresh(PF)
    assert seen.functions() == [f"{PF},pf0vf0", f"{PF},pf0vf1"]

    nic.set_eswitch_mode("switchdev")
    seen.wait_line(f"PF {PF} number 0 eswitch switchdev")
    first = nic.representor(0)
    seen.wait_line(f"{PF},pf0vf0 representor")
    seen.wait_line(f":{first} port {PF}/128")
    seen.wait_line(f":{nic.representor(1)} port {PF}/129")

    ip("link", "set", "dev", first, "name", "vm1")
    seen.wait_line(f":vm1 port {PF}/128")
    ip("link", "set", "dev", "vm1", "up")
    seen.wait_line(f":vm1 up port {PF}/128")
    ip("link", "set", "dev", nic.uplink, "up")
    seen.wait_line(f":{nic.uplink} up")
    ip("link", "set", "dev", nic.uplink, "vf", "1", "mac", "02:00:00:00:00:17")
    seen.wait_line(f"{PF},pf0vf1 mac 02:00:00:00:00:17")

    nic.set_vfs(0)
    seen.wait(lambda lines: not seen.functions(), "end of the VFs")
    nic.delete()
    seen.wait_no_line("netdevsim")
    nic.create()
    seen.wait_line(f"PF {PF} number 0 eswitch legacy driver netdevsim vfs 0/")


@BOTH
def test_what_is_there_at_the_start_is_seen(netdevsim: NetdevsimBus,
                                            watch: Callable[..., InventoryWatch]) -> None:
    nic = netdevsim.create(10).to_switchdev(2)
    seen = watch()
    assert seen.report["count"] == 1
    assert any(line.startswith(f"PF {PF} number 0 eswitch switchdev driver netdevsim vfs 2/")
               for line in seen.lines)
    assert [f":{nic.representor(vf)} port {PF}/{128 + vf}" in function
            for vf, function in enumerate(seen.functions())] == [True, True]


@BOTH
def test_what_nothing_notifies_of_is_seen_when_asked_for(
        netdevsim: NetdevsimBus, watch: Callable[..., InventoryWatch]) -> None:
    seen = watch()
    nic = netdevsim.create(10)
    seen.wait_line(f"PF {PF} number 0 eswitch legacy")
    nic.set_eswitch_mode("switchdev")
    seen.refresh(PF)
    assert any("eswitch switchdev" in line for line in seen.lines)
    nic.set_vfs(1)
    seen.wait_line(f"{PF},pf0vf0 representor")
    ip("link", "set", "dev", nic.uplink, "vf", "0", "mac", "02:00:00:00:00:18")
    seen.refresh(PF)
    assert any("pf0vf0 mac 02:00:00:00:00:18" in line for line in seen.lines)


@BOTH
def test_vfs_without_netdevs_are_followed(nvme_pf: PciPf,
                                          watch: Callable[..., InventoryWatch]) -> None:
    seen = watch()
    pf = nvme_pf.address
    seen.wait_line(f"PF {pf} number 0 eswitch unsupported driver nvme vfs 0/4")
    nvme_pf.set_vfs(3)
    seen.wait_line("driver nvme vfs 3/4")
    vfs = nvme_pf.vfs()
    for number, vf in enumerate(vfs):
        seen.wait_line(f"{pf},pf0vf{number} device {vf}")
    driver = Path(f"/sys/bus/pci/devices/{vfs[1]}/driver_override")
    driver.write_text("pci-stub")
    subprocess.run(["modprobe", "pci-stub"], check=False)
    if nvme_pf.driver(vfs[1]):
        nvme_pf.unbind(vfs[1])
    nvme_pf.bind(vfs[1], "pci-stub")
    seen.wait_line(f"{pf},pf0vf1 device {vfs[1]} driver pci-stub")
    nvme_pf.unbind(vfs[1])
    seen.wait_no_line("driver pci-stub")
    nvme_pf.set_vfs(0)
    seen.wait_line("driver nvme vfs 0/4")
    assert seen.functions() == []


def test_vdpa_devices_are_followed(vdpa_sim: VdpaDevices,
                                   watch: Callable[..., InventoryWatch]) -> None:
    seen = watch()
    seen.wait_line("vdpa management vdpasim_net net")
    device = vdpa_sim.create("v0", "mac", "02:00:00:00:00:42", "mtu", "1400")
    seen.wait_line(f"vdpa v0 of vdpasim_net at {device} mac 02:00:00:00:00:42 vqs 3 mtu 1400")
    unbind = Path("/sys/bus/vdpa/drivers/vhost_vdpa/unbind")
    unbind.write_text("v0")
    seen.wait_line("vdpa v0 of vdpasim_net at nowhere")
    vdpa_sim.delete("v0")
    seen.wait_no_line("vdpa v0")
    seen.refresh_vdpa()
    assert any("vdpa management vdpasim_net net" in line for line in seen.lines)


@BOTH
@pytest.mark.bound(400)
def test_notifications_that_overflow_are_made_up_for(
        netdevsim: NetdevsimBus, watch: Callable[..., InventoryWatch]) -> None:
    """512 VFs and buffers as small as the kernel makes them."""
    seen = watch(link_buffer=1, devlink_buffer=1)
    nic = netdevsim.create(10).allow_vfs(512)
    seen.wait_line(f"PF {PF}")
    seen.pause()
    nic.to_switchdev(512)
    ip("link", "set", "dev", nic.representor(500), "name", "vm500")
    seen.resume()

    def complete(lines: list[str]) -> bool:
        return sum(f"port {PF}/" in line for line in lines) == 512
    seen.wait(complete, "512 representors", 120)
    seen.wait_line(f"PF {PF} number 0 eswitch switchdev driver netdevsim vfs 512/")
    seen.wait_line(f":vm500 port {PF}/{128 + 500}")
    assert seen.report["link_overruns"] > 0 and seen.report["devlink_overruns"] > 0

    seen.pause()
    nic.set_vfs(0)
    seen.resume()
    seen.wait(lambda lines: not seen.functions(), "end of the VFs", 120)


def flash(nic: Netdevsim) -> "subprocess.Popen[bytes]":
    """Keeps the device locked for five seconds, as a change of its eswitch does."""
    Path("/lib/firmware").mkdir(exist_ok=True)
    Path("/lib/firmware/nothing").write_text("nothing")
    return subprocess.Popen(["devlink", "dev", "flash", nic.handle, "file", "nothing"],
                            stdout=subprocess.PIPE)


def netdev_of(seen: InventoryWatch, function: str) -> str:
    """The representor's. devlink(8) would wait for the device that is busy."""
    for line in seen.functions():
        if found := re.search(rf",{function} representor \d+:(\S+)", line):
            return found[1]
    raise AssertionError(f"no representor of {function}: {seen.lines}")


@BOTH
def test_a_device_that_is_busy_holds_up_no_other(netdevsim: NetdevsimBus,
                                                 watch: Callable[..., InventoryWatch]) -> None:
    busy = netdevsim.create(11)
    nic = netdevsim.create(10)
    seen = watch()
    seen.wait_line(f"PF {PF} number 0 eswitch legacy")
    flashing = flash(busy)
    try:
        assert flashing.stdout and flashing.stdout.readline()
        nic.to_switchdev(2)
        seen.wait_line(f"PF {PF} number 0 eswitch switchdev")
        seen.wait_line("pf0vf1 representor")
        seen.refresh(PF)
        ip("link", "set", "dev", netdev_of(seen, "pf0vf0"), "name", "vm1")
        seen.wait_line(":vm1 port")
        assert flashing.poll() is None, "the device was not busy for long enough"
        assert seen.refresh(busy.handle) > 0
        assert flashing.wait(timeout=30) == 0
    finally:
        flashing.kill()
        flashing.wait()
        flashing.stdout.close()


@BOTH
def test_a_device_that_is_busy_at_the_start_follows(netdevsim: NetdevsimBus,
                                                    watch: Callable[..., InventoryWatch]) -> None:
    busy = netdevsim.create(11)
    flashing = flash(busy)
    try:
        assert flashing.stdout and flashing.stdout.readline()
        seen = watch()
        seen.wait_line(f"PF {busy.handle} number 0 eswitch legacy")
        assert flashing.wait(timeout=30) == 0
    finally:
        flashing.kill()
        flashing.wait()
        flashing.stdout.close()
