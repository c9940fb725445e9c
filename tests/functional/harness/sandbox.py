# SPDX-License-Identifier: Apache-2.0
"""The whole stack, isolated: one folder, one network and one mount namespace, the real daemons."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from . import leaks, logs, namespaces, sanitizers
from .commands import Commands
from .daemons import Daemon
from .ovs import SCRIPTS, CommandFailed, Ovs, accepts
from .peer import Peer
from .rpc import RpcClient
from .uml import UmlGuest
from .wait import wait_for

SOURCE = Path(__file__).resolve().parents[3]

# The programs under test, in the build folder.
DAEMONS = ("engine/ovs-vdpa-engine", "ovs-vdpa-agent/ovs-vdpa-agent")

# Marks a folder that goes away with its sandbox.
_TEMPORARY = ".temporary"


def build_folder() -> Path:
    """Where the daemons under test are: $OVDA_BUILD, by default build/release."""
    return Path(os.environ.get("OVDA_BUILD") or SOURCE / "build/release").resolve()


class Sandbox(Commands):
    """A context manager: inside, the calling thread is in the sandbox's namespaces.

    `folder` is made if missing and kept; without it there is a temporary one. `linger` lets
    everything outlive the harness; close() then has to be done by hand. `other_config` is in the
    database before ovs-vswitchd starts.
    """

    datapath_type = "netdev"
    # Files with further lines that the logs of other programs may have.
    further_expectations: Sequence[Path] = ()

    def __init__(self, *, build: Path | None = None, folder: Path | None = None,
                 engine: bool = True, agent: bool = True, userspace_tso: bool = False,
                 other_config: Mapping[str, str] | None = None, linger: bool = False) -> None:
        self.build = build or build_folder()
        self._given_folder = folder
        self.folder = Path()
        self._with_engine = engine
        self._with_agent = agent
        self.userspace_tso = userspace_tso
        self._other_config = dict(other_config or {})
        if userspace_tso:
            self._other_config["userspace-tso-enable"] = "true"
        self.linger = linger
        self.namespaces = self.make_namespaces()
        self._expected: list[re.Pattern[str]] = []
        self.guests: list[Any] = []
        self._further: list[Daemon] = []
        self.peers: dict[str, Peer] = {}

    def make_namespaces(self) -> namespaces.Namespaces:
        return namespaces.Namespaces()

    def may_stay(self, netdev: str) -> bool:
        """Whether that netdev may be there when the test is over."""
        del netdev
        return False

    @property
    def carries_offloads(self) -> bool:
        """Whether bridges carry frames with unfinished checksums, or to be segmented."""
        return self.userspace_tso or self.datapath_type == "system"

    # Life.

    def __enter__(self) -> "Sandbox":
        namespaces.become_subreaper(not self.linger)
        if self._given_folder:
            self._given_folder.mkdir(parents=True, exist_ok=True)
            self.folder = self._given_folder.resolve()
        else:
            self.folder = Path(tempfile.mkdtemp(prefix="ovda."))
            (self.folder / _TEMPORARY).touch()
            # A front-end of another user has to reach the sockets.
            self.folder.chmod(0o755)
        self._lay_out()
        self.namespaces.enter()
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def join(self) -> None:
        """Enters the sandbox that runs in the given folder; another program started it."""
        assert self._given_folder
        self.folder = self._given_folder.resolve()
        self._lay_out()
        self.namespaces.join(int((self.rundir / "ovsdb-server.pid").read_text()))

    def _lay_out(self) -> None:
        """Makes the folders, and the handles of the daemons."""
        self.rundir = self.folder / "run"
        self.logdir = self.folder / "log"
        for folder in (self.rundir, self.logdir, self.folder / "etc"):
            folder.mkdir(exist_ok=True)
        self.env = self._environment()
        self.ovs = Ovs(self.rundir, self.logdir, self.env, linger=self.linger)
        self.engine_socket = self.rundir / "ovs-vdpa-engine.sock"
        self.engine = Daemon("ovs-vdpa-engine", [
            str(self.build / "engine/ovs-vdpa-engine"), f"--rpc-socket={self.engine_socket}",
            f"--log-file={self.logdir}/ovs-vdpa-engine.log"],
            self.env, self.logdir, linger=self.linger)
        self.agent = Daemon("ovs-vdpa-agent", [
            str(self.build / "ovs-vdpa-agent/ovs-vdpa-agent"), f"--engine={self.engine_socket}",
            "--pidfile", f"--log-file={self.logdir}/ovs-vdpa-agent.log",
            "-vconsole:off", "-vsyslog:off", self.ovs.remote],
            self.env, self.logdir, linger=self.linger)

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        # OVDA_OVS_BIN names a folder with another Open vSwitch than the distribution's.
        path = [*filter(None, [os.environ.get("OVDA_OVS_BIN")]),
                str(self.build / "ovs-vdpa-agent"), str(self.build / "engine"), str(SCRIPTS),
                "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        env = {key: value for key, value in os.environ.items()
               if not key.startswith("OVS_") and key != "NOTIFY_SOCKET"}
        env.update(PATH=":".join(path), OVS_RUNDIR=str(self.rundir), OVS_LOGDIR=str(self.logdir),
                   OVS_DBDIR=str(self.rundir), OVS_SYSCONFDIR=str(self.folder / "etc"))
        env.update(sanitizers.environment(self.logdir))
        return env

    def _start(self) -> None:
        self.ovs.start_server_with_database(self._other_config)
        self.ovs.start_vswitchd()
        self.add_bridge("br0")
        if self._with_engine:
            self.start_engine()
        if self._with_agent:
            self.start_agent()

    def add_bridge(self, name: str) -> None:
        self.ovs.vsctl("--may-exist", "add-br", name, "--", "set", "Bridge", name,
                       f"datapath_type={self.datapath_type}")

    def start_engine(self, bound: float = 30) -> None:
        self.engine.start(lambda: accepts(self.engine_socket), bound)

    def start_agent(self, bound: float = 30) -> None:
        self.agent.start(self._agent_answers, bound)

    def _agent_answers(self) -> bool:
        with contextlib.suppress(CommandFailed):
            self.agentctl("version")
            return True
        return False

    def shutdown(self) -> list[str]:
        """Ends the daemons in an orderly way, so that they remove what they made, and returns what
        went wrong in that."""
        problems = []
        for guest in self.guests:
            guest.kill()
        for stop in (self.agent.stop, self.engine.stop, self.ovs.stop):
            try:
                stop()
            except (AssertionError, OSError) as error:
                problems.append(str(error))
        return problems

    def end_joined(self) -> None:
        """Ends a sandbox that was entered by join(), in the same order."""
        for name in (self.agent.name, self.engine.name):
            pids = [pid for pid in self.namespaces.processes()
                    if namespaces.program_name(pid) == name]
            for pid in pids:
                os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not set(pids) & set(self.namespaces.processes()), 15,
                     f"{name} to end")
        self.namespaces.kill_all()
        if (self.folder / _TEMPORARY).exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Ends everything at once and removes it. Looks for no leaks: see finish()."""
        for guest in self.guests:
            with contextlib.suppress(AssertionError, OSError):
                guest.kill()
        for peer in self.peers.values():
            peer.close()
        for daemon in self.daemons():
            daemon.kill()
        self.namespaces.kill_all()
        self.namespaces.leave()
        if not self._given_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def daemons(self) -> list[Daemon]:
        return [*self._further, self.agent, self.engine, self.ovs.vswitchd, self.ovs.server]

    def second_agent(self) -> tuple[Daemon, str]:
        """Another agent for the same database, not started; and ovs-appctl's target for it."""
        name = "second-agent"
        control = f"{self.rundir}/{name}.ctl"
        argv = [word for word in self.agent.argv
                if word != "--pidfile" and not word.startswith("--log-file")]
        daemon = Daemon(name, [*argv, f"--unixctl={control}",
                               f"--log-file={self.logdir}/{name}.log"], self.env, self.logdir)
        self._further.append(daemon)
        return daemon, control

    # What tests say.

    def program(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Runs a program to its end, whatever its status; a crash is never what a test wants."""
        done = subprocess.run(argv, env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=20)
        assert done.returncode >= 0 and not logs.crashes(done.stderr), done
        return done

    def rpc(self) -> RpcClient:
        return RpcClient(self.engine_socket)

    def peer(self, name: str = "peer", address: str = "10.1.0.1/24", bridge: str = "br0",
             mtu: int = 1500) -> Peer:
        """A network namespace that is a port of the bridge."""
        if name not in self.peers:
            peer = Peer(name, address, self.env, offloads=self.carries_offloads, mtu=mtu,
                        linger=self.linger)
            self.peers[name] = peer
            self.vsctl("add-port", bridge, peer.netdev)
        return self.peers[name]

    def uml(self, name: str, vhost_socket: Path, address: str | None = None) -> UmlGuest:
        """Boots a User-mode Linux guest; with an address its eth0 is set up."""
        guest = UmlGuest(name, vhost_socket, self.folder, linger=self.linger)
        self.guests.append(guest)
        if address:
            guest.configure(address)
        return guest

    def adopt(self, guest: Any) -> None:
        """Has `guest.kill()` called at the end."""
        self.guests.append(guest)

    def expect_log(self, pattern: str) -> None:
        """Declares that this test provokes WARN or ERR lines that match."""
        self._expected.append(re.compile(pattern))

    def finish(self) -> None:
        """The end of a test: takes the stack down in an orderly way; LeftBehind if anything
        remains of it, or if a log has an undeclared warning."""
        leaks.finish(self, self._expected)

    def describe(self) -> str:
        """What a person wants to see when a test has failed."""
        parts = []
        for title, command in (("vdpa/show", lambda: self.agentctl("vdpa/show", bound=5)),
                               ("ovs-vsctl show", lambda: self.vsctl("show", bound=5)),
                               ("Interface", lambda: self.vsctl(
                                   "--columns=name,options,external_ids,error", "list",
                                   "Interface", bound=5)),
                               ("ip", lambda: self.ip("-d", "link"))):
            try:
                parts.append(f"--- {title}\n{command()}")
            except (AssertionError, OSError) as error:
                parts.append(f"--- {title}\n{error}")
        parts += [daemon.describe(60) for daemon in self.daemons()]
        parts += sanitizers.reports(self.logdir)
        parts += [guest.describe() for guest in self.guests]
        return "\n".join(parts)
