# SPDX-License-Identifier: Apache-2.0
"""A kernel vDPA device keeps no log of what it writes: such a guest must not migrate."""

import subprocess
from pathlib import Path

import pytest

from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.daemons import die_with_parent
from harness.qmp import Qmp, QmpError
from kernel_port import KernelPort


class BareQemu:
    """A machine without a disk. Its firmware looks for one on the network, by the port."""

    def __init__(self, vhost_socket: Path, folder: Path) -> None:
        self.output = folder / "qemu.out"
        monitor = folder / "qemu.qmp"
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                 "-accel", "tcg,thread=single", "-m", "64", "-machine", "q35,memory-backend=mem",
                 "-object", "memory-backend-memfd,id=mem,size=64M,share=on",
                 "-chardev", f"socket,id=vhost,path={vhost_socket}",
                 "-netdev", "vhost-user,id=net0,chardev=vhost",
                 # QEMU 7.2 without KVM crashes when it sets up notifiers for MSI-X.
                 "-device", "virtio-net-pci,netdev=net0,vectors=0,bootindex=0",
                 "-qmp", f"unix:{monitor},server=on,wait=off"],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, preexec_fn=die_with_parent)
        try:
            self.monitor = Qmp(monitor)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def describe(self) -> str:
        return self.output.read_text(errors="replace")


@pytest.mark.bound(900)
def test_qemu_refuses_and_says_why(stack: Stack, netdevsim: NetdevsimBus, vdpa_sim: VdpaDevices,
                                   tmp_path: Path) -> None:
    port = KernelPort(stack, netdevsim, vdpa_sim)
    qemu = BareQemu(port.path, tmp_path)
    stack.adopt(qemu)
    stack.wait_state("vm1", "running", 120)
    shown = stack.shown()["vm1"]
    assert "log_all" not in shown["offered"] and shown["offered"], shown
    with pytest.raises(QmpError, match=r"Migration disabled: vhost.* lacks VHOST_\w*LOG_\w+"):
        qemu.monitor.execute("migrate", uri=f"unix:{tmp_path}/nowhere")
    # Nothing has come of it.
    assert qemu.monitor.execute("query-status")["running"]
    assert stack.status("vm1")["state"] == "running"
    qemu.kill()
    stack.wait_state("vm1", "listening", 30)
