# SPDX-License-Identifier: Apache-2.0
"""The program behind tests/demo.sh: one port, one virtual machine, from nothing and back."""

import argparse
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

from . import logs, namespaces, sanitizers
from .guest import Guest
from .peer import Peer
from .qemu import QemuGuest
from .sandbox import Sandbox
from .wait import wait_for

_PEER = "10.1.0.1"
_GUEST = "10.1.0.2"
_BOLD, _PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def step(text: str) -> None:
    print(f"\n{_BOLD}== {text}{_PLAIN}")


def show(text: str) -> None:
    print(textwrap.indent(text.rstrip("\n"), "    "))


class Demo:
    def __init__(self, box: Sandbox, qemu: bool) -> None:
        self.box = box
        self.qemu = qemu
        self.measured: list[tuple[str, str]] = []
        self.socket = box.socket_path("vm1")

    def command(self, line: str) -> str:
        """Runs a shell command in the sandbox, showing it and what it prints."""
        shown = line.replace(str(self.box.rundir), "$OVS_RUNDIR")
        print(f"{_BOLD}$ {shown}{_PLAIN}")
        done = subprocess.run(["/bin/bash", "-c", line.replace("\\\n", "")], env=self.box.env,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=60)
        if done.stdout.strip():
            show(done.stdout)
        assert done.returncode == 0, f"`{shown}` ended with status {done.returncode}"
        return done.stdout

    def measure(self, what: str, value: str) -> None:
        show(f"{what}: {value}")
        self.measured.append((what, value))

    def make_port(self) -> None:
        step("A port of br0 whose other side is a vhost-user socket")
        begin = time.monotonic()
        self.command(
            "ovs-vsctl --no-wait add-port br0 vm1 -- set Interface vm1 \\\n"
            f"      options:vdpa-socket={self.socket} options:vdpa-sw=true")
        self.command("ovs-vsctl --timeout=20 wait-until Interface vm1 "
                     f"external_ids:vdpa-served-socket={self.socket}")
        self.measure("ovs-vsctl to a socket that accepts connections, both commands",
                     f"{(time.monotonic() - begin) * 1000:.0f} ms")
        self.command("ovs-vsctl --columns=name,options,external_ids list Interface vm1")

    def boot(self) -> Guest:
        kind = "QEMU with a Debian kernel, without KVM" if self.qemu else "User-mode Linux"
        step(f"A virtual machine on that socket ({kind})")
        begin = time.monotonic()
        guest: Guest
        if self.qemu:
            guest = QemuGuest("vm1", self.socket, self.box.folder, linger=self.box.linger)
            self.box.adopt(guest)
        else:
            guest = self.box.uml("vm1", self.socket)
        guest.configure(f"{_GUEST}/24")
        self.box.wait_state("vm1", "running")
        self.measure("the guest's kernel to a running port", f"{time.monotonic() - begin:.1f} s")
        show(guest.run("uname -srm; ip -br address show eth0 2>/dev/null || ip addr show eth0"))
        return guest

    def traffic(self, guest: Guest, peer: Peer) -> None:
        step("Through Open vSwitch to a network namespace and back")
        print(f"guest$ ping {_PEER}")
        show(guest.ping(_PEER, 5))
        print(f"peer$ ping {_GUEST}")
        answer = peer.ping(_GUEST, 10, "-i", "0.2")
        show(answer)
        self.measure("ping, average round trip", f"{answer.split('=')[-1].split('/')[1]} ms")
        peer.serve_iperf3()
        for title, options in (("TCP, guest to namespace", ""), ("TCP, namespace to guest", "-R")):
            print(f"guest$ iperf3 -c {_PEER} -t 5 {options}".rstrip())
            report = guest.iperf3(_PEER, options, seconds=5)
            rate = report["sum_received"]["bits_per_second"] / 1e9
            assert rate > 0, report
            self.measure(title, f"{rate:.2f} Gbit/s")

    def look(self) -> None:
        step("What the agent says")
        self.command("ovs-appctl -t ovs-vdpa-agent vdpa/show")
        self.command("ovs-appctl -t ovs-vdpa-agent vdpa/stats vm1")

    def remove(self, guest: Guest) -> None:
        step("The port is deleted while the guest runs")
        self.command("ovs-vsctl del-port br0 vm1")
        wait_for(lambda: not self.socket.exists() and "vm1" not in namespaces.netdevs(), 15,
                 "socket and netdev to go away")
        self.command("ovs-appctl -t ovs-vdpa-agent vdpa/show")
        assert not self.box.shown(), "vdpa/show still has a port"
        self.command(f"ls {self.box.rundir}")
        self.command("ip -br link")
        guest.kill()

    def keep(self, guest: Guest) -> None:
        step("Everything is left running")
        guest.spawn("exec iperf3 -s >/dev/null 2>&1")
        guest.hold_channel()
        sandbox = Path(__file__).resolve().parents[2] / "sandbox.sh"
        folder = self.box.folder
        print(f"""
Enter it:   sudo {sandbox} --enter={folder}
            ovs-appctl -t ovs-vdpa-agent vdpa/show
            ip netns exec peer ping {_GUEST}
            ip netns exec peer iperf3 -c {_GUEST}
End it:     sudo {sandbox} --end={folder}""")

    def summary(self) -> None:
        step("Measured here")
        width = max(len(what) for what, _ in self.measured)
        for what, value in self.measured:
            print(f"    {what:{width}}   {value}")


def _relevant(box: Sandbox) -> str:
    """Of each log the warnings and errors, and its end."""
    parts = []
    for daemon in box.daemons():
        faults = logs.faults(daemon.log) + logs.faults(daemon.out)
        parts += [f"--- {daemon.log}", *faults[-20:], "...", logs.tail(daemon.log, 15)]
    parts += sanitizers.reports(box.logdir)
    parts += [guest.describe() for guest in box.guests]
    return "\n".join(parts)


def run(box: Sandbox, qemu: bool, keep: bool) -> None:
    begin = time.monotonic()
    demo = Demo(box, qemu)
    for daemon in reversed(box.daemons()):
        show(f"{daemon.name:16} process {daemon.pid}")
    demo.command("ovs-vsctl show")
    demo.make_port()
    peer = box.peer("peer", f"{_PEER}/24")
    guest = demo.boot()
    demo.traffic(guest, peer)
    demo.look()
    if keep:
        demo.keep(guest)
    else:
        demo.remove(guest)
        step("The daemons are stopped, and nothing remains")
        box.finish()
        show("no process, netdev, socket or namespace is left, and no log has an unexpected "
             "warning.")
    demo.measure("the whole demonstration", f"{time.monotonic() - begin:.0f} s")
    demo.summary()


def _terminate(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="demo.sh", allow_abbrev=False)
    parser.add_argument("--qemu", action="store_true")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    box = Sandbox(linger=options.keep)
    step("An isolated Open vSwitch, the engine and the agent")
    kept = False
    try:
        box.__enter__()
        run(box, options.qemu, options.keep)
        kept = options.keep
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"\nFAILED: {error}\n\n{_relevant(box)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    finally:
        if kept:
            sys.stdout.flush()
            os._exit(0)  # Nothing may run that takes the stack down.
        box.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
