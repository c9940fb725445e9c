# SPDX-License-Identifier: Apache-2.0
"""The whole stack as production has it: on the machine itself and on the kernel's datapath."""

import contextlib
import json
import os
import resource
from pathlib import Path

from harness.leaks import STANDING_NETDEVS
from harness.namespaces import Namespaces, netdevs
from harness.ovs import CommandFailed, run
from harness.sandbox import Sandbox
from harness.wait import wait_for

from . import kernel
from .engine_use import EngineUse
from .kernel_ovs import KernelOvs
from .scope import WholeMachine

_EXPECTED = Path(__file__).resolve().parents[1] / "expected-log-lines.txt"
# By the datapath and the classifier they are loaded when first asked for, which takes a while.
_MODULES = ("openvswitch", "cls_flower", "act_mirred", "act_gact", "sch_ingress", "tun", "veth")


def allow_pinning() -> None:
    """As the engine's unit does (LimitMEMLOCK=): what hardware may write to is locked."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


class Stack(EngineUse, KernelOvs, Sandbox):
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
