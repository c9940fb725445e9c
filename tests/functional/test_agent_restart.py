# SPDX-License-Identifier: Apache-2.0
"""The agent may die at any moment: guests do not notice, and what was begun is finished."""

import contextlib
import os
import signal
import subprocess
from typing import Any, Callable

import pytest

from harness.namespaces import netdevs, program_name
from harness.ovs import CommandFailed, accepts
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import GUEST, direct_stream, running_vm


def _ports(box: Sandbox) -> dict[str, dict[str, Any]]:
    with box.rpc() as client:
        return {port["name"]: port for port in client.call("port.list")["ports"]}


def _drops(box: Sandbox) -> dict[tuple[int, str], int]:
    with box.rpc() as client:
        return {(ring, name): value for ring, counters in client.counters("vm1").items()
                for name, value in counters.items() if name.startswith("drops")}


def _wait_adopted(box: Sandbox) -> None:
    """By the agent that runs now: the row may still be saying what the one before has found."""
    wait_for(lambda: box.shown().get("vm1", {}).get("state") == "running", 10,
             "the port to be adopted")


def test_killed_under_traffic_loses_nothing_and_adopts(sandbox: Sandbox) -> None:
    guest, _ = running_vm(sandbox)
    before, drops = _ports(sandbox)["vm1"], _drops(sandbox)
    assert drops, "the engine counts no drops"
    stream = direct_stream(sandbox, guest)
    sandbox.agent.kill()
    sandbox.start_agent()
    _wait_adopted(sandbox)
    result = stream.stop()
    assert result.lost == [] and result.received > 0, result
    after = _ports(sandbox)["vm1"]
    assert after["generation"] == before["generation"], "the restarted agent changed the port"
    assert after["connections"] == before["connections"] == 1
    assert _drops(sandbox) == drops


def test_stopped_in_an_orderly_way_leaves_the_guest_served(sandbox: Sandbox) -> None:
    guest, peer = running_vm(sandbox)
    stream = direct_stream(sandbox, guest)
    sandbox.agentctl("exit")
    assert sandbox.agent.wait() == 0
    peer.ping(GUEST, 3)
    sandbox.start_agent()
    _wait_adopted(sandbox)
    result = stream.stop()
    assert result.lost == [], result


def test_row_deleted_while_it_was_dead(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    sandbox.agent.kill()
    sandbox.del_port("vm1")
    sandbox.start_agent()
    wait_for(lambda: not path.exists() and "vm1" not in netdevs(), 10, "the port to go away")
    assert _ports(sandbox) == {}


def test_row_changed_while_it_was_dead(sandbox: Sandbox) -> None:
    first, second = sandbox.add_port("vm1"), sandbox.socket_path("other")
    sandbox.agent.kill()
    sandbox.set_option("vm1", vdpa_socket=str(second), vdpa_max_queues=2)
    sandbox.start_agent()
    sandbox.wait_status("vm1", served_socket=str(second), state="listening")
    assert accepts(second) and not first.exists()
    assert _ports(sandbox)["vm1"]["served"]["max_queues"] == 2


def test_row_added_while_it_was_dead(sandbox: Sandbox) -> None:
    sandbox.agent.kill()
    path = sandbox.add_port("vm1", wait=None)
    sandbox.start_agent()
    sandbox.wait_state("vm1", "listening")
    assert accepts(path)


def test_bridge_deleted_while_it_was_dead(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    sandbox.agent.kill()
    sandbox.vsctl("--no-wait", "del-br", "br0")
    sandbox.start_agent()
    wait_for(lambda: not path.exists() and "vm1" not in netdevs(), 10, "the port to go away")


# Killed between any two acts: strace delivers SIGKILL at the n-th call, in any thread, of a system
# call that changes something outside of the process, for each n until the agent gets through.
_ACTS = ("ioctl", "rename", "sendmsg", "sendto", "write")


def _run_killed_at(box: Sandbox, call: str, number: int, done: Callable[[], bool]) -> bool:
    """Runs the agent under strace; whether it got through to `done()` alive."""
    # LeakSanitizer stops the process with ptrace(2), of which there is only one at a time.
    options = f"{box.env.get('ASAN_OPTIONS', '')}:detect_leaks=0"
    with box.agent.out.open("ab") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
             "-e", f"inject={call}:signal=KILL:when={number}", "--", *box.agent.argv],
            env={**box.env, "ASAN_OPTIONS": options}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=out)
    wait_for(lambda: tracer.poll() is not None or done(), 30, f"the end of {call} {number}")
    survived = tracer.poll() is None
    for pid in box.namespaces.processes():
        if program_name(pid) == "ovs-vdpa-agent":
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    tracer.wait(10)
    return survived


@pytest.mark.parametrize("call", _ACTS)
@pytest.mark.parametrize("deed", ["provisioning", "release"])
def test_killed_between_any_two_acts(sandbox: Sandbox, deed: str, call: str) -> None:
    path = sandbox.socket_path("vm1")

    def provisioned() -> bool:
        return sandbox.status("vm1").get("state") == "listening" and accepts(path)

    def released() -> bool:
        return not path.exists() and "vm1" not in netdevs() and not _ports(sandbox)

    for number in range(1, 200):
        if deed == "release":
            sandbox.add_port("vm1")
        sandbox.agent.kill()
        if deed == "release":
            sandbox.del_port("vm1")
        else:
            sandbox.add_port("vm1", wait=None)
        survived = _run_killed_at(sandbox, call, number,
                                  released if deed == "release" else provisioned)
        sandbox.start_agent()
        if deed == "provisioning":
            wait_for(provisioned, 15, f"the port to be finished after a kill at {call} {number}")
            sandbox.del_port("vm1")
        wait_for(released, 15, f"the port to be undone after a kill at {call} {number}")
        if survived:
            assert number > 1, f"the agent makes no call of {call}"
            return
    raise AssertionError("the agent never got through")


def test_second_agent_waits_and_says_so(sandbox: Sandbox) -> None:
    sandbox.expect_log("lock")
    sandbox.add_port("vm1")
    second, control = sandbox.second_agent()

    def waits() -> bool:
        with contextlib.suppress(CommandFailed):
            return "lock" in sandbox.ovs.appctl("connection-status", target=control)
        return False
    second.start(waits)
    sandbox.agent.stop()
    sandbox.add_port("vm2")
    second.stop()
    sandbox.start_agent()
