# SPDX-License-Identifier: Apache-2.0
"""A whole Open vSwitch in one folder: ovsdb-server and ovs-vswitchd as the distribution ships
them, reached by the plain command-line tools through OVS_RUNDIR and its siblings."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Mapping

from .daemons import Daemon
from .wait import PATIENCE

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
SCRIPTS = Path("/usr/share/openvswitch/scripts")


class CommandFailed(AssertionError):
    """A command-line tool returned another status than 0."""


def run(argv: list[str], env: Mapping[str, str], bound: float = 30) -> str:
    """Runs a tool and returns its standard output; CommandFailed carries what it said."""
    bound *= PATIENCE
    try:
        done = subprocess.run(argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=bound)
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{' '.join(argv)}: no answer in {bound:g} s\n"
                            f"{error.stdout or ''}{error.stderr or ''}") from None
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: status {done.returncode}\n"
                            f"{done.stdout}{done.stderr}")
    return done.stdout


def accepts(path: Path | str, kind: int = socket.SOCK_STREAM) -> bool:
    """Whether a connection to the unix socket is accepted now."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


class Ovs:
    """ovsdb-server and ovs-vswitchd, and the two tools to speak with them."""

    def __init__(self, rundir: Path, logdir: Path, env: Mapping[str, str],
                 *, linger: bool = False) -> None:
        self.rundir = rundir
        self.env = dict(env)
        self.database = rundir / "conf.db"
        self.remote = f"unix:{rundir}/db.sock"
        quiet = ["-vconsole:off", "-vsyslog:off"]
        self.server = Daemon("ovsdb-server", [
            "ovsdb-server", str(self.database), f"--remote=punix:{rundir}/db.sock", "--pidfile",
            f"--log-file={logdir}/ovsdb-server.log", *quiet], env, logdir, linger=linger)
        self.vswitchd = Daemon("ovs-vswitchd", [
            "ovs-vswitchd", self.remote, "--pidfile",
            f"--log-file={logdir}/ovs-vswitchd.log", *quiet], env, logdir, linger=linger)

    def start_server_with_database(self, other_config: Mapping[str, str]) -> None:
        """Starts ovsdb-server, on a new database if there is none. What stands in `other_config`
        is there before ovs-vswitchd reads it: some settings count at its start alone."""
        if not self.database.exists():
            run(["ovsdb-tool", "create", str(self.database), str(SCHEMA)], self.env)
        self.start_server()
        words = [f"other_config:{key}={value}" for key, value in other_config.items()]
        self.vsctl("--no-wait", "init", *(["--", "set", "Open_vSwitch", ".", *words]
                                          if words else []))

    def start_server(self) -> None:
        self.server.start(lambda: accepts(self.rundir / "db.sock"))

    def start_vswitchd(self) -> None:
        # Its pidfile is there before it works, and after it was killed. It names its version once it
        # has configured everything for the first time (bridge_run() in vswitchd/bridge.c).
        before = self._starts()
        self.vswitchd.start(lambda: self._starts() > before)

    def _starts(self) -> int:
        log = self.vswitchd.log
        return log.read_bytes().count(b"ovs-vswitchd (Open vSwitch) ") if log.exists() else 0

    def stop_vswitchd(self) -> None:
        """Ends ovs-vswitchd and what its bridges made on the host."""
        if self.vswitchd.running:
            self.appctl("exit", "--cleanup")
            self.vswitchd.wait()

    def stop_server(self) -> None:
        if self.server.running:
            self.appctl("exit", target="ovsdb-server")
            self.server.wait()

    def stop(self) -> None:
        self.stop_vswitchd()
        self.stop_server()

    def vsctl(self, *arguments: str, bound: float = 30) -> str:
        """ovs-vsctl with `arguments`; what it printed, without the last newline."""
        return run(["ovs-vsctl", f"--timeout={int(bound * PATIENCE)}", *arguments], self.env,
                   bound + 5).rstrip("\n")

    def appctl(self, *arguments: str, target: str = "ovs-vswitchd", bound: float = 20) -> str:
        return run(["ovs-appctl", "-t", target, *arguments], self.env, bound).rstrip("\n")

    def edit_offline(self, *operations: Mapping[str, object]) -> None:
        """Carries out OVSDB operations on the database file while its server does not run."""
        assert not self.server.running
        run(["ovsdb-tool", "transact", str(self.database),
             json.dumps(["Open_vSwitch", *operations])], self.env)

    def record(self, table: str, name: str, *columns: str) -> dict[str, object] | None:
        """Columns of one row as Python values (maps as dict, sets as list); None: no such row."""
        text = self.vsctl("--no-wait", "--if-exists", "--format=json",
                          f"--columns={','.join(columns)}", "list", table, name)
        if not text:
            return None
        answer = json.loads(text)
        if not answer["data"]:
            return None
        return {key: _plain(value) for key, value in zip(answer["headings"], answer["data"][0])}


def _plain(value: object) -> object:
    if isinstance(value, list) and len(value) == 2 and value[0] in ("map", "set", "uuid"):
        if value[0] == "map":
            return {_plain(key): _plain(item) for key, item in value[1]}
        if value[0] == "set":
            return [_plain(item) for item in value[1]]
        return value[1]
    return value
