# SPDX-License-Identifier: Apache-2.0
"""What tests of ports on hardware say and ask, with bridges of the kernel's datapath."""

import json
from pathlib import Path
from typing import Any

from harness.commands import Commands
from harness.ovs import CommandFailed
from harness.wait import wait_for


class KernelOvs(Commands):
    """Further commands."""

    def add_vdpa_port(self, name: str, *, bridge: str = "br0", wait: str | None = None,
                      mac: str | None = None, **options: str | int) -> Path:
        """Adds a port with the given options; names with _ for -. Unlike add_port() it asks for no
        emulated VF. `mac` goes into external_ids:attached-mac, where os-vif writes it."""
        path = self.socket_path(name)
        words = {"vdpa-socket": str(path)}
        words.update({key.replace("_", "-"): str(value) for key, value in options.items()})
        self.vsctl("--no-wait", "add-port", bridge, name, "--", "set", "Interface", name,
                   *[f'options:{key}="{value}"' for key, value in words.items()],
                   *([f'external_ids:attached-mac="{mac}"'] if mac else []))
        if wait:
            self.wait_state(name, wait)
        return path

    def devices(self) -> dict[str, Any]:
        """What `vdpa/devices --json` lists."""
        return json.loads(self.agentctl("vdpa/devices", "--json"))

    def host_status(self) -> dict[str, str]:
        """The agent's keys of the Open_vSwitch row, without the prefix `vdpa-`."""
        row = self.ovs.record("Open_vSwitch", ".", "external_ids")
        ids = row["external_ids"] if row else {}
        assert isinstance(ids, dict)
        return {key[5:]: value for key, value in ids.items() if key.startswith("vdpa-")}

    def wait_host_reason(self, reason: str | None, bound: float = 15) -> dict[str, str]:
        """Waits until the host's reason is that, or until there is none."""
        def check() -> dict[str, str] | None:
            status = self.host_status()
            return status if status.get("host-reason") == reason else None
        return wait_for(check, bound,
                        lambda: f"the host's reason {reason}: {self.host_status()}")

    def link(self, netdev: str) -> dict[str, Any] | None:
        """What `ip -d link` says of a netdev; None if there is none of that name."""
        try:
            return json.loads(self.ip("-j", "-d", "link", "show", "dev", netdev))[0]
        except CommandFailed:
            return None

    def ofport(self, name: str) -> int:
        value = self.interface(name, "ofport")["ofport"]
        return value if isinstance(value, int) else -1

    def wait_ofport(self, name: str, bound: float = 15) -> int:
        """Waits until ovs-vswitchd has the Interface as a port; its number."""
        return wait_for(lambda: max(0, self.ofport(name)), bound,
                        lambda: f"{name} to be a port: {self.interface(name, 'ofport', 'error')}")

    def vport_netdevs(self) -> dict[str, int]:
        """The netdevs of the kernel's datapath and their port numbers there."""
        ports = {}
        for line in self.ovs.appctl("dpctl/show", "system@ovs-system").splitlines():
            word = line.split()
            if len(word) >= 3 and word[0] == "port":
                ports[word[2]] = int(word[1].rstrip(":"))
        return ports
