# SPDX-License-Identifier: Apache-2.0
"""Bad configuration is named, never followed, and never cuts a guest that runs."""

import socket
from pathlib import Path
from typing import NamedTuple

import pytest

from harness.logs import Mark
from harness.ovs import accepts
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import direct_stream, running_vm


class Bad(NamedTuple):
    key: str
    value: str  # {run} stands for the run directory.
    reason: str


VALUES = [
    Bad("vdpa-socket", "run/vm1.sock", "bad-socket-path"),
    Bad("vdpa-socket", "/tmp/" + "x" * 103, "bad-socket-path"),
    Bad("vdpa-socket", "{run}/missing/vm1.sock", "socket-dir-missing"),
    Bad("vdpa-socket", "{run}/file", "socket-path-occupied"),
    Bad("vdpa-socket", "{run}/folder", "socket-path-occupied"),
    Bad("vdpa-socket", "{run}/listening", "socket-in-use"),
    Bad("vdpa-socket-mode", "both", "bad-socket-mode"),
    Bad("vdpa-socket-owner", "nobody-of-this-name", "bad-socket-owner"),
    Bad("vdpa-socket-owner", "root:group-of-no-name", "bad-socket-owner"),
    Bad("vdpa-socket-perms", "0888", "bad-socket-perms"),
    Bad("vdpa-socket-perms", "10777", "bad-socket-perms"),
    Bad("vdpa-max-queues", "0", "bad-max-queues"),
    Bad("vdpa-max-queues", "129", "bad-max-queues"),
    Bad("vdpa-max-queues", "abc", "bad-max-queues"),
    Bad("vdpa-packed", "maybe", "bad-boolean"),
    Bad("vdpa-sw", "yes please", "bad-boolean"),
]


@pytest.fixture(autouse=True)
def _rows_are_named_in_the_logs(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|WARN\|(vm[12ab]?|a-name-past-15-bytes): ")


def _name(bad: Bad) -> str:
    return f"{bad.key}={bad.value[:24]}"


class Obstacles:
    """What stands in the way at the paths of VALUES. Nobody may remove it."""

    def __init__(self, box: Sandbox) -> None:
        self.file = box.rundir / "file"
        self.file.write_text("precious")
        self.folder = box.rundir / "folder"
        self.folder.mkdir()
        self.path = box.rundir / "listening"
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(self.path))
        self.listener.listen(64)

    def check_and_remove(self) -> None:
        assert self.file.read_text() == "precious"
        assert self.folder.is_dir()
        assert accepts(self.path), "the foreign socket is not there any more"
        self.listener.close()
        self.path.unlink()


def _set(box: Sandbox, bad: Bad) -> str:
    value = bad.value.format(run=box.rundir)
    box.vsctl("--no-wait", "set", "Interface", "vm1", f'options:{bad.key}="{value}"')
    return value


def _put_right(box: Sandbox, bad: Bad, path: Path) -> None:
    right = {"vdpa-socket": str(path), "vdpa-sw": "true"}.get(bad.key)
    if right:
        box.vsctl("--no-wait", "set", "Interface", "vm1", f'options:{bad.key}="{right}"')
    else:
        box.vsctl("--no-wait", "remove", "Interface", "vm1", "options", bad.key)


@pytest.mark.parametrize("bad", VALUES, ids=_name)
def test_new_row_is_invalid_until_put_right(sandbox: Sandbox, bad: Bad) -> None:
    obstacles = Obstacles(sandbox)
    path = sandbox.socket_path("vm1")
    sandbox.vsctl("--no-wait", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
                  f'options:vdpa-socket="{path}"', "options:vdpa-sw=true", "--", "set", "Interface",
                  "vm1", f'options:{bad.key}="{bad.value.format(run=sandbox.rundir)}"')
    status = sandbox.wait_state("vm1", "invalid")
    assert status["reason"] == bad.reason, status
    value = bad.value.format(run=sandbox.rundir)
    assert bad.key in status["detail"] or value in status["detail"], status
    assert "served-socket" not in status
    obstacles.check_and_remove()
    _put_right(sandbox, bad, path)
    # By path: once the foreign listener has gone, its path is served until the row is put right.
    sandbox.wait_status("vm1", state="listening", reason="offloads-withheld",
                        served_socket=str(path))
    assert accepts(path)


