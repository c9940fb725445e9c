# SPDX-License-Identifier: Apache-2.0
"""What every virtual machine of the tests has in common: the programs inside of it, and a channel
over which the host runs commands in it and reads their output and status."""

import base64
import binascii
import itertools
import json
import re
import select
import shutil
import socket
import subprocess
import time
from pathlib import Path

from .ovs import CommandFailed
from .wait import PATIENCE

# Programs besides busybox, with the libraries they need.
PROGRAMS = ("/usr/bin/iperf3", "/usr/sbin/ethtool", "/usr/bin/flock")

# Process 1 of the guest. Each line that comes over the serial line is an identifier and a shell
# script in base64; the answer is the identifier, the exit status and the output in base64. Scripts
# run side by side; flock keeps their answers apart.
INIT = """#!/bin/busybox sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mount -t tmpfs tmpfs /tmp
for module in @MODULES@; do insmod $module || echo "insmod $module failed"; done
echo 8388608 > /proc/sys/net/core/rmem_max
echo 4194304 > /proc/sys/net/core/rmem_default
ip link set lo up
tty=@TTY@
exec 3<>$tty
stty raw -echo <&3
echo "ready 0" >&3
while read -r id script <&3; do
    (
        exec 3<&-
        echo "$script" | base64 -d > /tmp/$id.sh
        sh -c "echo \\$\\$ > /tmp/$id.pid; exec sh /tmp/$id.sh" > /tmp/$id.out 2>&1 < /dev/null
        status=$?
        (
            flock 9
            { echo -n "$id $status "; base64 /tmp/$id.out | tr -d '\\n'; echo; } > $tty
        ) 9> /tmp/lock
        rm -f /tmp/$id.*
    ) &
done
poweroff -f
"""


def build_root(root: Path, modules: list[Path], tty: str) -> None:
    """Fills the folder `root` with a guest's file system."""
    busybox = shutil.which("busybox")
    assert busybox, "busybox-static is not installed"
    for name in ("bin", "sbin", "dev", "proc", "sys", "tmp", "lib/modules", "usr/bin", "usr/sbin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy2(busybox, root / "bin/busybox")
    for applet in subprocess.run([busybox, "--list"], capture_output=True, text=True,
                                 check=True).stdout.split():
        link = root / "bin" / applet
        if applet != "busybox" and not link.exists():
            link.symlink_to("busybox")
    for program in PROGRAMS:
        _copy_program(Path(program), root)
    for module in modules:
        shutil.copy2(module, root / "lib/modules" / module.name)
    loads = " ".join(f"/lib/modules/{module.name}" for module in modules)
    init = root / "init"
    init.write_text(INIT.replace("@MODULES@", loads).replace("@TTY@", tty))
    init.chmod(0o755)


def _copy_program(program: Path, root: Path) -> None:
    listing = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True)
    for path in [str(program), *re.findall(r"(/\S+) \(0x", listing.stdout)]:
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


class GuestDied(AssertionError):
    """The virtual machine ended, or its channel closed."""


class Job:
    """A command that runs in the guest."""

    def __init__(self, guest: "Guest", identifier: str, command: str) -> None:
        self._guest = guest
        self.identifier = identifier
        self.command = command

    @property
    def done(self) -> bool:
        self._guest.pump(0)
        return self.identifier in self._guest.answers

    def wait(self, bound: float = 30) -> str:
        """The output, when the command ended with status 0; CommandFailed otherwise."""
        status, output = self.result(bound)
        if status != 0:
            raise CommandFailed(f"in guest {self._guest.name}: {self.command}: "
                                f"status {status}\n{output}")
        return output

    def result(self, bound: float = 30) -> tuple[int, str]:
        bound *= PATIENCE
        end = time.monotonic() + bound
        while self.identifier not in self._guest.answers:
            left = end - time.monotonic()
            if left <= 0:
                raise CommandFailed(f"in guest {self._guest.name}: {self.command}: no answer in "
                                    f"{bound:g} s\n{self._guest.describe()}")
            self._guest.pump(left)
        return self._guest.answers.pop(self.identifier)

    def stop(self, number: str = "TERM") -> None:
        """Sends a signal to the command, which should be one program started with exec. The shell
        starts it with SIGINT ignored: INT is for programs that install a handler."""
        self._guest.run(f"kill -{number} $(cat /tmp/{self.identifier}.pid)")


