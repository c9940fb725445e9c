# SPDX-License-Identifier: Apache-2.0
"""Guests with Linux's own virtio-net driver on kernel vDPA devices, by the whole stack."""

from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices

MAC = "02:00:00:00:00:42"
OTHER_MAC = "02:00:00:00:00:43"
# Of netdevsim, whose VFs it can tell apart without PCI functions.
REPRESENTOR = "netdevsim/netdevsim10,vf0"


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
