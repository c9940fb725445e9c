# SPDX-License-Identifier: Apache-2.0
"""A switchdev NIC played by the kernel's netdevsim: PF and VF ports, eswitch modes, representors.
It has no PCI device and moves no packets."""

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from harness.wait import wait_for

from . import kernel

_BUS = Path("/sys/bus/netdevsim")


def devlink(*words: str, bound: float = 30) -> Any:
    """What devlink(8) prints, as JSON; AssertionError with what it says if it fails."""
    done = subprocess.run(["devlink", "-j", *words], capture_output=True, text=True, timeout=bound)
    assert done.returncode == 0, f"devlink {' '.join(words)}: {done.stderr.strip()}"
    return json.loads(done.stdout) if done.stdout.strip() else {}


class Netdevsim:
    """One such NIC, from create() to delete()."""

    def __init__(self, number: int, *, ports: int = 1) -> None:
        self.number = number
        self.ports = ports
        self.handle = f"netdevsim/netdevsim{number}"
        self.sysfs = _BUS / f"devices/netdevsim{number}"

    def create(self) -> "Netdevsim":
        (_BUS / "new_device").write_text(f"{self.number} {self.ports}")
        return self

    def delete(self) -> None:
        """As a NIC that is pulled, or reset, with all its netdevs."""
        (_BUS / "del_device").write_text(str(self.number))

    @property
    def exists(self) -> bool:
        return self.sysfs.exists()

    @property
    def vfs(self) -> int:
        return int((self.sysfs / "sriov_numvfs").read_text())

    def allow_vfs(self, count: int) -> "Netdevsim":
        """So many VFs at most; as made it has four."""
        debug = Path("/sys/kernel/debug")
        if not (debug / "netdevsim").exists():
            subprocess.run(["mount", "-t", "debugfs", "none", debug], check=True)
        (debug / f"netdevsim/netdevsim{self.number}/max_vfs").write_text(str(count))
        return self

    def set_vfs(self, count: int) -> None:
        (self.sysfs / "sriov_numvfs").write_text(str(count))

    @property
    def eswitch_mode(self) -> str:
        return devlink("dev", "eswitch", "show", self.handle)["dev"][self.handle]["mode"]

    def set_eswitch_mode(self, mode: str) -> None:
        devlink("dev", "eswitch", "set", self.handle, "mode", mode)

    def to_switchdev(self, vfs: int) -> "Netdevsim":
        """What an operator does by hand."""
        self.set_vfs(vfs)
        self.set_eswitch_mode("switchdev")
        return self

    def devlink_ports(self) -> list[dict[str, Any]]:
        """Of this device, in the order of their indices."""
        found = devlink("port", "show")["port"]
        ports = [{"handle": handle, **port} for handle, port in found.items()
                 if handle.startswith(f"{self.handle}/")]
        return sorted(ports, key=lambda port: int(port["handle"].rsplit("/", 1)[1]))

    @property
    def uplink(self) -> str:
        """The netdev of the first PF."""
        return next(port["netdev"] for port in self.devlink_ports()
                    if port["flavour"] == "physical")

    def representor(self, vf: int, pf: int = 0) -> str:
        """The present name of a VF's representor. AssertionError if there is none."""
        for port in self.devlink_ports():
            if (port["flavour"] == "pcivf" and port["pfnum"] == pf and port["vfnum"] == vf
                    and port.get("netdev")):
                return port["netdev"]
        raise AssertionError(f"no representor of pf{pf}vf{vf}: {self.devlink_ports()}")

    def representors(self) -> int:
        """How many there are; without a program that would take longer than what it sees."""
        count = 0
        for netdev in Path("/sys/class/net").iterdir():
            with contextlib.suppress(OSError):
                parent = (netdev / "device").resolve().name
                port = (netdev / "phys_port_name").read_text()
                count += parent == self.sysfs.name and "vf" in port
        return count

    def wait_representor(self, vf: int, name: str, bound: float = 15) -> None:
        """Waits until a VF's representor has that name."""
        def named() -> bool:
            with contextlib.suppress(AssertionError):
                return self.representor(vf) == name
            return False
        wait_for(named, bound, lambda: f"vf{vf} to be {name}: {self.devlink_ports()}")

    def vf_mac(self, vf: int) -> str:
        """The MAC that was set for a VF by rtnetlink; netdevsim has no port functions."""
        text = subprocess.run(["ip", "link", "show", "dev", self.uplink], check=True,
                              capture_output=True, text=True).stdout
        found = re.search(rf"^ *vf {vf} .*link/ether (\S+)", text, re.MULTILINE)
        assert found, f"no vf {vf}: {text}"
        return found[1]


class NetdevsimBus:
    """Makes such NICs, and removes at the end those that are still there."""

    def __init__(self) -> None:
        kernel.load("netdevsim")

    def create(self, number: int = 10, *, ports: int = 1) -> Netdevsim:
        return Netdevsim(number, ports=ports).create()

    @staticmethod
    def numbers() -> list[int]:
        return sorted(int(name.removeprefix("netdevsim")) for name in os.listdir(_BUS / "devices"))

    def close(self) -> None:
        for number in self.numbers():
            Netdevsim(number).delete()
