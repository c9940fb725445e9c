# SPDX-License-Identifier: Apache-2.0
"""What attacks of front-ends have in common: the engine lives, the port takes the next front-end,
and a port beside it loses no packet, with the software datapath and with a vDPA device. Who tests
that imports the fixtures."""

import contextlib
from pathlib import Path
from typing import Callable, Iterator

import pytest

from harness.engine_ports import EnginePorts
from harness.raw_front_end import HungUp, RawFrontEnd
from harness.sandbox import Sandbox
from harness.wait import wait_for
from scenarios import direct_stream, virtio_user

# What the engine and its vhost library say of such a front-end.
REFUSED = (r"\|(vhost|vdpa)\|WARN\|", r"\|dpdk\|(WARN|ERR)\|VHOST_CONFIG: ",
           r"\|relay\|WARN\|port vm1: ring \d+ is not served")

Attack = Callable[[RawFrontEnd], None]


@pytest.fixture(params=["tap", "dpdk"])
def ports(request: pytest.FixtureRequest, hostile_box: Sandbox) -> Iterator[EnginePorts]:
    """Port vm1 for the attacks."""
    box = hostile_box
    for pattern in REFUSED:
        box.expect_log(pattern)
    made = EnginePorts(box)
    _add_tap(box, "vm1")
    made.apply("vm1", "vm1" if request.param == "tap" else made.devices.spec(queues=4),
               kind=request.param, max_queues=2)
    yield made
    made.close()


@pytest.fixture
def hostile_box() -> Iterator[Sandbox]:
    with Sandbox(agent=False) as made:
        yield made


def _add_tap(box: Sandbox, name: str) -> None:
    box.ip("tuntap", "add", "dev", name, "mode", "tap", "multi_queue", "vnet_hdr")
    box.ip("link", "set", name, "up")


def carry_out(ports: EnginePorts, attacks: dict[str, Attack]) -> None:
    """Carries the attacks out on port vm1 while port vm2 has a stream, which loses nothing."""
    box = ports.box
    _add_tap(box, "vm2")
    ports.apply("vm2", "vm2", kind="tap")
    echo = virtio_user(box, "vm2", box.socket_path("vm2"))
    echo.start()
    ports.wait("vm2", state="running")
    stream = direct_stream(box, netdev="vm2")
    descriptors = box.engine.descriptors()
    attack(box.socket_path("vm1"), attacks,
           lambda state, pairs: ports.wait(state=state, queues=pairs))
    wait_for(lambda: not box.engine.descriptors() - descriptors, 10,
             lambda: f"descriptors to be closed: {box.engine.descriptors() - descriptors}")
    result = stream.stop()
    assert result.received > 0 and not result.lost, result
    ports.remove("vm1")
    ports.remove("vm2")
    for name in ("vm1", "vm2"):
        box.ip("link", "del", name)


def attack(path: Path, attacks: dict[str, Attack],
           wait: Callable[[str, int], object]) -> None:
    """Carries the attacks out, one front-end each. Now and then, and at the end, comes a front-end
    that behaves, and is served. `wait` waits for the port's state, and so many queue pairs."""
    for number, (name, act) in enumerate(attacks.items(), 1):
        try:
            with RawFrontEnd(path) as front_end:
                with contextlib.suppress(HungUp):
                    act(front_end)
            wait("listening", 0)
            if number % 8 == 0 or number == len(attacks):
                with RawFrontEnd(path) as guest:
                    guest.start()
                    assert guest.settled()
                    wait("running", 1)
                wait("listening", 0)
        except Exception as error:
            raise AssertionError(f"after the attack \"{name}\": {error!r}") from error
