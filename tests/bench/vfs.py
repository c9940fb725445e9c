# SPDX-License-Identifier: Apache-2.0
"""VFs: what it takes the agent from one transaction, with the PF in legacy mode and without VFs,
until every port's representor has its name and is up, and back. On the kernel's netdevsim, in a
guest of the system tests, which is emulated: the figures say how the cost of a VF grows with their
number, and not what it is on a real machine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

from measure import HERE, row, title, until
from ovsdb import Ovsdb

if TYPE_CHECKING:
    from bed.stack import Stack
    from bed.usage import Usage

COUNTS = (64, 128)
ROUNDS = 3
KERNEL = "6.12"
BOUND = 600
IFF_UP = 1


class Cost(NamedTuple):
    """Of all VFs together."""

    seconds: float
    usage: "Usage"  # the agent's


def is_up(name: str) -> bool:
    try:
        return bool(int(Path(f"/sys/class/net/{name}/flags").read_text(), 16) & IFF_UP)
    except OSError:
        return False


def is_gone(name: str) -> bool:
    return not os.path.exists(f"/sys/class/net/{name}")


def stack_without_switch() -> "Stack":
    """ovs-vswitchd's own work for each port, most of it repeated for all of them when one comes,
    would hide the agent's."""
    from bed.stack import Stack  # In the guest alone there is one.

    class NoSwitch(Stack):
        def _start(self) -> None:
            self.ovs.start_server_with_database({})
            self.vsctl("--no-wait", "add-br", "br0")
            self.start_engine()
            self.start_agent()
            until(self.engines_ready, 60, 0.1)
    return NoSwitch()


def measure(count: int) -> tuple[Cost, Cost]:
    """Of provisioning and of giving back."""
    from bed.netdevsim import NetdevsimBus
    from bed.usage import Meter

    with stack_without_switch() as stack:
        stack.expect_log(r"\|WARN\|vm\d+: invalid \(no-device\)")
        bus = NetdevsimBus()
        nic = bus.create()
        Path(f"/sys/kernel/debug/netdevsim/netdevsim{nic.number}/max_vfs").write_text(str(count))
        database = Ovsdb(stack.rundir / "db.sock")
        pid = stack.agent.pid
        ports = {f"vm{vf}": {
            "options": ["map", [["vdpa-socket", str(stack.socket_path(f"vm{vf}"))],
                                ["vdpa-representor", f"{nic.handle},vf{vf}"]]],
            "external_ids": ["map", [["attached-mac", f"52:54:00:00:00:{vf:02x}"]]]}
            for vf in range(count)}
        prepare = {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [
            ["other_config", "insert",
             ["map", [["vdpa-pfs", f"{nic.handle},num-vfs={count}"]]]]]}

        def cost(act: Callable[[], None], done: Callable[[str], bool]) -> Cost:
            left = list(ports)

            def all_done() -> bool:
                # One look while one is missing: more would take the machine from those that work.
                while left and done(left[-1]):
                    left.pop()
                return not left

            meter = Meter(pid)
            with meter.measuring():
                act()
                try:
                    seconds = until(all_done, BOUND, 0.02)
                except RuntimeError as error:
                    raise RuntimeError(f"{error}: {len(left)} VFs are left, {left[-1]}: "
                                       f"{stack.status(left[-1])}\n{stack.describe()}") from error
            return Cost(seconds, meter.usage)

        try:
            there = cost(lambda: database.add_ports("br0", ports, prepare), is_up)
            for vf in (0, count - 1):
                assert nic.representor(vf) == f"vm{vf}", nic.devlink_ports()
                assert nic.vf_mac(vf) == f"52:54:00:00:00:{vf:02x}"
            back = cost(lambda: database.delete_ports("br0", list(ports)), is_gone)
        finally:
            database.close()
            bus.close()
    return there, back


def in_guest() -> None:
    rounds = [{count: measure(count) for count in COUNTS} for _ in range(ROUNDS)]
    # Whatever else runs on the machine only adds to the time.
    row(f"VFs in one transaction, least of {ROUNDS}", *COUNTS, "growth")
    for number, what in enumerate(("provisioned", "given back")):
        figures: dict[str, Callable[[Cost], float]] = {
            "ms": lambda cost: cost.seconds * 1e3,
            "netlink messages": lambda cost: cost.usage.messages,
            "ms of the agent": lambda cost: cost.usage.processor * 1e3,
            "bytes written": lambda cost: cost.usage.written}
        for name, figure in figures.items():
            values = [min(figure(costs[count][number]) for costs in rounds) / count
                      for count in COUNTS]
            row(f"{what}, {name}", *[f"{value:.1f}" for value in values],
                f"{values[-1] / values[0]:.2f}")


def main() -> None:
    title(f"One VF of a netdevsim among others, Linux {KERNEL}, in an emulated guest")
    system = HERE.parent / "system/run.sh"
    subprocess.run([str(system), "--no-build", f"--kernel={KERNEL}", f"--bound={6 * BOUND}",
                    "--shell", "--", sys.executable, str(Path(__file__).resolve())], check=True)


if __name__ == "__main__":
    in_guest()
