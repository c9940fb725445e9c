# SPDX-License-Identifier: Apache-2.0
"""Whatever ends and comes back while a row's guest is served by a kernel vDPA device, its frames
come around again by themselves, and nothing is left behind. OVDA_ROUNDS says how often something
ends; by default each kind three times."""

import os
import statistics
from pathlib import Path

import pytest

from bed.loop import Loop, Result
from bed.netdevsim import NetdevsimBus
from bed.stack import Stack
from bed.vdpa import VdpaDevices
from harness.wait import PATIENCE, wait_for
from kernel_port import LOST, KernelPort

ROUNDS = int(os.environ.get("OVDA_ROUNDS") or 12)
WINDOW, RING = 64, 256
DELETION_TIME = 2.0


def free_hugepages() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("HugePages_Free:"):
            return int(line.split()[1])
    raise AssertionError("no hugepages")


class Guest:
    """A port, and a front-end with hugepages that listens for the engine and lives on when that
    goes; both until close()."""

    def __init__(self, port: KernelPort, folder: Path) -> None:
        self.port = port
        self.stack = port.stack
        self._folder = folder
        self.deletions: list[float] = []
        self.begin()
        self.end()
        # What an engine has once it has served somebody, it keeps.
        self.descriptors = self.stack.descriptors()
        self.begin()

    def begin(self) -> None:
        # One that was killed has left it; virtio-user does not replace it.
        self.port.path.unlink(missing_ok=True)
        # Ended with the stack, whatever fails: it would keep its hugepages, and a processor.
        self.loop = Loop(self.port.path, 10 ** 9, self._folder, server=1, patience=2,
                         window=WINDOW, ring=RING, memory=64, huge=1)
        self.stack.adopt(self.loop)
        self.loop.wait_started()
        self.disturbed = 0
        self.await_flow()

    def await_flow(self) -> None:
        """The row says that the guest is served, and frames come back."""
        self.stack.wait_status("vm1", 60, state="running", queues="1/1", reason=None)
        before = self.loop.received()
        wait_for(lambda: self.loop.received() > before + 4 * WINDOW, 30,
                 lambda: f"frames to come back after {before}: {self.loop.received()}\n"
                         f"{self.loop.describe()}\n{self.stack.status('vm1')}")

    def check(self, result: Result) -> None:
        """What was not in the rings when something ended has come back, once and in order."""
        assert not (result.misordered or result.damaged), result
        assert result.lost - result.late <= RING * self.disturbed, (result, self.disturbed)

    def end(self) -> None:
        self.check(self.loop.so_far())
        self.loop.kill()
        self.stack.wait_state("vm1", "connecting", 30)

    # What may happen.

    def restart_front_end(self) -> None:
        self.end()
        self.stack.wait_clean(self.descriptors)
        self.begin()

    def restart_engine(self) -> None:
        self.stack.engine.kill()
        self.stack.wait_state("vm1", "waiting")
        self.stack.start_engine()

    def restart_agent(self) -> None:
        self.stack.agent.kill()
        before = self.loop.received()
        wait_for(lambda: self.loop.received() > before + WINDOW, 30, "frames without an agent")
        self.stack.start_agent()

    def replace_device(self) -> None:
        took, answer = self.port.delete_device()
        self.deletions.append(took)
        assert took < DELETION_TIME * PATIENCE, f"vdpa dev del took {took:.1f} s"
        assert answer < DELETION_TIME * PATIENCE, f"vdpa/show took {answer:.1f} s"
        self.stack.wait_status("vm1", reason="device-missing")
        self.port.create_device()


@pytest.mark.bound(600 + 60 * ROUNDS)
def test_guest_is_served_again(stack: Stack, netdevsim: NetdevsimBus, vdpa_sim_pinned: VdpaDevices,
                               tmp_path: Path) -> None:
    stack.expect_log(LOST)
    port = KernelPort(stack, netdevsim, vdpa_sim_pinned, mode="client")
    hugepages = free_hugepages()
    guest = Guest(port, tmp_path)
    events = (guest.restart_engine, guest.restart_agent, guest.replace_device,
              guest.restart_front_end)
    for number in range(ROUNDS):
        event = events[number % len(events)]
        try:
            event()
            guest.disturbed += 1
            guest.await_flow()
        except AssertionError as error:
            raise AssertionError(f"round {number + 1}, {event.__name__}: {error}") from error
    guest.check(guest.loop.stop())
    stack.wait_state("vm1", "connecting", 30)
    stack.wait_clean(guest.descriptors)
    wait_for(lambda: free_hugepages() == hugepages, 10,
             lambda: f"{hugepages} free hugepages: {free_hugepages()}")
    # On hardware under two seconds; each was held to that, by the measure of an emulated guest.
    print(f"{ROUNDS} rounds; vdpa dev del took {statistics.median(guest.deletions):.2f} s as a "
          f"rule, at most {max(guest.deletions):.2f} s")
