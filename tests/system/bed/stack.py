# SPDX-License-Identifier: Apache-2.0
"""The whole stack as production has it: on the machine itself and on the kernel's datapath."""

import contextlib
import json
import os
import resource
from pathlib import Path
from typing import Any

from harness.leaks import STANDING_NETDEVS
from harness.namespaces import Namespaces, netdevs
from harness.ovs import CommandFailed, run
from harness.sandbox import Sandbox
from harness.wait import wait_for

from . import kernel
from .engine_use import EngineUse
from .scope import WholeMachine

_EXPECTED = Path(__file__).resolve().parents[1] / "expected-log-lines.txt"
# By the datapath and the classifier they are loaded when first asked for, which takes a while.
_MODULES = ("openvswitch", "cls_flower", "act_mirred", "act_gact", "sch_ingress", "tun", "veth")


def allow_pinning() -> None:
    """As the engine's unit does (LimitMEMLOCK=): what hardware may write to is locked."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


class Stack(EngineUse, Sandbox):
    """ovsdb-server, ovs-vswitchd, engine and agent, with an empty bridge br0 of the kernel's
    datapath. What netdevs are there when it starts, or belong to a device that a fixture made, may
    be there when it ends."""

    datapath_type = "system"
    further_expectations = (_EXPECTED,)

    def __init__(self, *, hw_offload: bool = True, engine: bool = True,
                 agent: bool = True) -> None:
        super().__init__(engine=engine, agent=agent,
                         other_config={"hw-offload": "true"} if hw_offload else {})
        self._scope: WholeMachine
        # A processor that is emulated on a busy machine stands still at times. What holds up a
        # daemon by itself is found by tests that measure it.
        self.expect_log(r"\|timeval\|WARN\|(Unreasonably long|faults:|context switches:|disk:)")

    def make_namespaces(self) -> Namespaces:
        self._scope = WholeMachine()
        return self._scope

    def may_stay(self, netdev: str) -> bool:
        return netdev in self._scope.netdevs or os.path.exists(f"/sys/class/net/{netdev}/device")

    def _start(self) -> None:
        kernel.load(*_MODULES)
        allow_pinning()
        super()._start()
        if self._with_engine and self._with_agent:
            # DPDK takes seconds to start in a guest. No test's subject is that.
            wait_for(lambda: self.engines_ready(), 30,
                     lambda: f"the engine\n{self.agentctl('vdpa/show')}\n{self.engine.describe()}")

    def engines_ready(self) -> bool:
        """Whether the agent has an engine that takes ports."""
        engines = json.loads(self.agentctl("vdpa/show", "--json"))["engines"]
        return any(engine["usable"] for engine in engines)

    def close(self) -> None:
        super().close()
        # A test that failed leaves things behind, which its namespace would have taken along, were
        # it in one: the datapath of an ovs-vswitchd that was killed, netdevs and namespaces.
        for datapath in run(["ovs-dpctl", "dump-dps"], self.env).split():
            run(["ovs-dpctl", "del-dp", datapath], self.env)
        for namespace in os.listdir("/run/netns"):
            run(["ip", "netns", "del", namespace], self.env)
        for netdev in set(netdevs()) - self._scope.netdevs:
            if not self.may_stay(netdev) and not STANDING_NETDEVS.fullmatch(netdev):
                with contextlib.suppress(CommandFailed):  # The other end of a pair is gone with it.
                    run(["ip", "link", "del", netdev], self.env)

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
