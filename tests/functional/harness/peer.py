# SPDX-License-Identifier: Apache-2.0
"""The other end of a guest's conversation: a network namespace on a veth pair."""

import contextlib
import json
import os
import subprocess
import sys
from typing import Iterator, Mapping

from . import stream
from .daemons import die_with_parent
from .guest import parse_iperf3
from .namespaces import network_namespace
from .ovs import CommandFailed, run
from .stream import Stream
from .wait import wait_for


class Peer:
    """Network namespace `name` with eth0, whose other end `p-<name>` stays outside."""

    def __init__(self, name: str, address: str, env: Mapping[str, str], *, offloads: bool,
                 mtu: int = 1500, linger: bool = False) -> None:
        self.name = name
        self.address = address.split("/", 1)[0]
        self.netdev = f"p-{name}"
        self._env = dict(env)
        self._linger = linger
        self._servers: list[subprocess.Popen[bytes]] = []
        outside = ["ip", "link", "add", self.netdev, "mtu", str(mtu), "type", "veth", "peer",
                   "name", "eth0", "mtu", str(mtu), "netns", name]
        run(["ip", "netns", "add", name], self._env)
        run(outside, self._env)
        run(["ip", "link", "set", self.netdev, "up"], self._env)
        self.run("ip", "link", "set", "lo", "up")
        if not offloads:
            # The userspace datapath takes frames from a veth without their offload header, so
            # that a partial checksum would never be completed.
            self.run("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off")
        self.run("ip", "address", "add", address, "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """The body runs in the peer's network namespace: sockets it opens are the peer's."""
        with network_namespace(self.name):
            yield

    def run(self, *argv: str, bound: float = 30) -> str:
        with self.inside():
            return run(list(argv), self._env, bound)

    def popen(self, *argv: str, **options: object) -> "subprocess.Popen[str]":
        with self.inside():
            return subprocess.Popen(  # type: ignore[call-overload]
                list(argv), env=self._env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent, **options)

    def serve_iperf3(self) -> None:
        """Starts an iperf3 server, once; it listens when this returns."""
        if self._servers:
            return
        with self.inside():
            server = subprocess.Popen(["iperf3", "-s", "-B", self.address], env=self._env,
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      preexec_fn=None if self._linger else die_with_parent)
        self._servers.append(server)
        wait_for(lambda: self.run("ss", "-Hltn", "sport", "=", ":5201").strip(), 10,
                 "iperf3 to listen")

    def iperf3(self, server: str, options: str = "", seconds: int = 2) -> dict[str, dict]:
        return parse_iperf3(self.run("iperf3", "-c", server, "-t", str(seconds), "-J",
                                     *options.split(), bound=seconds + 30))

    def ping(self, address: str, count: int = 3, *options: str) -> str:
        return self.run("ping", "-c", str(count), "-W", "5", *options, address,
                        bound=10 + 6 * count)

    def reaches(self, address: str) -> bool:
        """Whether one ping is answered within a second."""
        try:
            self.run("ping", "-c", "1", "-W", "1", address)
        except CommandFailed:
            return False
        return True

    def stream(self, address: str, per_second: int = 1000) -> Stream:
        """Starts a numbered stream to a guest, whose kernel sends it back."""
        return Stream(self.popen(sys.executable, stream.__file__, address, str(per_second)))

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait(10)
        self._servers.clear()
        for command in (["ip", "link", "del", self.netdev], ["ip", "netns", "del", self.name]):
            with contextlib.suppress(CommandFailed):
                run(command, self._env)


def offloads_of(netdev: str, env: Mapping[str, str]) -> dict[str, bool]:
    """Offloads of a netdev here, as ethtool names them, and whether they are on."""
    report = json.loads(run(["ethtool", "--json", "-k", netdev], env))[0]
    return {key: value["active"] for key, value in report.items() if isinstance(value, dict)}


def exists(netdev: str) -> bool:
    return os.path.exists(f"/sys/class/net/{netdev}")
