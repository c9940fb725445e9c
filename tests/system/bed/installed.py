# SPDX-License-Identifier: Apache-2.0
"""Engine and agent as README.md has them installed: units of the guest's systemd, beside the Open
vSwitch of the distribution, which runs as units, too."""

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness import logs
from harness.ovs import CommandFailed, Ovs, accepts, run
from harness.sandbox import build_folder
from harness.wait import PATIENCE, wait_for

from .kernel_ovs import KernelOvs

AGENT, ENGINE = "ovs-vdpa-agent", "ovs-vdpa-engine"
OPEN_VSWITCH = "openvswitch-switch"
# A command of systemd's is a few seconds of an emulated processor.
_BOUND = 60 * PATIENCE


def systemctl(*words: str) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=_BOUND)
    assert done.returncode == 0, (f"systemctl {' '.join(words)}: {done.stdout}{done.stderr}\n"
                                  + journal(*[word for word in words[1:] if "-" != word[0]]))
    return done.stdout.strip()


def journal(*units: str) -> str:
    """What those units have said until now."""
    subprocess.run(["journalctl", "--sync"], check=True, timeout=_BOUND)
    words = [word for unit in units for word in ("-u", unit)]
    return subprocess.run(["journalctl", "--no-pager", "-o", "cat", *words], check=True,
                          capture_output=True, text=True, timeout=_BOUND).stdout


class Process(NamedTuple):
    """Of a unit."""

    pid: int
    user: int
    capabilities: int  # Effective ones.


class Installed(KernelOvs):
    """Installed and running when made, with bridge br0 of the kernel's datapath."""

    def __init__(self, folder: Path) -> None:
        self.rundir = Path("/run/openvswitch")
        self.env = dict(os.environ)
        self.ovs = Ovs(self.rundir, folder, self.env)
        self._expected: list[re.Pattern[str]] = []
        self._read: dict[str, int] = {}
        self._install()
        # The order in which a machine has them that had no Open vSwitch before.
        systemctl("enable", "--now", ENGINE, AGENT)
        systemctl("start", OPEN_VSWITCH)
        wait_for(lambda: accepts(self.rundir / "db.sock"), 30, "ovsdb-server to accept")
        self.vsctl("add-br", "br0")

    @staticmethod
    def _install() -> None:
        run(["cmake", "--install", str(build_folder()), "--strip"], os.environ, 120)
        run(["systemd-sysusers"], os.environ)
        systemctl("daemon-reload")

    def process(self, unit: str) -> Process:
        """Of a unit that runs."""
        pid = int(systemctl("show", "--value", "-p", "MainPID", unit))
        assert pid, f"{unit} does not run\n{journal(unit)}"
        text = Path(f"/proc/{pid}/status").read_text()
        values = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        return Process(pid, int(values["Uid"].split()[1]), int(values["CapEff"], 16))

    def kill(self, unit: str) -> None:
        """At once, as a crash does; and waits until another process has taken its place."""
        before = self.process(unit).pid
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: systemctl("show", "--value", "-p", "MainPID", unit)
                 not in ("0", str(before)), 30, lambda: f"{unit} to be started again\n"
                                                        f"{journal(unit)}")

    def expect_log(self, pattern: str) -> None:
        self._expected.append(re.compile(pattern))

    def clear(self) -> None:
        """As it was when it was installed, whatever a test has left."""
        systemctl("start", ENGINE, AGENT)
        self.vsctl("--no-wait", "remove", "Open_vSwitch", ".", "other_config", "vdpa-pfs")
        for name in self.vsctl("list-ports", "br0").split():
            self.vsctl("--no-wait", "--if-exists", "del-port", name)

    def finish(self) -> None:
        """The end of a test: no port is left, and the journal has no warning of engine and agent
        that was not expected."""
        self.clear()
        wait_for(lambda: not self.shown(), 30, lambda: f"no port to be left: {self.shown()}")
        unexpected = []
        for unit in (ENGINE, AGENT):
            lines = journal(unit).splitlines()
            fresh = lines[self._read.get(unit, 0):]
            self._read[unit] = len(lines)
            unexpected += [line for line in logs.faults_in("\n".join(fresh))
                           if not any(pattern.search(line) for pattern in self._expected)]
        self._expected.clear()
        assert not unexpected, "\n".join(["in the journal:", *unexpected])

    def describe(self) -> str:
        """What a person wants to see when a test has failed."""
        try:
            shown = self.agentctl("vdpa/show", bound=5)
        except CommandFailed as error:
            shown = str(error)
        return "\n".join([shown, *[f"--- {unit}\n{journal(unit)}" for unit in (ENGINE, AGENT)]])
