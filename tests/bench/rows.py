# SPDX-License-Identifier: Apache-2.0
"""A large database: what rows that are not ours cost the agent."""

import time
import uuid

from measure import rss_mib, row, run_nanoseconds, title, until

from harness.sandbox import Sandbox
from ovsdb import Ovsdb
from ports import Ours, add_many

BATCH = 500
CHANGES = 300


def foreign(number: int) -> dict:
    """An Interface row as OpenStack writes it."""
    port = uuid.UUID(int=number)
    return {"type": "internal",
            "external_ids": ["map", [["attached-mac", "fa:16:3e:00:00:01"],
                                     ["iface-id", str(port)], ["iface-status", "active"],
                                     ["vm-uuid", str(port)]]]}


class NoSwitch(Sandbox):
    """Without ovs-vswitchd, which would open all those ports."""

    def _start(self) -> None:
        self.ovs.start_server_with_database({})
        self.vsctl("--no-wait", "add-br", "br0", "--", "set", "Bridge", "br0",
                   "datapath_type=netdev")
        self.start_engine()
        self.start_agent()


def measure(rows: int) -> tuple[float, float]:
    """The agent's memory in MiB and its microseconds of processor time for one change to a foreign
    row, with `rows` rows of which 100 are ours."""
    with NoSwitch() as box:
        database = Ovsdb(box.rundir / "db.sock")
        ours = Ours()
        ours.box = box
        add_many(ours, database, [f"p{i}" for i in range(100)], switch=False)
        for start in range(0, rows - 100, BATCH):
            database.add_ports("br0", {f"f{i}": foreign(i)
                                       for i in range(start, min(start + BATCH, rows - 100))})
        box.agent.stop()  # as after a reboot: everything is there when it starts
        box.start_agent()
        until(lambda: len(box.shown()) == 100, 60, 0.1)
        time.sleep(2)
        memory = rss_mib(box.agent.pid)
        before = run_nanoseconds(box.agent.pid)
        for number in range(CHANGES):
            database.transact({"op": "mutate", "table": "Interface",
                               "where": [["name", "==", f"f{number}"]],
                               "mutations": [["external_ids", "insert",
                                              ["map", [["note", str(number)]]]]]})
        time.sleep(1)
        used = (run_nanoseconds(box.agent.pid) - before) / CHANGES / 1e3
        database.close()
        return memory, used


def main() -> None:
    title("Interface rows, 100 of them ours: the agent's memory, and its processor time for a "
          "change to a row that is not")
    row("rows", "MiB", "µs a change")
    for rows in (1000, 10000):
        memory, used = measure(rows)
        row(rows, f"{memory:.1f}", f"{used:.1f}")
