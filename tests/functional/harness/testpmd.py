# SPDX-License-Identifier: Apache-2.0
"""dpdk-testpmd with a virtio-user front-end: packed rings, many queues, bursts."""

import re
import subprocess
from pathlib import Path
from typing import Mapping

from .daemons import die_with_parent
from .ovs import CommandFailed
from .wait import PATIENCE, wait_for

_PROMPT = "testpmd> "


class Testpmd:
    """Port 0 is the front-end on `vhost_socket`.

    `forward` is a forwarding mode of testpmd: icmpecho answers ARP and ping, txonly sends,
    rxonly counts. With `listen` testpmd listens and the back-end connects.
    """

    __test__ = False  # Not a test class, whatever its name.

    def __init__(self, name: str, vhost_socket: Path, folder: Path, env: Mapping[str, str], *,
                 queues: int = 1, packed: bool = False, listen: bool = False, mergeable: bool = True,
                 forward: str = "icmpecho", options: str = "", mtu: int = 1500,
                 cpus: str = "0@0,1@1", bound: float = 30) -> None:
        self.name = name
        self._listens_on = vhost_socket if listen else None
        self.log = folder / f"{name}.testpmd"
        vdev = (f"net_virtio_user0,path={vhost_socket},queues={queues},queue_size=256,"
                f"packed_vq={int(packed)},server={int(listen)},mrg_rxbuf={int(mergeable)}")
        runtime = folder / f"{name}.dpdk"
        runtime.mkdir(exist_ok=True)
        # --no-huge keeps the tests' demand on hugepages small; its memory is a memfd, which the
        # back-end can map.
        # Its answers go through stdio, which would keep them back from a file.
        argv = ["stdbuf", "-oL", "dpdk-testpmd", "--lcores", cpus, "--no-huge", "-m", "192", "--file-prefix", name,
                "-a", "0000:00:00.0", "--no-telemetry", f"--vdev={vdev}", "--", "-i",
                f"--rxq={queues}", f"--txq={queues}", f"--forward-mode={forward}",
                "--total-num-mbufs=8192", *options.split()]
        if not listen:
            # A listening front-end accepts the next connection from the link's interrupt.
            argv.append("--no-lsc-interrupt")
        if mtu != 1500:
            argv += [f"--max-pkt-len={mtu + 18}", "--mbuf-size=10240"]
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            argv, env={**env, "RUNTIME_DIRECTORY": str(runtime)}, stdin=subprocess.PIPE,
            stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=die_with_parent)
        try:
            self._wait_prompt(0, bound)
            if forward == "icmpecho":
                # It drops what its ring has no room for, unless told otherwise: two seconds are
                # what the engine may be kept from running on a busy machine.
                self.command("set fwd icmpecho retry")
                self.command("set burst tx delay 100 retry 20000")
        except BaseException:
            self.kill()
            raise

    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def _text(self) -> str:
        return self.log.read_text(errors="replace")

    def _wait_prompt(self, start: int, bound: float) -> str:
        def answer() -> str | None:
            text = self._text()[start:]
            if text.endswith(_PROMPT) or f"\n{_PROMPT}" in text:
                return text
            if not self.alive():
                raise CommandFailed(f"testpmd {self.name} ended\n{self.describe()}")
            return None
        return wait_for(answer, bound, lambda: f"testpmd's prompt\n{self.describe()}")

    def command(self, line: str, bound: float = 20) -> str:
        """Types a command and returns what it printed."""
        assert self._process.stdin
        start = len(self._text())
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._wait_prompt(start, bound)

    def start(self) -> None:
        self.command("start")

    def statistics(self) -> dict[str, int]:
        """Counters of the front-end's port, as RX-packets, TX-packets, RX-bytes and so on."""
        text = self.command("show port stats 0")
        return {key: int(value) for key, value in
                re.findall(r"([RT]X-[a-z-]+): +(\d+)", text)}

    def queue_statistics(self) -> dict[str, int]:
        """The port's extended counters."""
        text = self.command("show port xstats 0")
        return {key: int(value) for key, value in re.findall(r"^(\w+): (\d+)", text, re.MULTILINE)}

    def quit(self, bound: float = 20) -> None:
        if self.alive():
            assert self._process.stdin
            self._process.stdin.write(b"quit\n")
            self._process.stdin.flush()
            self._process.wait(bound * PATIENCE)
        self.kill()

    def kill(self) -> None:
        if self.alive():
            self._process.kill()
        self._process.wait(10)
        if self._process.stdin:
            try:
                self._process.stdin.close()
            except OSError:
                pass
        self._output.close()
        if self._listens_on:
            self._listens_on.unlink(missing_ok=True)

    def describe(self) -> str:
        return f"--- testpmd {self.name}\n" + "\n".join(self._text().splitlines()[-40:])
