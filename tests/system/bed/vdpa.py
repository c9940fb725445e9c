# SPDX-License-Identifier: Apache-2.0
"""Kernel vDPA devices: made of a management device by vdpa(8), served at /dev/vhost-vdpa-N."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from harness.wait import wait_for

from . import kernel

_BUS = Path("/sys/bus/vdpa")


def vdpa(*words: str, bound: float = 30) -> Any:
    """What vdpa(8) prints, as JSON; AssertionError with what it says if it fails."""
    done = subprocess.run(["vdpa", "-j", *words], capture_output=True, text=True, timeout=bound)
    assert done.returncode == 0, f"vdpa {' '.join(words)}: {done.stderr.strip()}"
    return json.loads(done.stdout) if done.stdout.strip() else {}


def character_device(name: str) -> Path | None:
    """The vhost-vdpa device of the vDPA device `name`."""
    for path in (_BUS / "devices" / name).glob("vhost-vdpa-*"):
        device = Path("/dev") / path.name
        return device if device.exists() else None
    return None


class VdpaDevices:
    """Those of one management device; what is left of them goes at the end."""

    def __init__(self, management_device: str) -> None:
        self.management_device = management_device
        kernel.load("vhost_vdpa")

    def create(self, name: str, *options: str) -> Path:
        """Adds a device, with options as vdpa(8) takes them ("mac", "..."); its character
        device."""
        vdpa("dev", "add", "name", name, "mgmtdev", self.management_device, *options)
        return wait_for(lambda: character_device(name), 10, f"/dev/vhost-vdpa-N of {name}")

    def delete(self, name: str, bound: float = 30) -> None:
        vdpa("dev", "del", name, bound=bound)

    def names(self) -> list[str]:
        return [name for name, device in vdpa("dev", "show").get("dev", {}).items()
                if device["mgmtdev"] == self.management_device]

    def counter(self, name: str, ring: int, counter: str) -> int:
        """One of the counters that the device has of a ring ("tx packets" is tx_packets); 0 while
        the device is not set up."""
        try:
            shown = vdpa("dev", "vstats", "show", name, "qidx", str(ring))
        except AssertionError:
            return 0
        # The device names its counters, and not all of them as identifiers.
        counters = {key.replace(" ", "_"): value for key, value in shown["vstats"][name].items()}
        return int(counters[counter])

    def config(self, name: str) -> dict[str, Any]:
        return vdpa("dev", "config", "show", name)["config"][name]

    def close(self) -> None:
        for name in self.names():
            self.delete(name)


def simulator(*, use_va: bool = True) -> VdpaDevices:
    """The kernel's simulated network device: one queue pair, split rings; it receives what it
    sends, if that is addressed to its MAC or broadcast. Without `use_va` it pins memory as hardware
    does."""
    wanted = "Y" if use_va else "N"
    parameter = Path("/sys/module/vdpa_sim/parameters/use_va")
    if parameter.exists() and parameter.read_text().strip() != wanted:
        kernel.unload("vdpa_sim_net")
    kernel.load(f"vdpa_sim use_va={int(use_va)}", "vdpa_sim_net")
    return VdpaDevices("vdpasim_net")


def virtio_pci() -> VdpaDevices:
    """vp_vdpa on the guest's virtio-net device: packed rings, and a real (virtual) IOMMU. Its
    rings cannot be read back."""
    kernel.load("vp_vdpa")
    pci = Path("/sys/bus/pci")
    for device in sorted((pci / "devices").iterdir()):
        if (device / "vendor").read_text().strip() == "0x1af4" \
                and (device / "device").read_text().strip() == "0x1041":
            driver = device / "driver"
            if driver.exists() and os.path.basename(os.readlink(driver)) != "vp-vdpa":
                (driver / "unbind").write_text(device.name)
            if not driver.exists():
                (device / "driver_override").write_text("vp-vdpa")
                (pci / "drivers/vp-vdpa/bind").write_text(device.name)
            return VdpaDevices(f"pci/{device.name}")
    raise AssertionError("the guest has no virtio-net device: ask for the machine viommu")
