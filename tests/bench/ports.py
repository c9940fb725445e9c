# SPDX-License-Identifier: Apache-2.0
"""Ports: how long until one can be used, ours beside OVS-DPDK's dpdkvhostuser in the same run; what
idle ports cost; how long an agent takes to adopt them."""

import statistics
import time
from pathlib import Path

from measure import cpu_seconds, row, title, until

from arrival import Arrival, arrive
from harness.daemons import Daemon
from harness.namespaces import netdevs
from harness.ovs import CommandFailed
from harness.sandbox import Sandbox
from ovsdb import Interface, Ovsdb

DPDK_VSWITCHD = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
REPETITIONS = 15
REPETITIONS_OF_MANY = 5


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

    def is_served(self, row: Interface) -> bool:
        return "vdpa-served-socket" in row.external_ids

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
        # Its pidfile and control socket are named after the program.
        program = box.folder / "ovs-vswitchd"
        program.symlink_to(DPDK_VSWITCHD)
        box.ovs.vswitchd = Daemon("ovs-vswitchd", [str(program), *box.ovs.vswitchd.argv[1:]],
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

    def is_served(self, row: Interface) -> bool:
        del row
        return True  # it says nothing

    def stop(self) -> None:
        self.box.close()


def medians(arrivals: list[Arrival]) -> Arrival:
    return Arrival(*map(statistics.median, zip(*arrivals)))


def one_more(stack: Ours | OvsDpdk, database: Ovsdb, existing: int) -> Arrival:
    """Medians, counted from the reply to a transaction that adds one port."""
    arrivals = []
    for number in range(REPETITIONS):
        name = f"x{existing}.{number}"
        arrivals.append(arrive(
            database, {name: stack.socket(name)},
            lambda name=name: database.add_ports("br0", {name: stack.columns(name)}), 0.0001,
            stack.is_served))
        database.delete_ports("br0", [name])
        until(lambda: not stack.socket(name).exists(), 30, 0.002)
        # The switch goes on being busy with the removal; and the vhost library, left to itself,
        # looks at its sockets once in a second, which the ports are to come at all times of.
        time.sleep(0.2 + number / REPETITIONS)
    return medians(arrivals)


def add_many(stack: Ours | OvsDpdk, database: Ovsdb, names: list[str],
             switch: bool = True) -> Arrival:
    """Counted from the reply to one transaction that adds all."""
    columns = {name: stack.columns(name) for name in names}
    return arrive(database, {name: stack.socket(name) for name in names},
                  lambda: database.add_ports("br0", columns), 0.005,
                  stack.is_served if switch else None)


def delete_many(stack: Ours | OvsDpdk, database: Ovsdb, names: list[str]) -> None:
    database.delete_ports("br0", names)
    for name in names:
        until(lambda: not stack.socket(name).exists(), 120, 0.02)
    # The kernel takes its time over netdevs, and is slow to make others meanwhile.
    until(lambda: not set(names) & set(netdevs()), 120, 0.1)


def compare(results: dict[str, list[Arrival]], unit: float, form: str) -> None:
    """The rows of a table: a column for each Arrival, and ours by OVS-DPDK's."""
    for field in Arrival._fields:
        figures = {name: [getattr(arrival, field) for arrival in arrivals]
                   for name, arrivals in results.items()}
        for name, values in figures.items():
            row(f"{name}, {field}", *[format(value / unit, form) for value in values])
        ours, peer = figures[Ours.name], figures[OvsDpdk.name]
        row(f"ours / OVS-DPDK, {field}", *[f"{a / b:.2f}" for a, b in zip(ours, peer)])
        if len(ours) > 1:
            row(f"ours / first column, {field}", *[f"{a / ours[0]:.2f}" for a in ours])


def adding(counts: list[int]) -> None:
    one: dict[str, list[Arrival]] = {}
    many: dict[str, list[Arrival]] = {}
    hundreds = [f"m{i}" for i in range(200)]
    for kind in (Ours, OvsDpdk):
        stack = kind()
        stack.start()
        try:
            database = Ovsdb(stack.box.rundir / "db.sock")
            # DPDK, which the first port may have to wait for, is no part of what ports cost.
            add_many(stack, database, ["first"])
            delete_many(stack, database, ["first"])
            attempts = []
            for _ in range(REPETITIONS_OF_MANY):
                attempts.append(add_many(stack, database, hundreds))
                delete_many(stack, database, hundreds)
                time.sleep(1)  # the switch goes on being busy with the removal
            many[kind.name] = [medians(attempts)]
            there, one[kind.name] = 0, []
            for count in counts:
                add_many(stack, database, [f"p{i}" for i in range(there, count)])
                there = count
                time.sleep(1)
                one[kind.name].append(one_more(stack, database, count))
            database.close()
        finally:
            stack.stop()
    title(f"One more port, median of {REPETITIONS}: ms until it takes a connection, answers "
          "GET_FEATURES, has an ofport, has all and is served")
    row("ports there already", *counts)
    compare(one, 1e-3, ".1f")
    title(f"200 ports in one transaction, median of {REPETITIONS_OF_MANY}: s until all do")
    compare(many, 1, ".2f")


def idle_and_restart(count: int = 100, seconds: float = 20) -> None:
    with Sandbox() as box:
        ours = Ours()
        ours.box = box
        database = Ovsdb(box.rundir / "db.sock")
        add_many(ours, database, [f"p{i}" for i in range(count)])
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
                ports = box.shown().values()
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
