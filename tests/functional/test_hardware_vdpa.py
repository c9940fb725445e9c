# SPDX-License-Identifier: Apache-2.0
"""Ports on DPDK's vDPA devices. A device in software, which the engine loads as it would load a
NIC's driver, stands for the NIC; the tests speak to the engine itself."""

from typing import Any, Iterator

import pytest

from harness import raw_front_end
from harness.engine_ports import EnginePorts
from harness.raw_front_end import RawFrontEnd
from harness.sandbox import Sandbox
from harness.testpmd import Testpmd
from harness.wait import wait_for
from scenarios import virtio_user

DEVICE_TROUBLE = r"\|(vdpa|ports|dpdk)\|(WARN|ERR)\|"


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(agent=False) as made:
        yield made


@pytest.fixture
def ports(box: Sandbox) -> Iterator[EnginePorts]:
    made = EnginePorts(box)
    yield made
    made.close()


def _loop(ports: EnginePorts, name: str = "vm1", **settings: Any) -> Testpmd:
    """A front-end whose frames go round and round: it sends back what comes back."""
    loop = virtio_user(ports.box, name, ports.box.socket_path(name), forward="io", **settings)
    loop.command("start tx_first")
    return loop


def _wait_more(loop: Testpmd, more: int = 1000) -> None:
    """Waits until so many more frames have come back."""
    before = loop.statistics()["RX-packets"]
    wait_for(lambda: loop.statistics()["RX-packets"] >= before + more, 30,
             lambda: f"{more} more frames than {before}\n{loop.describe()}")


@pytest.mark.parametrize("packed", [False, True], ids=["split", "packed"])
def test_frames_pass_and_the_device_goes_with_its_port(box: Sandbox, ports: EnginePorts,
                                                       packed: bool) -> None:
    listening = ports.apply()
    assert listening["state"] == "listening" and listening["device_queues"] == 2
    assert "ring_packed" in listening["offered"] and listening["withheld"] == [
        "mac", "status", "mq", "order_platform"]
    loop = _loop(ports, packed=packed)
    running = ports.wait(state="running", queues=1)
    assert running["doorbell"] == "eventfd" and ("ring_packed" in running["features"]) == packed
    _wait_more(loop)
    calls = ports.devices.calls()
    assert calls[0] == "probe vdpa_test0" and calls.count("dev_conf") == 1
    ports.remove()
    assert ports.devices.calls() == ["dev_close", "dev_cleanup", "remove vdpa_test0"]
    assert not box.socket_path("vm1").exists()


def test_front_ends_come_and_go(box: Sandbox, ports: EnginePorts) -> None:
    ports.apply()
    offered = ports.status()["offered"]
    for number in range(1, 4):
        loop = _loop(ports)
        port = ports.wait(state="running", connections=number)
        assert port["offered"] == offered
        _wait_more(loop)
        loop.kill()
        port = ports.wait(state="listening", queues=0)
        assert port["features"] == [] and "doorbell" not in port
    calls = ports.devices.calls()
    assert calls.count("dev_conf") == calls.count("dev_close") == 3
    assert calls.count("probe vdpa_test0") == 1, "the device stays plugged"


def test_four_of_sixteen_pairs(box: Sandbox, ports: EnginePorts) -> None:
    ports.apply(device=ports.devices.spec(move=1, queues=16), max_queues=4)
    loop = _loop(ports, queues=4)
    port = ports.wait(state="running", queues=4)
    assert port["device_queues"] == 16 and "reason" not in port
    _wait_more(loop)


def test_fewer_pairs_than_asked_for_are_said_so(box: Sandbox, ports: EnginePorts) -> None:
    port = ports.apply(max_queues=8)
    assert port["reason"] == "fewer-queues" and port["device_queues"] == 2
    with RawFrontEnd(box.socket_path("vm1")) as guest:
        assert guest.ask(raw_front_end.GET_QUEUE_NUM) == 2


