# SPDX-License-Identifier: Apache-2.0
"""The engine's RPC socket answers or refuses whatever comes, and lives."""

import contextlib
import json
import os
import socket
import subprocess

import pytest

from harness.rpc import RpcClient, RpcError
from harness.sandbox import Sandbox
from harness.wait import wait_for

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602


@pytest.fixture
def box(sandbox: Sandbox):
    """A stack with a port, about which each test asks at its end."""
    sandbox.expect_log(r"\|rpc\|WARN\|a (connection|process|peer) ")
    sandbox.add_port("vm1")
    yield sandbox


def _still_well(box: Sandbox) -> None:
    box.engine.check_alive()
    with box.rpc() as client:
        assert client.call("engine.info")["pid"] == box.engine.pid
        ports = client.call("port.list")["ports"]
    assert [port["name"] for port in ports] == ["vm1"] and ports[0]["state"] == "listening"


@pytest.mark.parametrize("line, code", [
    (b"garbage", PARSE_ERROR),
    (b"\xff\xfe\x00\x01", PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method"', PARSE_ERROR),
    (b"[" * 100000, PARSE_ERROR),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, PARSE_ERROR),
    (b"null", INVALID_REQUEST),
    (b"[]", INVALID_REQUEST),
    (b'"engine.info"', INVALID_REQUEST),
    (b'{"jsonrpc":"1.0","id":1,"method":"engine.info"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":{},"method":"engine.info"}', INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"method":"engine.explode"}', NO_METHOD),
    (b'{"jsonrpc":"2.0","id":1,"method":"port.apply","params":[]}', INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"port.apply","params":{"name":"x"}}', INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"port.remove","params":{"name":7}}', INVALID_PARAMS),
    (b'{"jsonrpc":"2.0","id":1,"method":"port.stats","params":{"name":""}}', INVALID_PARAMS),
], ids=range(17))
def test_bad_line_is_answered_with_the_right_error(box: Sandbox, line: bytes, code: int) -> None:
    with box.rpc() as client:
        client.send_raw(line + b"\n")
        answer = client.read_message()
        # Refusing what is nested without sense by closing would be right, too; an answer is better.
        assert answer is not None and answer["error"]["code"] == code, answer
        assert answer["error"]["message"]
    _still_well(box)


@pytest.mark.parametrize("change", [
    {"max_queues": 0}, {"max_queues": 129}, {"max_queues": 1.5}, {"max_queues": 2 ** 70},
    {"name": "x" * 256}, {"packed": "true"}, {"socket": {"path": "/x" * 60, "mode": "server"}},
    {"socket": {"path": "/tmp/x", "mode": "both"}}, {"device": {"kind": "nic", "name": "x"}},
    {"socket": {"path": "/tmp/x", "mode": "server", "perms": 512}}], ids=str)
def test_parameter_out_of_range_is_named(box: Sandbox, change: dict) -> None:
    spec = {"name": "x", "socket": {"path": str(box.socket_path("x")), "mode": "server"},
            "device": {"kind": "tap", "name": "x"}, "max_queues": 1, "packed": True,
            "offloads": True}
    with box.rpc() as client, pytest.raises(RpcError) as caught:
        client.call("port.apply", **{**spec, **change})
    assert caught.value.code == INVALID_PARAMS
    named = next(iter(change))
    inner = next((key for key, value in change[named].items() if key != "mode" or value == "both"),
                 named) if isinstance(change[named], dict) else named
    assert named in str(caught.value) or inner in str(caught.value), caught.value
    _still_well(box)


def test_message_in_single_bytes(box: Sandbox) -> None:
    with box.rpc() as client:
        for byte in b'{"jsonrpc":"2.0","id":5,"method":"engine.info","params":{}}\n':
            client.send_raw(bytes([byte]))
        answer = client.read_message()
        assert answer is not None and answer["id"] == 5 and "result" in answer


def test_half_a_message_and_gone(box: Sandbox) -> None:
    for _ in range(50):
        with box.rpc() as client:
            client.send_raw(b'{"jsonrpc":"2.0","id":1,"meth')
    _still_well(box)


