# SPDX-License-Identifier: Apache-2.0
"""A front-end process that does what it should not harms its own port alone."""

import contextlib
import os
import signal
import socket
import struct
from pathlib import Path

import pytest

from harness.front_end import (GET_FEATURES, IOTLB_MSG, RECEIVE, SET_INFLIGHT_FD, SET_LOG_BASE,
                               SET_MEM_TABLE, SET_VRING_CALL, SET_VRING_ENABLE, SET_VRING_KICK,
                               TRANSMIT, FrontEnd)
from harness.sandbox import Sandbox
from harness.vhost_user import ask_features
from harness.wait import wait_for
from scenarios import ENGINE_LOST, direct_stream, running_vm

REFUSED = r"\|vhost\|WARN\|bad: message \d+ of the front-end refused: "
# DPDK does not ask whether the front-end was a good one.
RINGS = r"\|dpdk\|(WARN|ERR)\|VHOST_CONFIG: bad: "
MEMORY_LOST = (r"\|WARN\|(port )?bad: (the front-end took away memory|message \d+ .*: it took its "
               r"memory away|ring \d is not served any more)")
FRAME = b"\xff" * 6 + b"\x02\0\0\0\0\x07" + b"\x88\xb5" + bytes(50)


def _send_to_guest(netdev: str, frames: int) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((netdev, 0))
        for _ in range(frames):
            sender.send(FRAME)


def _still_answers(box: Sandbox, path: Path) -> None:
    box.engine.check_alive()
    connection = ask_features(path)
    assert connection, f"{path} does not answer any more"
    connection.close()


def _answers_again(box: Sandbox, path: Path) -> None:
    """After a front-end that the engine hung up on: the next may come before that one is gone, and
    does then what QEMU does with reconnect=1."""
    with contextlib.ExitStack() as stack:
        def reconnected() -> bool:
            connection = ask_features(path)
            return connection is not None and bool(stack.enter_context(connection))
        wait_for(reconnected, 5, f"{path} to take a front-end again")
    box.engine.check_alive()


def _take_a_frame(front_end: FrontEnd) -> None:
    front_end.transmit(FRAME)
    wait_for(lambda: front_end.used(TRANSMIT) == 1, 10, "a frame to be taken")


def _served(box: Sandbox, path: Path) -> FrontEnd:
    front_end = FrontEnd(path).set_up()
    box.wait_state("bad", "running")
    _take_a_frame(front_end)
    return front_end


