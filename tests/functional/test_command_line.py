# SPDX-License-Identifier: Apache-2.0
"""The daemons as their service manager and their operators start them."""

import os
import signal
import socket
from pathlib import Path

import pytest

from harness.ovs import accepts
from harness.sandbox import Sandbox
from harness.wait import wait_for


class NotifySocket:
    """Plays the service manager's end of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.path = path
        self.seen: list[str] = []

    def has(self, assignment: str) -> bool:
        self._socket.setblocking(False)
        while True:
            try:
                self.seen += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return assignment in self.seen

    def close(self) -> None:
        self._socket.close()
        self.path.unlink()


@pytest.mark.parametrize("name", ["engine", "agent"])
def test_service_manager_is_told_of_readiness_and_of_the_end(sandbox: Sandbox, name: str) -> None:
    daemon = getattr(sandbox, name)
    daemon.stop()
    notify = NotifySocket(sandbox.folder / "notify")
    daemon.env["NOTIFY_SOCKET"] = str(notify.path)
    if name == "engine":
        sandbox.expect_log(r"\|engine\(control\)\|WARN\|")
    daemon.start(lambda: notify.has("READY=1"))
    if name == "engine":
        assert accepts(sandbox.engine_socket), "ready, but not to be reached"
    else:
        assert sandbox.agentctl("version")
    daemon.stop()
    assert notify.has("STOPPING=1")
    notify.close()
    del daemon.env["NOTIFY_SOCKET"]
    getattr(sandbox, f"start_{name}")()


def test_watchdog_is_fed_in_half_its_time(sandbox: Sandbox) -> None:
    for daemon, start in ((sandbox.agent, sandbox.start_agent),
                          (sandbox.engine, sandbox.start_engine)):
        sandbox.expect_log(r"\|engine\(control\)\|WARN\|")
        daemon.stop()
        notify = NotifySocket(sandbox.folder / "notify")
        daemon.env.update(NOTIFY_SOCKET=str(notify.path), WATCHDOG_USEC="1000000")
        daemon.start(lambda: notify.has("READY=1"))
        wait_for(lambda: notify.has("WATCHDOG=1"), 2, f"{daemon.name} to feed the watchdog")
        notify.close()
        daemon.stop()
        del daemon.env["NOTIFY_SOCKET"], daemon.env["WATCHDOG_USEC"]
        start()


def test_agent_detaches_when_it_is_ready(sandbox: Sandbox) -> None:
    sandbox.agent.stop()
    argv = [*sandbox.agent.argv[:-1], "--detach", "--no-chdir", sandbox.agent.argv[-1]]
    done = sandbox.program(*argv)
    assert done.returncode == 0, done.stderr
    assert sandbox.agentctl("version").startswith("ovs-vdpa-agent")
    sandbox.add_port("vm1")
    sandbox.agentctl("exit")
    pidfile = sandbox.rundir / "ovs-vdpa-agent.pid"
    wait_for(lambda: not pidfile.exists(), 10, "the agent to end")
    sandbox.start_agent()


def test_second_agent_with_the_same_pidfile_does_not_start(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|daemon_unix\|EMER\|\S+: already running as pid \d+, aborting$")
    done = sandbox.program(*sandbox.agent.argv)
    assert done.returncode != 0
    assert sandbox.agentctl("version"), "the first one does not answer any more"


def test_second_engine_on_the_same_socket_does_not_start(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    argv = [word for word in sandbox.engine.argv if not word.startswith("--log-file")]
    done = sandbox.program(*argv)
    assert done.returncode != 0
    assert str(sandbox.engine_socket) in done.stdout + done.stderr
    assert accepts(path) and accepts(sandbox.engine_socket)


@pytest.mark.parametrize("program, option", [
    ("ovs-vdpa-agent", "--help"), ("ovs-vdpa-agent", "-h"), ("ovs-vdpa-agent", "--version"),
    ("ovs-vdpa-agent", "-V"), ("ovs-vdpa-engine", "--help"), ("ovs-vdpa-engine", "--version")])
def test_help_and_version(sandbox: Sandbox, program: str, option: str) -> None:
    done = sandbox.program(program, option)
    assert done.returncode == 0 and program in done.stdout and done.stderr == ""


@pytest.mark.parametrize("program", ["ovs-vdpa-agent", "ovs-vdpa-engine"])
def test_unknown_option_is_refused(sandbox: Sandbox, program: str) -> None:
    done = sandbox.program(program, "--no-such-option")
    assert done.returncode != 0 and "no-such-option" in done.stderr


def test_engine_opens_its_log_anew_at_sighup(sandbox: Sandbox) -> None:
    log = sandbox.engine.log
    old = log.rename(log.with_suffix(".old"))
    os.kill(sandbox.engine.pid, signal.SIGHUP)
    wait_for(log.exists, 10, "a new log file")
    length = old.stat().st_size
    sandbox.add_port("vm1")
    wait_for(lambda: "vm1" in log.read_text(), 10, "lines in the new log file")
    assert old.stat().st_size == length


def test_agent_has_the_usual_commands(sandbox: Sandbox) -> None:
    commands = sandbox.agentctl("list-commands")
    for name in ("connection-status", "exit", "resync", "vdpa/show", "vdpa/stats", "version",
                 "vlog/list", "vlog/reopen", "vlog/set"):
        assert name in commands, name
    path = sandbox.add_port("vm1")
    sandbox.agentctl("resync")
    wait_for(lambda: f"{sandbox.engine_socket}: asked again, 1 ports" in
             sandbox.agent.log.read_text(), 10, "the engine to be asked what it runs")
    assert sandbox.wait_state("vm1", "listening")["served-socket"] == str(path)


def test_show_of_one_port_and_of_none(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1")
    sandbox.add_port("vm2")
    text = sandbox.agentctl("vdpa/show", "vm2")
    assert "vm2" in text and "vm1" not in text
    done = sandbox.program("ovs-appctl", "-t", "ovs-vdpa-agent", "vdpa/show", "nobody")
    assert done.returncode != 0 and "nobody" in done.stderr
