# SPDX-License-Identifier: Apache-2.0
"""The ports of an engine that no agent drives."""

from typing import TYPE_CHECKING, Any

from . import vdpa_device
from .rpc import RpcClient
from .vdpa_device import TestDevices
from .wait import wait_for

if TYPE_CHECKING:
    from .sandbox import Sandbox


class EnginePorts:
    """Ports by RPC, on test devices that the engine loads when this is made."""

    def __init__(self, box: "Sandbox") -> None:
        self.box = box
        self.devices = TestDevices()
        self.rpc = RpcClient(box.engine_socket, 30)
        self.rpc.call("engine.start", eal=["-d", str(vdpa_device.plugin(box.build))])

    def close(self) -> None:
        self.rpc.close()
        self.devices.close()

    def apply(self, name: str = "vm1", device: str | None = None, *, kind: str = "dpdk",
              **changes: Any) -> dict[str, Any]:
        """Applies a spec, and waits for its outcome."""
        spec = {"name": name,
                "socket": {"path": str(self.box.socket_path(name)), "mode": "server"},
                "device": {"kind": kind, "name": device or self.devices.spec(move=1)},
                "max_queues": 1, "packed": True, "offloads": True, **changes}
        generation = self.rpc.call("port.apply", **spec)["generation"]
        return wait_for(lambda: self.find(name, generation), 20, f"{name} to be carried out")

    def find(self, name: str, generation: int = 0) -> dict[str, Any] | None:
        ports = {port["name"]: port for port in self.rpc.call("port.list")["ports"]}
        port = ports.get(name)
        if not port or port["state"] == "pending" or port["generation"] < generation:
            return None
        return port

    def status(self, name: str = "vm1") -> dict[str, Any]:
        port = self.find(name)
        assert port is not None, f"the engine has no port {name}"
        return port

    def wait(self, name: str = "vm1", bound: float = 30, **wanted: Any) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            port = self.find(name)
            good = port and all(port.get(key) == value for key, value in wanted.items())
            return port if good else None
        return wait_for(reached, bound, lambda: f"{name} to have {wanted}, it is {self.find(name)}")

    def remove(self, name: str = "vm1") -> None:
        """Removes a port; socket and device are released when this returns."""
        self.rpc.notifications.clear()
        self.rpc.call("port.remove", name=name)

        def removed() -> bool:
            self.find(name)  # The answer brings notifications along.
            return any(told["params"]["name"] == name and told["params"]["state"] == "removed"
                       for told in self.rpc.notifications)
        wait_for(removed, 20, f"{name} to go away")
