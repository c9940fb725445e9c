# SPDX-License-Identifier: Apache-2.0
"""Ports: how long until one can be connected to, ours beside OVS-DPDK's dpdkvhostuser in the same
run; what idle ports cost; how long an agent takes to adopt them."""

import statistics
import time
from pathlib import Path

from measure import cpu_seconds, row, title, until

from harness.daemons import Daemon
from harness.ovs import CommandFailed, accepts
from harness.sandbox import Sandbox
from ovsdb import Ovsdb

DPDK_VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
REPETITIONS = 7


class Ours:
    """Emulated VFs beside a stock ovs-vswitchd."""

    name = "ovs-vdpa-agent"

    def __init__(self) -> None:
        self.box = Sandbox()

    def start(self) -> None:
        self.box.__enter__()

    def columns(self, name: str) -> dict:
        return {"options": ["map", [["vdpa-socket", str(self.socket(name))], ["vdpa-sw", "true"]]]}

    def socket(self, name: str) -> Path:
        return self.box.rundir / name

    def stop(self) -> None:
        self.box.close()


class OvsDpdk:
    """Ports of type dpdkvhostuser in OVS-DPDK's own ovs-vswitchd."""

    name = "OVS-DPDK dpdkvhostuser"

    def __init__(self) -> None:
        self.box = Sandbox(engine=False, agent=False)
        self.box_start = self.box._start
        self.box._start = self._start  # type: ignore[method-assign]

    def _start(self) -> None:
        box = self.box
        box.ovs.vswitchd = Daemon("ovs-vswitchd", [DPDK_VSWITCHD, *box.ovs.vswitchd.argv[1:]],
                                  box.env, box.logdir)
        box.ovs.start_server_with_database({
            "dpdk-init": "true", "dpdk-socket-mem": "256", "pmd-cpu-mask": "0x1",
            "dpdk-extra": "--no-pci --file-prefix=ovda-bench --iova-mode=va --in-memory"})
        box.ovs.start_vswitchd()
        box.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")

    def start(self) -> None:
        self.box.__enter__()

    def columns(self, name: str) -> dict:
        return {"type": "dpdkvhostuser"}

    def socket(self, name: str) -> Path:
        return self.box.rundir / name

    def stop(self) -> None:
        self.box.close()


def one_more(stack: Ours | OvsDpdk, database: Ovsdb, existing: int) -> tuple[float, float]:
    """Medians, in ms, of the time from the reply to a transaction that adds one port to its socket
    taking a connection, and to ovs-vswitchd having given it an ofport."""
    to_connect, to_ofport = [], []
    for number in range(REPETITIONS):
        name = f"x{existing}.{number}"
        database.add_ports("br0", {name: stack.columns(name)})
        begin = time.monotonic()
        to_connect.append(until(lambda: accepts(stack.socket(name)), 30))
        until(lambda: database.ofport(name) > 0, 60, 0.002)
        to_ofport.append(time.monotonic() - begin)
        database.delete_ports("br0", [name])
        until(lambda: not stack.socket(name).exists(), 30, 0.002)
        time.sleep(0.2)  # the switch goes on being busy with the removal
    return 1e3 * statistics.median(to_connect), 1e3 * statistics.median(to_ofport)


def add_many(stack: Ours | OvsDpdk, database: Ovsdb, names: list[str]) -> float:
    """Seconds from the reply to one transaction until every socket takes a connection."""
    database.add_ports("br0", {name: stack.columns(name) for name in names})
    begin = time.monotonic()
    waiting = list(names)

    def all_there() -> bool:
        nonlocal waiting
        waiting = [name for name in waiting if not stack.socket(name).exists()]
        return not waiting
    until(all_there, 180, 0.002)
    until(lambda: all(accepts(stack.socket(name)) for name in names), 60, 0.01)
    return time.monotonic() - begin


def adding(counts: list[int]) -> None:
    title(f"One more port, median of {REPETITIONS}: ms to the first connection, ms to ofport > 0")
    row("ports there already", *counts)
    connect: dict[str, list[float]] = {}
    many: dict[str, float] = {}
    for kind in (Ours, OvsDpdk):
        stack = kind()
        stack.start()
        try:
            database = Ovsdb(stack.box.rundir / "db.sock")
            many[kind.name] = add_many(stack, database, [f"m{i}" for i in range(200)])
            database.delete_ports("br0", [f"m{i}" for i in range(200)])
            until(lambda: not any(stack.socket(f"m{i}").exists() for i in range(200)), 120, 0.05)
            there, results = 0, []
            for count in counts:
                add_many(stack, database, [f"p{i}" for i in range(there, count)])
                there = count
                until(lambda: database.ofport(f"p{count - 1}") > 0, 180, 0.05)
                time.sleep(1)
                results.append(one_more(stack, database, count))
            connect[kind.name] = [result[0] for result in results]
            row(f"{kind.name}, connection", *[f"{result[0]:.1f}" for result in results])
            row(f"{kind.name}, ofport", *[f"{result[1]:.1f}" for result in results])
            database.close()
        finally:
            stack.stop()
    row("ours / OVS-DPDK, connection",
        *[f"{a / b:.2f}" for a, b in zip(connect[Ours.name], connect[OvsDpdk.name])])
    ours = connect[Ours.name]
    row("ours, against the first column", *[f"{value / ours[0]:.2f}" for value in ours])
    title("200 ports in one transaction: s until all take connections")
    for name, seconds in many.items():
        row(name, f"{seconds:.2f}")
    row("ours / OVS-DPDK", f"{many[Ours.name] / many[OvsDpdk.name]:.2f}")


def idle_and_restart(count: int = 100, seconds: float = 20) -> None:
    with Sandbox() as box:
        ours = Ours()
        ours.box = box
        database = Ovsdb(box.rundir / "db.sock")
        add_many(ours, database, [f"p{i}" for i in range(count)])
        until(lambda: database.ofport(f"p{count - 1}") > 0, 60, 0.05)
        time.sleep(2)

        def used() -> float:
            return cpu_seconds(box.agent.pid) + cpu_seconds(box.engine.pid)
        before = used()
        time.sleep(seconds)
        title(f"{count} ports without traffic, agent and engine together")
        row("share of one core", f"{100 * (used() - before) / seconds:.2f} %")

        box.agent.kill()
        begin = time.monotonic()

        def adopted() -> bool:
            try:
                ports = box.show()["ports"]  # type: ignore[index]
            except (CommandFailed, ValueError):
                return False
            return sum(port["state"] == "listening" for port in ports) == count
        box.agent.start(adopted)
        title(f"Agent killed with {count} ports there")
        row("s from its start to all adopted", f"{time.monotonic() - begin:.2f}")
        database.close()


def main() -> None:
    adding([10, 100, 400])
    idle_and_restart()