class Guest:
    """A running virtual machine. Subclasses start it, give the host's end of the channel to
    attach(), and say in alive() whether it still runs."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.answers: dict[str, tuple[int, str]] = {}
        self._channel: socket.socket | None = None
        self._pending = b""
        self._numbers = itertools.count(1)

    def alive(self) -> bool:
        raise NotImplementedError

    def attach(self, channel: socket.socket, bound: float) -> None:
        """Takes the channel and waits until the guest's init listens on it."""
        self._channel = channel
        channel.setblocking(False)
        Job(self, "ready", "boot").wait(bound)

    def attach_running(self, channel: socket.socket) -> None:
        """Takes the channel of a guest whose init listens already, or will when it is there."""
        self._channel = channel
        channel.setblocking(False)

    def detach(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def hold_channel(self) -> None:
        """Leaves the channel to a process that outlives this one. A guest whose channel closes
        powers off."""
        assert self._channel is not None
        subprocess.Popen(["sleep", "infinity"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                         pass_fds=[self._channel.fileno()], start_new_session=True)

    def spawn(self, command: str) -> Job:
        """Starts a shell command and returns at once."""
        assert self._channel is not None, f"guest {self.name} is not up"
        identifier = f"c{next(self._numbers)}"
        script = base64.b64encode(command.encode()).decode()
        data = f"{identifier} {script}\n".encode()
        while data:
            select.select([], [self._channel], [], 10)
            try:
                data = data[self._channel.send(data):]
            except BlockingIOError:
                raise GuestDied(f"guest {self.name} reads no commands") from None
        return Job(self, identifier, command)

    def run(self, command: str, bound: float = 30) -> str:
        return self.spawn(command).wait(bound)

    def pump(self, bound: float) -> None:
        """Takes in what the guest sent, waiting at most `bound` seconds for something."""
        assert self._channel is not None, f"guest {self.name} is not up"
        end = time.monotonic() + bound
        while True:
            ready, _, _ = select.select([self._channel], [], [],
                                        min(0.2, max(0.0, end - time.monotonic())))
            if ready:
                break
            if not self.alive():
                raise GuestDied(f"guest {self.name} ended\n{self.describe()}")
            if time.monotonic() >= end:
                return
        data = self._channel.recv(65536)
        if not data:
            raise GuestDied(f"guest {self.name} closed its channel\n{self.describe()}")
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").strip())

    def _take(self, line: str) -> None:
        words = line.split()
        # Anything else is a message of the kernel or the firmware on the same line.
        if 2 <= len(words) <= 3 and re.fullmatch(r"ready|c\d+", words[0]) and words[1].isdigit():
            try:
                output = base64.b64decode(words[2], validate=True) if len(words) == 3 else b""
            except binascii.Error:
                return
            self.answers[words[0]] = (int(words[1]), output.decode(errors="replace"))

    def describe(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-30:]
        except OSError as error:
            return str(error)
        return f"--- console of guest {self.name}\n" + "\n".join(lines)

    # What most tests do in a guest.

    def configure(self, address: str, device: str = "eth0", mtu: int | None = None) -> None:
        """Gives the device an address (with prefix length) and sets it up."""
        mtu_words = f"mtu {mtu} " if mtu else ""
        self.run(f"ip addr add {address} dev {device} && ip link set {device} {mtu_words}up")

    def ping(self, address: str, count: int = 3, options: str = "") -> str:
        return self.run(f"ping -c {count} -W 5 {options} {address}", bound=10 + 6 * count)

    def features(self, device: str = "eth0") -> dict[str, bool]:
        """Offloads of the device as `ethtool -k` names them, and whether they are on."""
        text = self.run(f"ethtool -k {device}")
        return {key: value.startswith("on")
                for key, value in re.findall(r"^\s*([\w-]+): (\w+)", text, re.MULTILINE)}

    def carrier(self, device: str = "eth0") -> bool:
        return self.run(f"cat /sys/class/net/{device}/carrier").strip() == "1"

    def mac(self, device: str = "eth0") -> str:
        return self.run(f"cat /sys/class/net/{device}/address").strip()

    def iperf3(self, server: str, options: str = "", seconds: int = 2) -> dict[str, dict]:
        """Runs the client against a server; the "end" part of its report."""
        text = self.run(f"iperf3 -c {server} -t {seconds} -J {options}", bound=seconds + 30)
        return parse_iperf3(text)


def parse_iperf3(text: str) -> dict[str, dict]:
    report = json.loads(text[text.index("{"):])
    if "error" in report:
        raise CommandFailed(f"iperf3: {report['error']}")
    return report["end"]
