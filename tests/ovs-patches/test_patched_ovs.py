# SPDX-License-Identifier: Apache-2.0
"""What a patched ovs-vswitchd says of the agent's ports, beside what the agent says. Run by
check.sh, with OVDA_OVS_BIN naming the folder of the patched programs; on the userspace datapath,
and in a guest, with OVDA_DATAPATH=system, on the kernel's."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from harness.logs import faults
from harness.sandbox import Sandbox
from harness.wait import wait_for

OPTIONS = json.loads(
    (Path(__file__).resolve().parents[2] / "schema/options.json").read_text())
# Values on either side of the border of what is good. {run} is a folder that exists.
BORDER = {
    "vdpa-socket": ["{run}/a.sock", "{run}/..b.sock", "a.sock", "{run}/./a.sock", "{run}/../a",
                    "{run}/", "{longest}", "{longest}x"],
    "vdpa-socket-mode": ["client", "Client", "client "],
    "vdpa-socket-owner": ["root", "0:0", ":0", "root:", ":", "0:0:0", "a" * 129],
    "vdpa-socket-perms": ["0", "0777", "1000", "0x1ff", "-1", "888"],
    "vdpa-sw": ["true", "True", "1"],
    "vdpa-max-queues": ["1", "128", "0128", "0", "129", "+1", " 1", "1.0", "18446744073709551617"],
    "vdpa-packed": ["false", "off"],
    "vdpa-vf-mac": ["02:00:00:00:00:0A", "01:00:00:00:00:01", "00:00:00:00:00:00", "2:0:0:0:0:1",
                    "02-00-00-00-00-01", "02:00:00:00:00:01:"],
}

assert "OVDA_OVS_BIN" in os.environ, "OVDA_OVS_BIN names no patched Open vSwitch"
# A guest without KVM, on a machine that may be busy.
BOUND = 60

ON_KERNEL = os.environ.get("OVDA_DATAPATH") == "system"

# What stock Open vSwitch warns about, and what a patched one says of a mistake.
ABOUT_A_PORT = re.compile(r"could not open network device|not configurable|interface vm1: ")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    if ON_KERNEL:
        # Of the system tests, which only the guest finds.
        from bed.stack import Stack
        box: Sandbox = Stack(hw_offload=False)
    else:
        box = Sandbox()
    with box:
        yield box


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
        ["ovs-vsctl", f"--timeout={BOUND}", "add-port", "br0", "vm1",
         "--", "set", "Interface", "vm1", f'options:vdpa-socket="{path}"',
         "options:vdpa-sw=true"],
        env=sandbox.env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    sandbox.wait_state("vm1", "listening", BOUND)
    wait_for(lambda: "vdpa-sw=true" in shown_by_vswitchd(sandbox), BOUND, "the port to be added")
    assert str(path) in shown_by_vswitchd(sandbox)
    # The reconfigurations that follow say nothing either.
    sandbox.set_option("vm1", vdpa_max_queues=2)
    wait_for(lambda: "vdpa-max-queues=2" in shown_by_vswitchd(sandbox), BOUND, "the new option")
    assert complaints(sandbox) == []


def test_a_port_waits_where_no_agent_provides_it(sandbox: Sandbox) -> None:
    sandbox.agent.stop()
    sandbox.add_port("vm1", wait=None)
    sandbox.vsctl("wait-until", "Interface", "vm1", "status:vdpa_pending!=''", bound=BOUND)
    assert sandbox.vsctl("get", "Interface", "vm1", "ofport", "error") == "[]\n[]"
    assert complaints(sandbox) == []

    sandbox.start_agent()
    sandbox.wait_state("vm1", "listening", BOUND)
    wait_for(lambda: shown_by_vswitchd(sandbox) != "", BOUND, "the port to be added")


def test_a_misspelt_key_is_named_once_and_disturbs_nothing(sandbox: Sandbox) -> None:
    sandbox.add_port("vm1", wait=None)
    sandbox.wait_state("vm1", "listening", BOUND)
    wait_for(lambda: shown_by_vswitchd(sandbox) != "", BOUND, "the port to be added")
    ofport = sandbox.vsctl("get", "Interface", "vm1", "ofport")

    sandbox.expect_log("vdpa-pakced")
    sandbox.set_option("vm1", vdpa_pakced="false")
    sandbox.vsctl("set", "Bridge", "br0", "other_config:mac-aging-time=60")
    sandbox.vsctl("set", "Bridge", "br0", "other_config:mac-aging-time=61")

    assert [line.split("|", 4)[4] for line in complaints(sandbox)] == [
        "bridge br0: interface vm1: vdpa-pakced: unknown option"]
    wait_for(lambda: sandbox.vsctl("--if-exists", "get", "Interface", "vm1",
                                   "status:vdpa_error") == '"vdpa-pakced: unknown option"',
             BOUND, "the status")
    assert sandbox.vsctl("get", "Interface", "vm1", "ofport") == ofport
    assert sandbox.status("vm1")["state"] == "listening"


@pytest.mark.skipif(ON_KERNEL, reason="the datapath makes no difference, and the kernel takes a "
                                      "second to look for a module named as each missing netdev")
def test_agent_and_vswitchd_find_the_same_values_bad(sandbox: Sandbox) -> None:
    sandbox.expect_log(r"\|WARN\|(bridge br0: interface )?v\d+: ")
    longest = f"{sandbox.rundir}/".ljust(107, "x")
    error = {key["name"]: key["error"] for key in OPTIONS["interface"]["keys"]}
    rows = {f"v{number}": (key, value.format(run=sandbox.rundir, longest=longest))
            for number, (key, value) in enumerate((key, value) for key, values in BORDER.items()
                                                  for value in values)}
    words: list[str] = []
    for name, (key, value) in rows.items():
        options = {"vdpa-socket": str(sandbox.socket_path(name)), "vdpa-sw": "true", key: value}
        words += ["--", "add-port", "br0", name, "--", "set", "Interface", name,
                  *[f"options:{option}={json.dumps(text)}" for option, text in options.items()]]
    sandbox.vsctl(*words[1:])

    verdicts: dict[str, set[bool]] = {key: set() for key in BORDER}
    for name, (key, value) in rows.items():
        wait_for(lambda: sandbox.status(name).get("state", "provisioning") != "provisioning", 20,
                 f"the agent to judge {name}")
        bad = sandbox.status(name).get("reason") == error[key]
        said = sandbox.vsctl("--if-exists", "get", "Interface", name, "status:vdpa_error")
        assert bad == (f"{key}=" in said), (key, value, sandbox.status(name), said)
        verdicts[key].add(bad)
    assert all(verdict == {True, False} for verdict in verdicts.values()), verdicts
