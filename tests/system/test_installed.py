# SPDX-License-Identifier: Apache-2.0
"""Engine and agent as an administrator has them: installed, started by systemd as the users and
with the capabilities that their units give them, beside the distribution's Open vSwitch."""

import os
import pwd
import stat
from pathlib import Path
from typing import Iterator

import pytest

from bed.installed import AGENT, ENGINE, OPEN_VSWITCH, Installed, systemctl
from bed.netdevsim import NetdevsimBus
from bed.vdpa import VdpaDevices
from harness.front_end import RECEIVE, TRANSMIT, FrontEnd
from harness.ovs import accepts
from harness.wait import wait_for
from scenarios import DATABASE_LOST

pytestmark = [pytest.mark.machine("systemd"), pytest.mark.bound(600)]

ENGINE_LOST = r"\|engine\(control\)\|WARN\|.*/run/ovs-vdpa-engine/rpc\.sock: "
FRAME = bytes.fromhex("ffffffffffff" "020000000001" "88b5") + b"an experimental protocol".ljust(50)
# include/uapi/linux/capability.h
CHOWN, DAC_OVERRIDE, FOWNER, NET_ADMIN, NET_RAW = (1 << bit for bit in (0, 1, 3, 12, 13))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installed once: nothing is that a test would have to do again."""
    return Installed(tmp_path_factory.mktemp("installed"))


@pytest.fixture
def installed(machine: Installed) -> Iterator[Installed]:
    yield machine
    machine.clear()  # after a test that failed


def test_daemons_have_the_powers_of_their_units_and_no_more(installed: Installed) -> None:
    engine, agent = installed.process(ENGINE), installed.process(AGENT)
    assert engine.user == pwd.getpwnam("ovs-vdpa").pw_uid
    assert engine.capabilities == CHOWN | DAC_OVERRIDE | FOWNER | NET_RAW
    assert agent.user == 0
    assert agent.capabilities == NET_ADMIN | DAC_OVERRIDE


def received(netdev: str) -> int:
    return int(Path(f"/sys/class/net/{netdev}/statistics/rx_packets").read_text())


def test_emulated_vf_is_served(installed: Installed) -> None:
    path = installed.add_port("vm1", vdpa_socket_owner="nobody:nogroup", vdpa_socket_perms="0620")
    status = path.stat()
    assert pwd.getpwuid(status.st_uid).pw_name == "nobody"
    assert stat.S_IMODE(status.st_mode) == 0o620
    installed.wait_ofport("vm1")
    with FrontEnd(path, bound=60).set_up() as front_end:
        installed.wait_state("vm1", "running", 60)
        before = received("vm1")
        front_end.transmit(FRAME)
        wait_for(lambda: received("vm1") > before, 30, "the netdev to have the frame")
    installed.wait_state("vm1", "listening", 60)
    installed.del_port("vm1")
    wait_for(lambda: not path.exists() and not os.path.exists("/sys/class/net/vm1"), 30,
             "socket and netdev to be gone")


def test_pf_vf_and_vdpa_device_are_provisioned(installed: Installed, netdevsim: NetdevsimBus,
                                               vdpa_sim: VdpaDevices) -> None:
    nic = netdevsim.create()
    installed.vsctl("--no-wait", "set", "Open_vSwitch", ".",
                    f'other_config:vdpa-pfs="{nic.handle},num-vfs=2"')
    path = installed.add_vdpa_port("vm1", vdpa_representor=f"{nic.handle},vf1",
                                   vdpa_accelerator_devargs=f"vdpa:{vdpa_sim.management_device}",
                                   mac="02:00:00:00:00:42", wait="listening")
    assert nic.eswitch_mode == "switchdev" and nic.representor(1) == "vm1"
    assert nic.vf_mac(1) == "02:00:00:00:00:42"
    installed.wait_ofport("vm1")
    with FrontEnd(path, bound=60).set_up() as front_end:
        installed.wait_state("vm1", "running", 60)
        front_end.transmit(FRAME)
        wait_for(lambda: front_end.used(TRANSMIT) == 1 and front_end.used(RECEIVE) == 1, 30,
                 "the frame to be back")
    installed.del_port("vm1")
    wait_for(lambda: not installed.shown(), 30, lambda: f"no port: {installed.shown()}")
    assert vdpa_sim.names() == []


def test_engine_that_dies_is_started_again_and_serves_its_ports(installed: Installed) -> None:
    installed.expect_log(ENGINE_LOST)
    path = installed.add_port("vm1")
    installed.kill(ENGINE)
    installed.wait_status("vm1", 60, state="listening", served_socket=str(path))
    wait_for(lambda: accepts(path), 30, "the socket to be served again")


def test_agent_that_dies_is_started_again_and_no_front_end_notices(installed: Installed) -> None:
    path = installed.add_port("vm1")
    with FrontEnd(path, bound=60).set_up() as front_end:
        installed.wait_state("vm1", "running", 60)
        installed.kill(AGENT)
        other = installed.add_port("vm2")
        assert accepts(other)
        assert installed.shown()["vm1"]["connections"] == 1
        before = received("vm1")
        front_end.transmit(FRAME)
        wait_for(lambda: received("vm1") > before, 30, "the netdev to have the frame")


def test_restart_of_open_vswitch_restarts_neither(installed: Installed) -> None:
    installed.expect_log(DATABASE_LOST)
    path = installed.add_port("vm1")
    installed.wait_ofport("vm1")
    before = installed.process(ENGINE).pid, installed.process(AGENT).pid
    systemctl("restart", OPEN_VSWITCH)
    other = installed.add_port("vm2")
    assert accepts(path) and accepts(other)
    installed.wait_ofport("vm2")
    assert (installed.process(ENGINE).pid, installed.process(AGENT).pid) == before


def test_engine_that_is_stopped_leaves_no_socket_and_the_row_says_so(installed: Installed) -> None:
    installed.expect_log(ENGINE_LOST)
    path = installed.add_port("vm1")
    systemctl("stop", ENGINE)
    status = installed.wait_state("vm1", "waiting", 60)
    assert status["reason"] == "engine-down" and ENGINE in status["detail"], status
    assert not path.exists()
    systemctl("start", ENGINE)
    installed.wait_status("vm1", 60, state="listening", served_socket=str(path))
