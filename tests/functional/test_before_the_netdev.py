# SPDX-License-Identifier: Apache-2.0
"""The socket of a new emulated VF is served before its netdev is there. Whatever happens meanwhile,
the port comes about; a front-end that has connected stays unless something has to be made anew."""

import contextlib
import signal
from typing import Any, Iterator

from harness.front_end import TRANSMIT, FrontEnd
from harness.held_daemon import held_at_ioctl, wait_held
from harness.namespaces import netdevs
from harness.ovs import accepts
from harness.rpc_proxy import RpcProxy
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import ENGINE_LOST, virtio_user

TUN = "/dev/net/tun"


def _port(box: Sandbox) -> dict[str, Any]:
    """vm1 as the engine has it."""
    with box.rpc() as client:
        ports = {port["name"]: port for port in client.call("port.list")["ports"]}
        return ports.get("vm1", {})


def _is_ahead(box: Sandbox) -> bool:
    return bool(_port(box).get("served", {}).get("netdev_awaited"))


def _is_in_switch(box: Sandbox) -> bool:
    return box.interface("vm1", "ofport")["ofport"] not in ([], -1)


def _has_carrier(box: Sandbox) -> bool:
    return "LOWER_UP" in box.ip("link", "show", "vm1")


@contextlib.contextmanager
def _netdev_in_the_making(box: Sandbox, **options: str) -> Iterator[str]:
    """A new port vm1 whose socket is served. Its netdev has a name that says so, which is yielded,
    and is finished at the end."""
    box.add_port("vm0")  # so that the agent has its engine
    with held_at_ioctl(box.agent, TUN):
        box.add_port("vm1", wait=None, **options)
        wait_held(box.agent)
        wait_for(lambda: _is_ahead(box), 10, lambda: f"the socket to be served: {_port(box)}")
        (unfinished,) = [name for name in netdevs() if name.startswith("ovda")]
        yield unfinished


def _runs_with_its_netdev(box: Sandbox, guest: FrontEnd) -> None:
    """The front-end, the first that has connected to the port, is served by it."""
    box.wait_state("vm1", "running")
    wait_for(lambda: _has_carrier(box), 10, "vm1 to have a carrier")
    assert _port(box)["connections"] == 1
    before = guest.used(TRANSMIT)
    guest.transmit(bytes(64))
    wait_for(lambda: guest.used(TRANSMIT) > before, 10, "a frame to be taken")


def test_front_end_that_connects_meanwhile_is_served(sandbox: Sandbox) -> None:
    with contextlib.ExitStack() as stack:
        with _netdev_in_the_making(sandbox):
            guest = stack.enter_context(FrontEnd(sandbox.socket_path("vm1"))).set_up()
            wait_for(lambda: _port(sandbox)["state"] == "connected", 10, "it to be connected")
        _runs_with_its_netdev(sandbox, guest)
        wait_for(lambda: _is_in_switch(sandbox), 10, "ovs-vswitchd to take the port")


def test_front_end_that_the_engine_connects_to_meanwhile_is_served(sandbox: Sandbox) -> None:
    with _netdev_in_the_making(sandbox, vdpa_socket_mode="client"):
        # Which is ready to be used once the engine has connected.
        front_end = virtio_user(sandbox, "vm1", sandbox.socket_path("vm1"), listen=True)
    front_end.start()
    sandbox.wait_state("vm1", "running")
    assert _port(sandbox)["connections"] == 1


def test_netdev_in_the_making_deleted_by_hand_is_made_anew(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|WARN\|vm1: failed \(tap-failed\): netdev vm1 was deleted meanwhile")
    with _netdev_in_the_making(sandbox) as name:
        sandbox.ip("link", "delete", name)
    sandbox.wait_state("vm1", "listening")
    with FrontEnd(sandbox.socket_path("vm1")) as guest:
        _runs_with_its_netdev(sandbox, guest.set_up())


def test_netdev_deleted_while_the_engine_opens_it_is_made_and_opened_anew(
        sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|port\(control\)\|WARN\|vm1: the netdev was deleted and is made again; ")
    sandbox.expect_log(r"\|WARN\|(port )?vm1: .*TAP netdev vm1: .*the netdev was deleted")
    sandbox.add_port("vm0")
    with held_at_ioctl(sandbox.engine, TUN):
        sandbox.add_port("vm1", wait=None)
        wait_held(sandbox.engine)
        sandbox.ip("link", "delete", "vm1")
        wait_for(lambda: "vm1" in netdevs(), 10, "the netdev to be made again")
    sandbox.wait_state("vm1", "listening")
    with FrontEnd(sandbox.socket_path("vm1")) as guest:
        _runs_with_its_netdev(sandbox, guest.set_up())


def test_more_queues_asked_for_meanwhile_are_offered_and_the_row_says_what_it_takes(
        sandbox: Sandbox) -> None:
    with _netdev_in_the_making(sandbox):
        sandbox.set_option("vm1", vdpa_max_queues=4)
    status = sandbox.wait_status("vm1", state="listening", reason="offloads-withheld",
                                 queues="0/4")
    assert "netdev vm1 was made for one queue pair" in status["detail"], status


def test_row_deleted_meanwhile_leaves_nothing(sandbox: Sandbox) -> None:
    with _netdev_in_the_making(sandbox) as name:
        sandbox.del_port("vm1")
    path = sandbox.socket_path("vm1")
    wait_for(lambda: not path.exists() and not {"vm1", name} & set(netdevs()), 10,
             "the port to go away")
    wait_for(lambda: not _port(sandbox), 10, "the engine to have no port")


def test_engine_that_dies_meanwhile_costs_the_switch_nothing(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    with _netdev_in_the_making(sandbox):
        sandbox.engine.kill()
    sandbox.wait_status("vm1", state="waiting", reason="engine-down")
    wait_for(lambda: _is_in_switch(sandbox), 10, "ovs-vswitchd to take the port")
    sandbox.start_engine()
    sandbox.wait_state("vm1", "listening")
    assert accepts(sandbox.socket_path("vm1"))


def test_busy_engine_does_not_keep_the_netdev_from_the_switch(sandbox: Sandbox) -> None:
    sandbox.add_port("vm0")
    sandbox.engine.signal(signal.SIGSTOP)
    try:
        path = sandbox.add_port("vm1", wait=None)
        # Less than what an agent takes to give up an engine.
        wait_for(lambda: _is_in_switch(sandbox), 5, "ovs-vswitchd to take the port")
    finally:
        sandbox.engine.signal(signal.SIGCONT)
    sandbox.wait_state("vm1", "listening")
    assert accepts(path)


def test_answer_that_is_lost_with_the_connection_costs_no_front_end(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    folder = sandbox.folder / "proxy"
    folder.mkdir()
    path = folder / sandbox.engine_socket.name
    with contextlib.closing(RpcProxy(path, sandbox.engine_socket)) as proxy:
        sandbox.agent.stop()
        sandbox.agent.argv = [word.replace(str(sandbox.engine_socket), str(path))
                              for word in sandbox.agent.argv]
        sandbox.start_agent()
        sandbox.add_port("vm0")
        proxy.withhold_answers()
        sandbox.add_port("vm1", wait=None)
        wait_for(lambda: _is_ahead(sandbox) and _is_in_switch(sandbox), 5,
                 "socket and netdev to be there")
        with FrontEnd(sandbox.socket_path("vm1")) as guest:
            guest.set_up()
            wait_for(lambda: _port(sandbox)["state"] == "connected", 10, "it to be connected")
            proxy.cut()
            _runs_with_its_netdev(sandbox, guest)
