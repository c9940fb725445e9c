# SPDX-License-Identifier: Apache-2.0
"""What a patched ovs-vswitchd says of the agent's ports, beside what the agent says. Run by
check.sh, with OVDA_OVS_BIN naming the folder of the patched programs."""

import os
import re
import subprocess

import pytest
from harness.logs import faults
from harness.sandbox import Sandbox
from harness.wait import wait_for

pytestmark = pytest.mark.skipif("OVDA_OVS_BIN" not in os.environ,
                                reason="OVDA_OVS_BIN names no patched Open vSwitch")

# What stock Open vSwitch warns about, and what a patched one says of a mistake.
ABOUT_A_PORT = re.compile(r"could not open network device|not configurable|interface vm1: ")


def complaints(sandbox: Sandbox) -> list[str]:
    return [line for line in faults(sandbox.logdir / "ovs-vswitchd.log")
            if ABOUT_A_PORT.search(line)]


def shown_by_vswitchd(sandbox: Sandbox) -> str:
    """What dpif/show tells of vm1."""
    return next((line for line in sandbox.ovs.appctl("dpif/show").splitlines()
                 if line.strip().startswith("vm1 ")), "")


def test_a_port_that_the_agent_provides_is_no_error(sandbox: Sandbox) -> None:
    path = sandbox.socket_path("vm1")
    done = subprocess.run(
        ["ovs-vsctl", "--timeout=20", "add-port", "br0", "vm1", "--", "set", "Interface", "vm1",
         f'options:vdpa-socket="{path}"', "options:vdpa-sw=true"],
        env=sandbox.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    sandbox.wait_state("vm1", "listening")
    wait_for(lambda: "vdpa-sw=true" in shown_by_vswitchd(sandbox), 10, "the port to be added")
    assert str(path) in shown_by_vswitchd(sandbox)
    # The reconfigurations that follow say nothing either.
    sandbox.set_option("vm1", vdpa_max_queues=2)
    wait_for(lambda: "vdpa-max-queues=2" in shown_by_vswitchd(sandbox), 10, "the new option")
    assert complaints(sandbox) == []


def test_a_port_waits_where_no_agent_provides_it(sandbox: Sandbox) -> None:
    sandbox.agent.stop()
    sandbox.add_port("vm1", wait=None)
    sandbox.vsctl("wait-until", "Interface", "vm1", "status:vdpa_pending!=''")
    assert sandbox.vsctl("get", "Interface", "vm1", "ofport", "error") == "[]\n[]"
    assert complaints(sandbox) == []

    sandbox.start_agent()
    sandbox.wait_state("vm1", "listening")
    wait_for(lambda: shown_by_vswitchd(sandbox) != "", 10, "the port to be added")


def test_a_misspelt_key_is_named_once_and_disturbs_nothing(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1")
    wait_for(lambda: shown_by_vswitchd(sandbox) != "", 10, "the port to be added")
    ofport = sandbox.vsctl("get", "Interface", "vm1", "ofport")

    sandbox.expect_log("vdpa-pakced")
    sandbox.set_option("vm1", vdpa_pakced="false")
    sandbox.vsctl("set", "Bridge", "br0", "other_config:mac-aging-time=60")
    sandbox.vsctl("set", "Bridge", "br0", "other_config:mac-aging-time=61")

    assert [line.split("|", 4)[4] for line in complaints(sandbox)] == [
        "bridge br0: interface vm1: vdpa-pakced: unknown option"]
    wait_for(lambda: sandbox.vsctl("--if-exists", "get", "Interface", "vm1",
                                   "status:vdpa_error") == '"vdpa-pakced: unknown option"',
             10, "the status")
    assert sandbox.vsctl("get", "Interface", "vm1", "ofport") == ofport
    assert sandbox.status("vm1")["state"] == "listening"