def _stands_still(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T" for task in tasks)


def _replaced_unseen(box: Sandbox, path: Path, earlier: FrontEnd, *last_words: int) -> FrontEnd:
    """Another front-end in the place of `earlier`, of which the engine learns at the same time."""
    os.kill(box.engine.pid, signal.SIGSTOP)
    try:
        wait_for(lambda: _stands_still(box.engine.pid), 10, "the engine to stand still")
        for request in last_words:
            earlier.send(request)
        earlier.close()
        return FrontEnd(path)
    finally:
        os.kill(box.engine.pid, signal.SIGCONT)


def test_front_end_is_served_that_comes_with_the_end_of_the_one_before(sandbox: Sandbox) -> None:
    """As a virtual machine's that is started anew while the vhost library's thread waits for a
    device. QEMU may try once only."""
    path = sandbox.add_port("bad")
    with _replaced_unseen(sandbox, path, _served(sandbox, path)) as front_end:
        _take_a_frame(front_end.set_up())
        sandbox.wait_state("bad", "running")
    sandbox.wait_state("bad", "listening")


def test_last_words_of_a_front_end_that_was_replaced_are_not_believed(sandbox: Sandbox) -> None:
    """The library, which would handle them without our looking, would complain of these."""
    path = sandbox.add_port("bad")
    last_words = (SET_MEM_TABLE, IOTLB_MSG)
    with _replaced_unseen(sandbox, path, _served(sandbox, path), *last_words) as front_end:
        # The row may still be saying "running" of the one before.
        _take_a_frame(front_end.set_up())
    sandbox.engine.check_alive()


def test_truncated_memory_ends_one_connection(sandbox: Sandbox) -> None:
    guest, _ = running_vm(sandbox)
    stream = direct_stream(sandbox, guest)
    path = sandbox.add_port("bad")
    sandbox.expect_log(MEMORY_LOST)
    with _served(sandbox, path) as front_end:
        os.ftruncate(front_end.memory, 0)
        _send_to_guest("bad", 1)
        assert front_end.ended(), "the connection goes on"
    status = sandbox.wait_status("bad", state="listening", reason="memory-lost")
    assert "truncated" in status["detail"], status
    with _served(sandbox, path):
        assert sandbox.status("bad").get("reason") != "memory-lost"
    result = stream.stop()
    assert result.lost == [], result
    sandbox.engine.check_alive()


def test_memory_truncated_while_the_rings_are_set_up(sandbox: Sandbox) -> None:
    path = sandbox.add_port("bad")
    sandbox.expect_log(MEMORY_LOST)
    sandbox.expect_log(RINGS)
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.share_memory()
        assert front_end.ask(GET_FEATURES), "the memory table was not taken"
        os.ftruncate(front_end.memory, 0)
        with contextlib.suppress(ConnectionError):
            front_end.set_rings()
        assert front_end.ended()
    _answers_again(sandbox, path)


def test_interrupts_that_nobody_takes_hold_nobody_up(sandbox: Sandbox) -> None:
    guest, _ = running_vm(sandbox)
    stream = direct_stream(sandbox, guest)
    path = sandbox.add_port("bad")
    with _served(sandbox, path) as front_end:
        for ring in (RECEIVE, TRANSMIT):
            front_end.fill_call(ring)
        _send_to_guest("bad", 8)
        wait_for(lambda: front_end.used(RECEIVE) >= 8, 10, "the frames to arrive")
        front_end.transmit(FRAME)
        wait_for(lambda: front_end.used(TRANSMIT) == 2, 10, "a frame to be taken")
    result = stream.stop()
    assert result.lost == [], result


def test_half_a_message_holds_nobody_up_for_long(sandbox: Sandbox) -> None:
    bad, good = sandbox.add_port("bad"), sandbox.add_port("good")
    with FrontEnd(bad) as front_end:
        front_end.ask(GET_FEATURES)
        front_end.socket.sendall(struct.pack("=III", SET_VRING_ENABLE, 1, 8))
        _still_answers(sandbox, good)
        assert front_end.ended(), "a front-end that stopped in a message is still connected"
    _still_answers(sandbox, bad)


def test_engine_ends_although_a_front_end_stopped_in_a_message(sandbox: Sandbox) -> None:
    sandbox.expect_log(ENGINE_LOST)
    path = sandbox.add_port("bad")
    with FrontEnd(path) as front_end:
        front_end.ask(GET_FEATURES)
        front_end.socket.sendall(struct.pack("=III", SET_VRING_ENABLE, 1, 8))
        sandbox.engine.stop()
        assert front_end.ended()
    sandbox.wait_state("bad", "waiting")
    sandbox.start_engine()
    sandbox.wait_status("bad", served_socket=str(path))


def _foreign_file(folder: Path) -> int:
    return os.open(folder / "file", os.O_RDWR | os.O_CREAT)


@pytest.mark.parametrize("request_, payload, with_file", [
    (SET_INFLIGHT_FD, struct.pack("=QQHH", 4096, 0, 1, 64), True),
    (SET_MEM_TABLE, struct.pack("=II4Q", 1, 0, 0, 1 << 20, 0, 0), True),
    (SET_LOG_BASE, struct.pack("=QQ", 1 << 20, 0), True),
    (SET_VRING_KICK, struct.pack("=Q", 0), True),
    (SET_VRING_CALL, struct.pack("=Q", 1), True),
    (IOTLB_MSG, bytes(32), False),
], ids=["inflight", "memory", "log", "kick", "call", "iotlb"])
def test_refused_message(sandbox: Sandbox, request_: int, payload: bytes,
                         with_file: bool) -> None:
    path = sandbox.add_port("bad")
    sandbox.expect_log(REFUSED)
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        files = [_foreign_file(sandbox.folder)] if with_file else []
        front_end.send(request_, payload, *files)
        assert front_end.ended(), "the message was taken"
        for file in files:
            os.close(file)
    _still_answers(sandbox, path)


def test_log_that_does_not_begin_with_its_file(sandbox: Sandbox) -> None:
    path = sandbox.add_port("bad")
    sandbox.expect_log(REFUSED)
    with FrontEnd(path) as front_end:
        front_end.negotiate()
        front_end.send(SET_LOG_BASE, struct.pack("=QQ", 4096, 4096), front_end.memory)
        assert front_end.ended(), "the message was taken"
    _still_answers(sandbox, path)