def test_no_edit_of_a_served_row_cuts_the_guest(sandbox: Sandbox) -> None:
    obstacles = Obstacles(sandbox)
    guest, _ = running_vm(sandbox)
    path = sandbox.socket_path("vm1")
    stream = direct_stream(sandbox, guest)
    for bad in VALUES:
        value = _set(sandbox, bad)
        status = sandbox.wait_status("vm1", reason="config-rejected")
        assert status["state"] == "running", (bad, status)
        assert status["served-socket"] == str(path), (bad, status)
        assert bad.key in status["detail"] and value in status["detail"], (bad, status)
        _put_right(sandbox, bad, path)
        sandbox.wait_status("vm1", state="running", reason="offloads-withheld")
    obstacles.check_and_remove()
    result = stream.stop()
    assert result.lost == [], result
    with sandbox.rpc() as client:
        assert client.call("port.list")["ports"][0]["connections"] == 1
    assert guest.alive()


def test_options_and_external_ids_that_disagree(sandbox: Sandbox) -> None:
    path = sandbox.add_port("vm1")
    sandbox.vsctl("--no-wait", "del-port", "vm1", "--", "add-port", "br0", "vm2", "--", "set",
                  "Interface", "vm2", f'options:vdpa-socket="{path}"', "options:vdpa-sw=true",
                  f'external_ids:vdpa-socket="{path}.other"')
    status = sandbox.wait_state("vm2", "invalid")
    assert status["reason"] == "conflicting-keys" and "vdpa-socket" in status["detail"], status
    sandbox.vsctl("--no-wait", "remove", "Interface", "vm2", "external_ids", "vdpa-socket")
    sandbox.wait_state("vm2", "listening")


def test_external_ids_serve_as_well_as_options(sandbox: Sandbox) -> None:
    path = sandbox.socket_path("vm1")
    sandbox.vsctl("--no-wait", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
                  f'external_ids:vdpa-socket="{path}"', "external_ids:vdpa-sw=true")
    sandbox.wait_state("vm1", "listening")
    assert accepts(path)


def _duplicates(box: Sandbox, winner: str, loser: str) -> None:
    lost = box.wait_status(loser, state="invalid", reason="duplicate-socket")
    assert winner in lost["detail"], lost
    won = box.wait_state(winner, "listening")
    assert won["served-socket"] == str(box.socket_path("same")), won


def test_two_new_rows_with_one_socket_the_smaller_name_wins(sandbox: Sandbox) -> None:
    path = sandbox.socket_path("same")
    words: list[str] = ["--no-wait"]
    for name in ("vmb", "vma"):
        words += ["--", "add-port", "br0", name, "--", "set", "Interface", name,
                  f'options:vdpa-socket="{path}"', "options:vdpa-sw=true"]
    sandbox.vsctl(*words)
    _duplicates(sandbox, "vma", "vmb")
    sandbox.del_port("vma")
    sandbox.wait_state("vmb", "listening")
    assert accepts(path)


def test_the_row_that_is_served_wins_also_after_both_daemons_restarted(sandbox: Sandbox) -> None:
    path = sandbox.socket_path("same")
    sandbox.add_port("vmb", socket=path)
    sandbox.add_port("vma", socket=path, wait="invalid")
    _duplicates(sandbox, "vmb", "vma")
    sandbox.agent.kill()
    sandbox.engine.kill()
    sandbox.start_engine()
    sandbox.start_agent()
    wait_for(lambda: accepts(path), 10, "the socket to be served again")
    # The rows may still be saying what the agent before has found.
    wait_for(lambda: sandbox.shown().get("vmb", {}).get("state") == "listening"
             and sandbox.shown().get("vma", {}).get("state") == "invalid", 10,
             lambda: f"the same one to win: {sandbox.shown()}")
    _duplicates(sandbox, "vmb", "vma")


