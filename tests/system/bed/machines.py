# SPDX-License-Identifier: Apache-2.0
"""The guests that tests can ask for, by the name in `@pytest.mark.machine(NAME)`."""

from pathlib import Path

from harness.debian_kernel import Kernel
from harness.machine import Machine

STANDARD = "standard"

# Real PCI SR-IOV without a NIC: a PF 0000:01:00.0 that can have four VFs.
_NVME = ("-device", "pcie-root-port,id=rp0,slot=1", "-device", "nvme-subsys,id=sub0",
         "-device", "nvme,serial=x1,bus=rp0,subsys=sub0,sriov_max_vfs=4,sriov_vq_flexible=8,"
                    "sriov_vi_flexible=4,max_ioqpairs=10,msix_qsize=9")
# A virtio-net device behind an IOMMU, for the driver vp_vdpa: it has to be told that its addresses
# are translated (iommu_platform), and the kernel that it may rely on cache coherence. What it sends
# it receives: its network is a socket that is connected to itself.
_VIOMMU = ("-device", "intel-iommu,snoop-control=on,intremap=off",
           "-netdev", "dgram,id=vdpa0,local.type=unix,local.path=@FOLDER@/loop,"
                      "remote.type=unix,remote.path=@FOLDER@/loop",
           "-device", "virtio-net-pci,netdev=vdpa0,disable-legacy=on,iommu_platform=on,packed=on,"
                      "mac=52:54:00:00:00:01")

# "systemd" is the standard one with systemd as its process 1.
_DEVICES = {STANDARD: _NVME, "viommu": _VIOMMU, "systemd": _NVME}
_APPEND = {STANDARD: "", "viommu": "intel_iommu=on", "systemd": ""}
NAMES = tuple(_DEVICES)

_HUGEPAGES = 300
_MEMORY_MIB = 3072


def machine(name: str, kernel: Kernel, visible: list[Path]) -> Machine:
    """`visible` are the folders that have to be there whatever lies at their places."""
    return Machine(kernel, memory_mib=_MEMORY_MIB, devices=_DEVICES[name], visible=visible,
                   append=f"hugepages={_HUGEPAGES} {_APPEND[name]}".rstrip(),
                   systemd=name == "systemd")
