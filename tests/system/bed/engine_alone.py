# SPDX-License-Identifier: Apache-2.0
"""The engine without agent and Open vSwitch, told by RPC what to serve."""

from pathlib import Path
from typing import Any

from harness.rpc import RpcClient
from harness.wait import PATIENCE, wait_for

from .stack import Stack, allow_pinning

_EAL = ["--in-memory", "-a", "0000:00:00.0", "--iova-mode=va"]


class EngineAlone(Stack):
    """Serves ports with the devices they are given; `port` names one of them."""

    def _start(self) -> None:
        allow_pinning()
        self.start_engine()
        self.prepare()

    def prepare(self) -> None:
        """Has DPDK started, as an agent does when its engine is new."""
        with RpcClient(self.engine_socket, bound=60 * PATIENCE) as client:
            answer = client.call("engine.start", eal=_EAL)
            assert answer["eal_state"] == "started", client.call("engine.info")

    def serve(self, port: str, device: Path, *, mode: str = "server", queues: int = 1,
              packed: bool = True) -> Path:
        """Has the port served by a kernel vDPA device; returns its socket."""
        path = self.socket_path(port)
        with self.rpc() as client:
            client.call("port.apply", name=port, socket={"path": str(path), "mode": mode},
                        device={"kind": "kernel", "name": str(device)}, max_queues=queues,
                        packed=packed, offloads=True)
        # Where it connects to a front-end that listens, that may be quicker than we look.
        self.wait_port(port, *(("listening",) if mode == "server" else
                               ("connecting", "connected", "running")))
        return path

    def remove(self, port: str) -> None:
        with self.rpc() as client:
            client.call("port.remove", name=port)
            wait_for(lambda: port not in self.ports(), 30, f"{port} to be removed")

    def ports(self) -> dict[str, dict[str, Any]]:
        with self.rpc() as client:
            return {port["name"]: port for port in client.call("port.list")["ports"]}

    def port(self, name: str) -> dict[str, Any]:
        return self.ports().get(name, {"state": "not there"})

    def wait_port(self, name: str, *states: str, reason: str | None = "*", queues: int | None = None,
                  bound: float = 30) -> dict[str, Any]:
        """Waits until the port is in one of the states; with that reason, and so many pairs
        served, if given."""
        def check() -> dict[str, Any] | None:
            port = self.port(name)
            good = (port["state"] in states and reason in ("*", port.get("reason"))
                    and queues in (None, port.get("queues")))
            return port if good else None
        return wait_for(check, bound, lambda: f"{name} to be {' or '.join(states)} "
                                              f"(reason {reason}, queues {queues}): "
                                              f"{self.port(name)}")