def test_a_device_that_cannot_be_configured_is_tried_again(box: Sandbox, ports: EnginePorts) -> None:
    box.expect_log(DEVICE_TROUBLE)
    ports.apply()
    ports.devices.fail("dev_conf", 3, -5)
    with RawFrontEnd(box.socket_path("vm1")) as guest:
        guest.start()
        port = ports.wait(state="connected", reason="device-failed")
        assert "vdpa_test0 could not configure it (-5)" in port["detail"]
        # Without a word of the front-end.
        port = ports.wait(state="running", queues=1)
        assert "reason" not in port and port["connections"] == 1
        # And at once when somebody asks.
        guest.send_state(raw_front_end.GET_VRING_BASE, 0, 0)
        guest.reply()
        ports.wait(state="connected", queues=0)


def test_applying_it_again_tries_at_once(box: Sandbox, ports: EnginePorts) -> None:
    box.expect_log(DEVICE_TROUBLE)
    ports.apply()
    ports.devices.fail("dev_conf", 1000, -5)
    with RawFrontEnd(box.socket_path("vm1")) as guest:
        guest.start()
        ports.wait(state="connected", reason="device-failed")
        ports.devices.calls()
        ports.apply()
        wait_for(lambda: "dev_conf" in ports.devices.calls(), 10, "another attempt")
        ports.devices.fail("dev_conf", 1, 0)
        ports.apply()
        ports.wait(state="running")


@pytest.mark.parametrize("step, result, reason", [
    ("probe", -16, "device-busy"), ("probe", -5, "device-failed"),
    ("get_queue_num", -1, "device-failed"), ("get_features", -1, "device-failed"),
    ("get_protocol_features", -1, "device-failed")])
def test_a_device_that_cannot_be_opened_is_tried_again(box: Sandbox, ports: EnginePorts, step: str,
                                                       result: int, reason: str) -> None:
    box.expect_log(DEVICE_TROUBLE)
    # So that there is a control socket before.
    ports.apply("vm0", ports.devices.spec("vdpa_test9"))
    ports.devices.fail(step, 1, result)
    port = ports.apply()
    assert port["state"] == "failed" and port["reason"] == reason, port
    assert "vdpa_test0" in port["detail"] and not box.socket_path("vm1").exists()
    # By itself: no agent need be there.
    ports.wait(state="listening")
    loop = _loop(ports)
    _wait_more(loop)


def test_a_device_that_goes_is_taken_again_when_it_is_back(box: Sandbox, ports: EnginePorts) -> None:
    box.expect_log(DEVICE_TROUBLE)
    ports.apply()
    ports.apply("vm2", ports.devices.spec("vdpa_test2", move=1))
    loop, other = _loop(ports), _loop(ports, "vm2")
    ports.wait(state="running")
    ports.wait("vm2", state="running")
    ports.devices.calls()
    ports.devices.remove()
    port = ports.wait(state="failed", reason="device-missing")
    assert "vdpa_test0 has gone" in port["detail"]
    calls = ports.devices.calls()
    assert calls[:3] == ["dev_close", "dev_cleanup", "remove vdpa_test0"], calls
    loop.kill()
    # It is looked for all the time; the other port does not notice.
    wait_for(lambda: "probe vdpa_test0" in ports.devices.calls(), 20, "it to be looked for")
    _wait_more(other)
    ports.devices.bring_back()
    ports.wait(state="listening")
    _wait_more(_loop(ports))
    _wait_more(other)
    assert ports.status("vm2")["connections"] == 1


def test_what_nobody_has_is_missing(box: Sandbox, ports: EnginePorts) -> None:
    box.expect_log(DEVICE_TROUBLE)
    for device, reason in (("0000:7f:1f.7", "device-missing"),
                           ("auxiliary:mlx5_core.sf.99", "device-missing"),
                           ("../../etc/passwd", "bad-device"), ("vdpa_nonesuch", "device-failed")):
        port = ports.apply(device=device)
        assert port["state"] == "failed" and port["reason"] == reason, port
        assert device.rsplit(":", 1)[-1] in port["detail"] or device in port["detail"]
        ports.remove()