def test_foreign_netdev_of_the_name_is_never_touched(sandbox: Sandbox) -> None:
    sandbox.ip("tuntap", "add", "vm1", "mode", "tap")
    before = sandbox.ip("-o", "link", "show", "vm1").split("state")[0]
    sandbox.add_port("vm1", wait="invalid")
    status = sandbox.status("vm1")
    assert status["reason"] == "name-taken" and "vm1" in status["detail"], status
    sandbox.del_port("vm1")
    wait_for(lambda: not sandbox.shown(), 10, "vdpa/show to have no port")
    after = sandbox.ip("-o", "link", "show", "vm1").split("state")[0]
    assert before.split(":")[0] == after.split(":")[0], "another netdev stands there"
    sandbox.add_port("vm1", wait="invalid")
    sandbox.ip("link", "del", "vm1")
    sandbox.wait_state("vm1", "listening")


def test_unknown_key_is_named_and_stops_nothing(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1", vdpa_sokcet="typo")
    status = sandbox.wait_status("vm1", reason="unknown-key")
    assert "vdpa-sokcet" in status["detail"] and status["state"] == "listening", status


def test_misspelt_socket_key_is_told_by_the_log(sandbox: Sandbox) -> None:
    log = Mark(sandbox.agent.log)
    sandbox.vsctl("--no-wait", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
                  "options:vdpa-sockt=/run/vm1.sock", "options:vdpa-sw=true")
    wait_for(lambda: "vm1: options:vdpa-sockt means nothing" in log.new_text(), 10, "the warning")
    assert not sandbox.status("vm1")


def test_bad_value_for_the_host_is_in_its_row_in_show_and_once_in_the_log(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|WARN\|(bad-pfs|unknown-key): Open_vSwitch other_config:")
    log = Mark(sandbox.agent.log)
    sandbox.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:vdpa-pfs=43:00",
                  "other_config:vdpa-pf=1")
    wait_for(lambda: "unknown-key" in log.new_text(), 10, "both warnings")
    sandbox.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:max-idle=9000")
    sandbox.add_port("vm1")
    told = "bad-pfs: Open_vSwitch other_config:vdpa-pfs=43:00: must be a PCI address"
    assert log.new_text().count(told) == 1 and log.new_text().count("unknown-key: ") == 1
    assert told in sandbox.agentctl("vdpa/show")
    keys = sandbox.vsctl("get", "Open_vSwitch", ".", "external_ids")
    assert "vdpa-host-reason=bad-pfs" in keys, keys


def test_name_too_long_for_a_netdev(sandbox: Sandbox) -> None:
    name = "a-name-past-15-bytes"
    sandbox.add_port(name, wait="invalid")
    status = sandbox.status(name)
    assert status["reason"] == "bad-name" and name in status["detail"], status


def test_device_is_needed_without_vdpa_sw(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1", wait="invalid", vdpa_sw="false")
    status = sandbox.status("vm1")
    assert status["reason"] == "no-device" and "vdpa-sw" in status["detail"], status


def test_sockets_can_be_confined_to_folders(sandbox: Sandbox) -> None:
    allowed = sandbox.rundir / "allowed"
    allowed.mkdir()
    sandbox.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                  f'other_config:vdpa-sock-dirs="{allowed}"')
    sandbox.add_port("vm1", wait="invalid")
    assert sandbox.status("vm1")["reason"] == "socket-dir-forbidden"
    sandbox.set_option("vm1", vdpa_socket=f"{allowed}/../vm2.sock")
    wait_for(lambda: "vm2.sock" in sandbox.status("vm1").get("detail", ""), 10, "a new detail")
    assert sandbox.status("vm1")["state"] == "invalid"
    assert not sandbox.socket_path("vm2").exists()
    sandbox.set_option("vm1", vdpa_socket=str(allowed / "vm1.sock"))
    sandbox.wait_state("vm1", "listening")
