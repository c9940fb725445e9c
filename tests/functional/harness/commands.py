# SPDX-License-Identifier: Apache-2.0
"""What tests say to a running Open vSwitch with engine and agent, and what it answers: by the same
tools that an administrator has."""

import json
from pathlib import Path
from typing import Any, Mapping

from .ovs import Ovs, run
from .wait import wait_for


class Commands:
    """Of a stack in folder `rundir`, with `env` for the tools."""

    ovs: Ovs
    rundir: Path
    env: Mapping[str, str]

    def vsctl(self, *arguments: str, bound: float = 30) -> str:
        return self.ovs.vsctl(*arguments, bound=bound)

    def agentctl(self, *arguments: str, bound: float = 20) -> str:
        return self.ovs.appctl(*arguments, target="ovs-vdpa-agent", bound=bound)

    def shown(self) -> dict[str, dict[str, Any]]:
        """The ports of `vdpa/show --json` by name."""
        ports = json.loads(self.agentctl("vdpa/show", "--json"))["ports"]
        return {port["name"]: port for port in ports}

    def ip(self, *arguments: str) -> str:
        return run(["ip", *arguments], self.env)

    def socket_path(self, name: str) -> Path:
        return self.rundir / f"{name}.sock"

    def add_port(self, name: str, *, bridge: str = "br0", socket: Path | str | None = None,
                 wait: str | None = "listening", **options: str | int) -> Path:
        """Adds a port with an emulated VF; option names with _ for -. Waits for the state `wait`."""
        path = Path(socket) if socket is not None else self.socket_path(name)
        words = {"vdpa-socket": str(path), "vdpa-sw": "true"}
        words.update({key.replace("_", "-"): str(value) for key, value in options.items()})
        # Without --no-wait the tool may report that the netdev is not there yet.
        self.vsctl("--no-wait", "add-port", bridge, name, "--", "set", "Interface", name,
                   *[f'options:{key}="{value}"' for key, value in words.items()])
        if wait:
            self.wait_state(name, wait)
        return path

    def set_option(self, name: str, **options: str | int | None) -> None:
        """Changes options of an Interface in one transaction; None removes a key."""
        words: list[str] = []
        for key, value in options.items():
            key = key.replace("_", "-")
            if value is None:
                words += ["--", "remove", "Interface", name, "options", key]
            else:
                words += ["--", "set", "Interface", name, f'options:{key}="{value}"']
        self.vsctl("--no-wait", *words)

    def del_port(self, name: str) -> None:
        self.vsctl("--no-wait", "del-port", name)

    def interface(self, name: str, *columns: str) -> dict[str, object]:
        row = self.ovs.record("Interface", name, *columns)
        assert row is not None, f"no Interface {name}"
        return row

    def status(self, name: str) -> dict[str, str]:
        """The agent's keys of an Interface, without the prefix `vdpa-`."""
        row = self.ovs.record("Interface", name, "external_ids")
        ids = row["external_ids"] if row else {}
        assert isinstance(ids, dict)
        return {key[5:]: value for key, value in ids.items() if key.startswith("vdpa-")}

    def wait_status(self, name: str, bound: float = 15, **wanted: str | None) -> dict[str, str]:
        """Waits until the given keys (with _ for -) have the given values; None: absent."""
        def check() -> dict[str, str] | None:
            status = self.status(name)
            good = all(status.get(key.replace("_", "-")) == value
                       for key, value in wanted.items())
            return status or {"": ""} if good else None
        return wait_for(check, bound, lambda: f"{name} to have {wanted}, it has "
                                              f"{self.status(name)}", 0.03)

    def wait_state(self, name: str, state: str, bound: float = 15) -> dict[str, str]:
        return self.wait_status(name, bound, state=state)