def test_two_ports_that_want_one_device_and_trade_theirs(box: Sandbox, ports: EnginePorts) -> None:
    first, second = ports.devices.spec(move=1), ports.devices.spec("vdpa_test1", move=1)
    ports.apply("vm1", first)
    port = ports.apply("vm2", first)
    assert port["state"] == "failed" and port["reason"] == "duplicate-device"
    assert "vm1" in port["detail"] and "vdpa_test0" in port["detail"]
    ports.apply("vm2", second)
    # Each gets the other's, in whatever order they are told.
    port = ports.apply("vm1", second)
    assert port["reason"] == "duplicate-device" and port["served"]["device"]["name"] == first
    ports.apply("vm2", first)
    for name, device in (("vm1", second), ("vm2", first)):
        wait_for(lambda: ports.status(name).get("served", {}).get("device", {}).get("name")
                 == device, 20, lambda: f"{name} to have {device}: {ports.status(name)}")
    ports.remove("vm1")
    assert "remove vdpa_test1" in ports.devices.calls()


def test_other_arguments_open_the_device_anew(box: Sandbox, ports: EnginePorts) -> None:
    ports.apply(device=ports.devices.spec(queues=2))
    ports.devices.calls()
    port = ports.apply(device=ports.devices.spec(queues=5))
    assert port["state"] == "listening" and port["device_queues"] == 5
    assert ports.devices.calls() == ["remove vdpa_test0", "probe vdpa_test0"]


def test_another_socket_keeps_the_device(box: Sandbox, ports: EnginePorts) -> None:
    ports.apply()
    ports.devices.calls()
    path = box.rundir / "other.sock"
    ports.apply(socket={"path": str(path), "mode": "server"})
    assert path.exists() and not box.socket_path("vm1").exists()
    assert "remove vdpa_test0" not in ports.devices.calls()


def test_engine_as_client(box: Sandbox, ports: EnginePorts) -> None:
    path = box.socket_path("vm1")
    ports.apply(socket={"path": str(path), "mode": "client"})
    ports.wait(state="connecting")
    loop = _loop(ports, listen=True)
    ports.wait(state="running")
    _wait_more(loop)
    loop.quit()
    ports.wait(state="connecting")


@pytest.mark.parametrize("answer", ["names", "einval", "enotsup", "zero", "none"])
def test_statistics_and_their_reset(box: Sandbox, ports: EnginePorts, answer: str) -> None:
    ports.apply(device=ports.devices.spec(stats=answer), max_queues=2)
    with RawFrontEnd(box.socket_path("vm1")) as guest:
        guest.start()
        ports.wait(state="running")
        rings = ports.rpc.counters("vm1")
        assert sorted(rings) == [0, 1, 2, 3]
        names = {"received_descriptors", "completed_descriptors", "bad descriptor errors"}
        assert set(rings[0]) == (set() if answer == "none" else names)
        for ring in (1, 2, 3):
            assert set(rings[ring]) == (names if answer == "names" else set())
        assert rings[0].get("received_descriptors", 1) == 1
        assert ports.rpc.call("port.reset_stats", name="vm1") == {}
        assert ports.rpc.counters("vm1")[0].get("received_descriptors", 0) == 0


def test_a_slow_driver_is_measured(box: Sandbox, ports: EnginePorts) -> None:
    box.expect_log(r"\|vdpa\|WARN\|vdpa_test0: its driver's dev_conf has held up every port")
    ports.apply()
    ports.devices.slow("dev_conf", 1100)
    with RawFrontEnd(box.socket_path("vm1")) as guest:
        guest.start()
        assert ports.wait(state="running")["stall_ms"] >= 1100


def test_killed_engine_is_replaced(box: Sandbox, ports: EnginePorts) -> None:
    ports.apply()
    loop = _loop(ports)
    ports.wait(state="running")
    box.engine.kill()
    loop.kill()
    box.start_engine()
    again = EnginePorts(box)
    try:
        again.apply()
        _wait_more(_loop(again))
        again.wait(state="running")
    finally:
        again.close()
