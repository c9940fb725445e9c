# SPDX-License-Identifier: Apache-2.0
"""What tests of a port with a kernel vDPA device begin with: an Interface row on the representor of
a netdevsim's VF, in Open vSwitch of the kernel, whose queues a simulated device serves."""

import subprocess
import time
from pathlib import Path

from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.ovs import CommandFailed
from harness.wait import wait_for

MAC = "02:00:00:00:00:42"
# What engine and agent say of a front-end, a device or each other that they lose.
LOST = r"\|(dpdk|vhost|vdpa|kernel_vdpa|ports|engine\(control\)|port\(control\))\|(WARN|ERR)\|"


class KernelPort:
    """Port vm1, and its device v0."""

    name = "vm1"

    def __init__(self, stack: Stack, bus: NetdevsimBus, devices: VdpaDevices, *,
                 mode: str = "server") -> None:
        self.stack = stack
        self.devices = devices
        self.nic = bus.create().to_switchdev(2)
        self.create_device()
        self.path = stack.add_vdpa_port(
            self.name, vdpa_representor=f"{self.nic.handle},vf0", vdpa_socket_mode=mode,
            vdpa_accelerator_devargs=str(self.device),
            wait="listening" if mode == "server" else "connecting")

    def create_device(self) -> None:
        self.device: Path = self.devices.create("v0", "mac", MAC)

    def is_on_the_representor(self) -> bool:
        """Whether Open vSwitch has the VF's representor as the port."""
        return (self.nic.representor(0) == self.name and self.stack.ofport(self.name) > 0
                and self.name in self.stack.vport_netdevs())

    def wait_attached(self) -> None:
        wait_for(self.is_on_the_representor, 15,
                 lambda: f"the representor to be the port: {self.stack.status(self.name)}")

    def delete_device(self) -> tuple[float, float]:
        """While it is in use: how many seconds that takes, and how many the longest `vdpa/show`
        meanwhile, of which there is one at least."""
        begin = time.monotonic()
        removal = subprocess.Popen(["vdpa", "dev", "del", "v0"], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        longest, took = 0.0, 0.0
        try:
            while not took or not longest:
                asked = time.monotonic()
                try:
                    shown = self.stack.shown()
                except CommandFailed as error:
                    raise AssertionError(f"vdpa/show says nothing: {error}") from None
                longest = max(longest, time.monotonic() - asked)
                assert self.name in shown, shown
                if removal.poll() is not None:
                    took = took or time.monotonic() - begin
            assert removal.returncode == 0, removal.communicate()[0]
        finally:
            if removal.poll() is None:
                removal.kill()
            removal.communicate()
        return took, longest
