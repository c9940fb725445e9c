# SPDX-License-Identifier: Apache-2.0
"""A PCI device with SR-IOV. That of the guest is an nvme controller, which has no eswitch and no
netdev: what is real of it are VFs, links and drivers."""

import os
from pathlib import Path

from harness.wait import wait_for

from . import kernel

_PCI = Path("/sys/bus/pci")
NVME_CLASS = "0x010802"


class PciPf:
    def __init__(self, address: str) -> None:
        self.address = address
        self.sysfs = _PCI / "devices" / address

    @property
    def total_vfs(self) -> int:
        return int((self.sysfs / "sriov_totalvfs").read_text())

    @property
    def vf_count(self) -> int:
        return int((self.sysfs / "sriov_numvfs").read_text())

    def set_vfs(self, count: int) -> None:
        """The kernel takes a new number only after 0."""
        (self.sysfs / "sriov_numvfs").write_text(str(count))

    def vf(self, number: int) -> str | None:
        """The address of a VF by the PF's link; None if there is none."""
        link = self.sysfs / f"virtfn{number}"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def vfs(self) -> list[str]:
        links = sorted(self.sysfs.glob("virtfn*"), key=lambda link: int(link.name[6:]))
        return [os.path.basename(os.readlink(link)) for link in links]

    @staticmethod
    def driver(address: str) -> str | None:
        link = _PCI / "devices" / address / "driver"
        return os.path.basename(os.readlink(link)) if link.is_symlink() else None

    def set_autoprobe(self, probes: bool) -> None:
        """Whether the kernel looks for a driver when it makes a VF. If not, a VF can be bound only
        to the driver that it is to have by override()."""
        (self.sysfs / "sriov_drivers_autoprobe").write_text(str(int(probes)))

    @staticmethod
    def override(address: str, driver: str) -> None:
        (_PCI / "devices" / address / "driver_override").write_text(driver)

    @staticmethod
    def unbind(address: str) -> None:
        (_PCI / "devices" / address / "driver/unbind").write_text(address)

    @staticmethod
    def bind(address: str, driver: str) -> None:
        (_PCI / "drivers" / driver / "bind").write_text(address)


def find_nvme_pf() -> PciPf:
    kernel.load("nvme")
    for device in sorted((_PCI / "devices").iterdir()):
        if ((device / "class").read_text().strip() == NVME_CLASS
                and (device / "sriov_totalvfs").exists()):
            pf = PciPf(device.name)
            wait_for(lambda: pf.driver(pf.address) == "nvme", 30, "the nvme driver")
            return pf
    raise AssertionError("the guest has no nvme device with SR-IOV")
