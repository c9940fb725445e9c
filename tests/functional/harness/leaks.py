# SPDX-License-Identifier: Apache-2.0
"""The orderly end of a test, and what may not remain after it: processes, netdevs, namespaces,
sockets, and undeclared warnings."""

import contextlib
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from . import logs, namespaces, sanitizers
from .wait import wait_for

if TYPE_CHECKING:
    from .sandbox import Sandbox

EXPECTED = Path(__file__).resolve().parents[1] / "expected-log-lines.txt"
# Made by the kernel in every network namespace, where the modules are loaded.
STANDING_NETDEVS = re.compile(r"lo|(sit|gre|gretap|erspan|tunl|ip6tnl|ip6gre|ip_vti|ip6_vti)0")


class LeftBehind(AssertionError):
    """Something was left behind, or a log holds what it should not."""


def finish(box: "Sandbox", expected: list[re.Pattern[str]]) -> None:
    """Removes all ports, stops the daemons, and checks. `expected` are patterns of log lines that
    the test declared. LeftBehind lists all that is wrong."""
    problems: list[str] = []

    @contextlib.contextmanager
    def collected() -> Iterator[None]:
        try:
            yield
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
            problems.append(str(error))

    with collected():
        _remove_ports(box)
    problems += box.shutdown()
    for check in (_check_processes, _check_netdevs, _check_files):
        with collected():
            check(box)
    with collected():
        _check_logs(box, expected)
    if problems:
        raise LeftBehind("\n".join(problems))


def _remove_ports(box: "Sandbox") -> None:
    """Deletes the bridges, and waits until agent and engine have nothing any more."""
    for guest in box.guests:
        guest.kill()
    for peer in box.peers.values():
        box.vsctl("--if-exists", "del-port", peer.netdev)
        peer.close()
    if not box.ovs.server.running:
        return
    for bridge in box.vsctl("list-br").split():
        box.vsctl("--no-wait", "del-br", bridge)
    if box.agent.running and box.engine.running:
        wait_for(lambda: not box.shown(), 15,
                 lambda: f"vdpa/show to have no port:\n{box.agentctl('vdpa/show')}")
        with box.rpc() as client:
            wait_for(lambda: not client.call("port.list")["ports"], 15,
                     lambda: f"the engine to have no port, it has {client.call('port.list')}")


def _check_processes(box: "Sandbox") -> None:
    def remaining() -> list[int]:
        pids = box.namespaces.processes()
        namespaces.reap_orphans(pids)
        return [pid for pid in pids if os.path.exists(f"/proc/{pid}/exe")]
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not remaining(), 5, "processes to end")
    left = [namespaces.describe_process(pid) for pid in remaining()]
    assert not left, f"processes left behind: {', '.join(left)}"


def _check_netdevs(box: "Sandbox") -> None:
    # The calling thread is in its network namespace.
    left = [name for name in namespaces.netdevs()
            if not STANDING_NETDEVS.fullmatch(name) and not box.may_stay(name)]
    assert not left, f"netdevs left behind: {', '.join(left)}"
    names = os.listdir("/run/netns")
    assert not names, f"network namespaces left behind: {', '.join(names)}"


def _check_files(box: "Sandbox") -> None:
    """Sockets, pidfiles, and the private folders in which sockets are made."""
    # A control socket has the number of its process in its name: a killed one's stays.
    excused = tuple(f"{daemon.name}." for daemon in box.daemons() if daemon.was_killed)
    left = []
    for path in box.folder.rglob("*"):
        # What belongs to guests and front-ends, which were killed.
        part = path.relative_to(box.folder).parts[0]
        if part in ("uml", "uml-root") or part.endswith(".dpdk") or (
                path.suffix == ".ctl" and path.name.startswith(excused)):
            continue
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode) or path.suffix == ".pid" or (
                    path.name.startswith(".") and path.name.endswith(".vdpa")):
                left.append(str(path))
    assert not left, f"files left behind: {', '.join(left)}"


def _check_logs(box: "Sandbox", expected: list[re.Pattern[str]]) -> None:
    foreign = [pattern for path in (EXPECTED, *box.further_expectations)
               for pattern in logs.read_expectations(path)]
    problems = []
    for daemon in box.daemons():
        ours = daemon not in (box.ovs.vswitchd, box.ovs.server)
        problems += [f"{daemon.name}: {line}" for line in daemon.unexpected_lines(
            expected if ours else foreign + expected)]
    problems += sanitizers.reports(box.logdir)
    assert not problems, "unexpected lines in logs:\n" + "\n".join(problems)
