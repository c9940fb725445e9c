# SPDX-License-Identifier: Apache-2.0
"""The program behind tests/sandbox.sh: a shell or a command in a sandbox."""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

from .daemons import die_with_parent
from .sandbox import Sandbox

_HINT = """
A sandbox with Open vSwitch, ovs-vdpa-engine and ovs-vdpa-agent; leave it with exit. For example:

    ovs-vsctl --no-wait add-port br0 vm1 -- set Interface vm1 \\
        options:vdpa-socket=$OVS_RUNDIR/vm1.sock options:vdpa-sw=true
    ovs-appctl -t ovs-vdpa-agent vdpa/show
    ovs-vsctl --columns=name,external_ids list Interface vm1
    less $OVS_LOGDIR/ovs-vdpa-agent.log
"""


def _shell(folder: Path) -> list[str]:
    rcfile = folder / "etc/bashrc"
    rcfile.write_text(f"PS1='[sandbox {folder}] \\w\\$ '\n")
    return ["/bin/bash", "--noprofile", "--rcfile", str(rcfile), "-i"]


def run_in(folder: Path, env: dict[str, str], command: list[str]) -> int:
    """Runs a command or a shell with the terminal; its status as a shell would give it."""
    if not command:
        command = _shell(folder)
        if sys.stdin.isatty():
            print(_HINT)
    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        die_with_parent()

    # Control-C is for the command.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = subprocess.call(command, env=env, preexec_fn=prepare)
    except OSError as error:
        print(f"sandbox: {command[0]}: {error.strerror}", file=sys.stderr)
        status = 127
    finally:
        signal.signal(signal.SIGINT, previous)
    return status if status >= 0 else 128 - status


def _terminate(*_: object) -> None:
    # As an exception, so that everything is taken down.
    sys.exit(128 + signal.SIGTERM)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="sandbox.sh", allow_abbrev=False)
    parser.add_argument("--agent-only", action="store_true")
    parser.add_argument("--tso", action="store_true")
    parser.add_argument("--rundir", type=Path)
    parser.add_argument("--enter", type=Path)
    parser.add_argument("--end", type=Path)
    command: list[str] = []
    if "--" in arguments:
        mark = arguments.index("--")
        arguments, command = arguments[:mark], arguments[mark + 1:]
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminate)
    running = options.enter or options.end
    if running:
        box = Sandbox(folder=running)
        box.join()
        try:
            if options.end:
                box.end_joined()
                return 0
            return run_in(box.folder, box.env, command)
        finally:
            box.namespaces.leave()
    try:
        with Sandbox(folder=options.rundir, engine=not options.agent_only,
                     userspace_tso=options.tso) as box:
            status = run_in(box.folder, box.env, command)
            for line in box.shutdown():
                print(f"sandbox: {line}", file=sys.stderr)
        return status
    except (AssertionError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
