# SPDX-License-Identifier: Apache-2.0
"""The host's account database may stand still; the agent does not."""

import pytest

from harness.name_service import SLOW, SlowNameService
from harness.ovs import accepts
from harness.sandbox import Sandbox
from harness.wait import wait_for


@pytest.fixture
def service(sandbox: Sandbox) -> SlowNameService:
    return SlowNameService(sandbox)


def _waits(box: Sandbox, name: str) -> None:
    box.wait_status(name, state="waiting", reason="owner-unresolved")


def test_a_port_waits_for_its_owner_and_then_has_it(
        sandbox: Sandbox, service: SlowNameService) -> None:
    path = sandbox.add_port("vm1", vdpa_socket_owner=SLOW, wait=None)
    _waits(sandbox, "vm1")
    assert not path.exists()
    service.answer(65534)
    sandbox.wait_state("vm1", "listening")
    assert path.stat().st_uid == 65534


def test_other_ports_do_not_wait_for_an_owner_that_is_not_told(
        sandbox: Sandbox, service: SlowNameService) -> None:
    del service
    sandbox.add_port("vm1", vdpa_socket_owner=SLOW, wait=None)
    _waits(sandbox, "vm1")
    sandbox.add_port("vm2", vdpa_socket_owner="nobody:daemon")
    assert sandbox.shown()["vm2"]["state"] == "listening"


def test_a_served_port_goes_on_until_its_new_owner_is_told(
        sandbox: Sandbox, service: SlowNameService) -> None:
    path = sandbox.add_port("vm1")
    sandbox.set_option("vm1", vdpa_socket_owner=SLOW)
    sandbox.wait_status("vm1", state="listening", reason="owner-unresolved")
    assert accepts(path)
    service.answer(65534)
    wait_for(lambda: path.exists() and path.stat().st_uid == 65534, 10, "the new owner")
    wait_for(lambda: sandbox.status("vm1").get("reason") != "owner-unresolved", 10,
             "the owner to be taken for known")


def test_the_agent_ends_without_waiting_for_the_name_service(
        sandbox: Sandbox, service: SlowNameService) -> None:
    del service
    sandbox.add_port("vm1", vdpa_socket_owner=SLOW, wait=None)
    _waits(sandbox, "vm1")
    sandbox.agent.stop()
