# SPDX-License-Identifier: Apache-2.0
"""The guest itself has what the other tests rely on."""

import os
import platform
import subprocess
from pathlib import Path

import pytest

from bed import kernel
from bed.netdevsim import NetdevsimBus
from bed.sriov import PciPf
from bed.vdpa import VdpaDevices, character_device
from harness.sandbox import DAEMONS, build_folder


@pytest.mark.kernels("6.1", "6.12")
def test_guest_runs_the_kernel_asked_for(kernel_series: str) -> None:
    assert platform.release().startswith(f"{kernel_series}.")


@pytest.mark.kernels("6.1", "6.12")
@pytest.mark.parametrize("module", ["openvswitch", "cls_flower", "act_mirred", "tun", "netdevsim"])
def test_module_loads(module: str) -> None:
    kernel.load(module)
    assert kernel.loaded(module)


@pytest.mark.parametrize("module", ["vhost_vdpa", "vdpa_sim_net", "vp_vdpa", "vduse"])
def test_vdpa_module_loads(module: str) -> None:
    kernel.load(module)
    assert kernel.loaded(module)


def test_daemons_are_seen() -> None:
    for daemon in DAEMONS:
        done = subprocess.run([build_folder() / daemon, "--version"], capture_output=True,
                              text=True, check=True)
        assert done.stdout.startswith(os.path.basename(daemon))


def test_host_cannot_be_written_to() -> None:
    """Files are written to the guest's own layer, and memory is what that costs."""
    probe = Path(__file__).parent / "written-in-a-guest"
    probe.write_text("here")
    assert probe.read_text() == "here"
    layer = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", probe], capture_output=True,
                           text=True, check=True).stdout.strip()
    assert layer == "overlay"
    probe.unlink()


@pytest.mark.kernels("6.1", "6.12")
def test_netdevsim_goes_to_switchdev(netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create(10)
    assert nic.eswitch_mode == "legacy"
    nic.set_vfs(2)
    nic.set_eswitch_mode("switchdev")
    ports = [port for port in nic.devlink_ports() if port["flavour"] == "pcivf"]
    assert [(port["pfnum"], port["vfnum"]) for port in ports] == [(0, 0), (0, 1)]
    names = [Path(f"/sys/class/net/{port['netdev']}/phys_port_name").read_text().strip()
             for port in ports]
    assert names == ["pf0vf0", "pf0vf1"]
    switches = {Path(f"/sys/class/net/{netdev}/phys_switch_id").read_text()
                for netdev in [nic.uplink, nic.representor(0), nic.representor(1)]}
    assert len(switches) == 1


def test_netdevsim_comes_again(netdevsim: NetdevsimBus) -> None:
    nic = netdevsim.create(10).to_switchdev(2)
    nic.delete()
    assert not nic.exists
    nic.create()
    assert nic.eswitch_mode == "legacy" and nic.vfs == 0


@pytest.mark.kernels("6.1", "6.12")
def test_nvme_vfs_come_and_go(nvme_pf: PciPf) -> None:
    assert nvme_pf.total_vfs == 4 and nvme_pf.vfs() == []
    nvme_pf.set_vfs(3)
    vfs = nvme_pf.vfs()
    assert nvme_pf.vf_count == 3 and len(set(vfs)) == 3
    for vf in vfs:
        physfn = Path("/sys/bus/pci/devices") / vf / "physfn"
        assert os.path.basename(os.readlink(physfn)) == nvme_pf.address
    nvme_pf.set_vfs(0)
    assert nvme_pf.vfs() == []


def test_simulated_vdpa_device_is_made(vdpa_sim: VdpaDevices) -> None:
    device = vdpa_sim.create("v0", "mac", "02:00:00:00:00:42", "mtu", "1400")
    assert device == Path("/dev/vhost-vdpa-0") and device.is_char_device()
    config = vdpa_sim.config("v0")
    assert (config["mac"], config["mtu"]) == ("02:00:00:00:00:42", 1400)
    vdpa_sim.delete("v0")
    assert character_device("v0") is None and not device.exists()


@pytest.mark.machine("viommu")
def test_virtio_pci_vdpa_device_is_made(vp_vdpa: VdpaDevices) -> None:
    device = vp_vdpa.create("p0")
    assert device.is_char_device()
    assert vp_vdpa.config("p0")["mac"] == "52:54:00:00:00:01"