def test_many_messages_in_one_write(box: Sandbox) -> None:
    with box.rpc() as client:
        line = b'{"jsonrpc":"2.0","id":%d,"method":"engine.info","params":{}}\n'
        client.send_raw(b"".join(line % number for number in range(500)))
        for number in range(500):
            answer = client.read_message()
            assert answer is not None and answer["id"] == number


def test_line_of_100_megabytes_is_refused_without_swallowing_it(box: Sandbox) -> None:
    # What is not taken is not kept either: to look at the engine's memory would be to measure the
    # allocator's, or a sanitizer's.
    piece = b"x" * (64 << 10)
    taken = 0
    with box.rpc() as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while taken < 100 << 20:
                client.send_raw(piece)
                taken += len(piece)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            answer = client.read_message()
            assert answer is None or "error" in answer
    # A message has at most 4 MiB; the rest is for the buffers of the sockets.
    assert taken < 5 << 20
    _still_well(box)


def test_client_that_never_reads(box: Sandbox) -> None:
    line = b'{"jsonrpc":"2.0","id":1,"method":"port.list","params":{}}\n'
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf:
        deaf.connect(str(box.engine_socket))
        deaf.settimeout(2)
        with contextlib.suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                deaf.sendall(line * 100)
        _still_well(box)
    _still_well(box)


def test_thousand_connections(box: Sandbox) -> None:
    clients: list[socket.socket] = []
    try:
        for _ in range(1000):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(5)
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect(str(box.engine_socket))
        # The agent's own connection is an old one and works on.
        assert "vm1" in box.agentctl("vdpa/show")
    finally:
        for client in clients:
            client.close()

    def well() -> bool:
        with contextlib.suppress(OSError, ConnectionError, TimeoutError):
            with RpcClient(box.engine_socket, 5) as client:
                return client.call("engine.info")["pid"] == box.engine.pid
        return False
    wait_for(well, 15, "the engine to take new connections")
    box.add_port("vm2")
    box.del_port("vm2")
    wait_for(lambda: "vm2" not in box.shown(), 10, "vm2 to go away")
    _still_well(box)


def test_socket_is_for_its_owner_alone(box: Sandbox) -> None:
    assert box.engine_socket.stat().st_mode & 0o777 == 0o600
    # Past the file's permissions the credentials are looked at.
    box.engine_socket.chmod(0o666)
    script = ("import socket,sys; s=socket.socket(socket.AF_UNIX); s.settimeout(5); "
              f"s.connect({str(box.engine_socket)!r}); "
              "s.sendall(b'{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"engine.info\",\"params\":{}}\\n'); "
              "print(len(s.recv(4096)))")
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-c",
                           script], capture_output=True, text=True, timeout=20)
    assert done.stdout.strip() != "" or "Error" in done.stderr
    if done.returncode == 0:
        assert done.stdout.strip() == "0", "the engine answered another user"
    box.engine_socket.chmod(0o600)
    _still_well(box)


def test_unknown_fields_are_ignored(box: Sandbox) -> None:
    with box.rpc() as client:
        client.send_raw(json.dumps({"jsonrpc": "2.0", "id": 3, "method": "port.stats",
                                    "params": {"name": "vm1", "colour": "red"},
                                    "extra": [1]}).encode() + b"\n")
        answer = client.read_message()
        assert answer is not None and answer.get("result", {}).get("name") == "vm1", answer


def test_port_that_is_not_there(box: Sandbox) -> None:
    with box.rpc() as client:
        with pytest.raises(RpcError) as caught:
            client.call("port.stats", name="nobody")
        assert caught.value.code == -32001
        assert client.call("port.remove", name="nobody") == {"existed": False}


def test_file_descriptors_sent_along_are_closed(box: Sandbox) -> None:
    def open_descriptors() -> int:
        return len(os.listdir(f"/proc/{box.engine.pid}/fd"))

    before = open_descriptors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client, open("/dev/null") as null:
        client.settimeout(10)
        client.connect(str(box.engine_socket))
        socket.send_fds(client, [b'{"jsonrpc":"2.0","id":1,"method":"engine.info","params":{}}\n'],
                        [null.fileno()] * 10)
        assert client.recv(65536)
    wait_for(lambda: open_descriptors() <= before, 10, "the descriptors to be closed")
    _still_well(box)
