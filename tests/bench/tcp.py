# SPDX-License-Identifier: Apache-2.0
"""One TCP stream between a User-mode Linux guest and the host through the TAP alone, against TCP over
a veth pair, in turn and on the same processors."""

import statistics
import subprocess

from measure import row, title

from harness.guest import parse_iperf3
from harness.sandbox import Sandbox
from harness.wait import wait_for

HOST, GUEST = "10.9.0.1", "10.9.0.2"
ROUNDS = 5
SECONDS = 4


def gbits(report: dict) -> float:
    return report["sum_received"]["bits_per_second"] / 1e9


def listening(command: list[str]) -> bool:
    return ":5201" in subprocess.run([*command, "ss", "-ltnH"], capture_output=True, text=True,
                                     check=True).stdout


def client(server: str, *options: str) -> float:
    done = subprocess.run(["iperf3", "-c", server, "-t", str(SECONDS), "-J", *options],
                          capture_output=True, text=True, timeout=SECONDS + 30, check=False)
    return gbits(parse_iperf3(done.stdout))


def tap_alone() -> None:
    with Sandbox(agent=False) as box:
        box.ip("tuntap", "add", "vm1", "mode", "tap", "multi_queue", "vnet_hdr")
        box.ip("address", "add", f"{HOST}/24", "dev", "vm1")
        box.ip("link", "set", "vm1", "up")
        box.ip("netns", "add", "ovda-peer")
        box.ip("link", "add", "va", "type", "veth", "peer", "name", "vb", "netns", "ovda-peer")
        box.ip("address", "add", "10.8.0.1/24", "dev", "va")
        box.ip("link", "set", "va", "up")
        inside = ["ip", "netns", "exec", "ovda-peer"]
        for words in (("address", "add", "10.8.0.2/24", "dev", "vb"), ("link", "set", "vb", "up"),
                      ("link", "set", "lo", "up")):
            subprocess.run([*inside, "ip", *words], check=True)
        path = box.socket_path("vm1")
        with box.rpc() as rpc:
            rpc.call("engine.start", eal=[])
            rpc.call("port.apply", name="vm1", socket={"path": str(path), "mode": "server"},
                     device={"kind": "tap", "name": "vm1"}, max_queues=1, packed=True,
                     offloads=True)
        wait_for(path.exists, 10, "the socket")
        guest = box.uml("vm1", path, f"{GUEST}/24")
        server = subprocess.Popen(["iperf3", "-s"], stdout=subprocess.DEVNULL)
        far = subprocess.Popen([*inside, "iperf3", "-s"], stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: listening([]) and listening(inside), 10, "the iperf3 servers")
            guest.spawn("exec iperf3 -s")
            wait_for(lambda: ":5201" in guest.run("netstat -ltn"), 10, "iperf3 in the guest")
            veth, out, back = [], [], []
            for _ in range(ROUNDS):
                veth.append(client("10.8.0.2"))
                out.append(gbits(guest.iperf3(HOST, seconds=SECONDS)))
                back.append(client(GUEST))
        finally:
            server.kill()
            far.kill()
            server.wait()
            far.wait()
            box.ip("netns", "del", "ovda-peer")
    title(f"One TCP stream, Gbit/s, and against veth in the same round; median of {ROUNDS}")
    row("veth pair", f"{statistics.median(veth):.2f}")
    for name, values in (("guest to host", out), ("host to guest", back)):
        ratios = [value / base for value, base in zip(values, veth)]
        row(name, f"{statistics.median(values):.2f}", f"{statistics.median(ratios):.3f}",
            "(" + " ".join(f"{ratio:.3f}" for ratio in ratios) + ")")


def through_bridge(tso: bool) -> None:
    with Sandbox(userspace_tso=tso) as box:
        peer = box.peer()
        path = box.add_port("vm1")
        guest = box.uml("vm1", path, "10.1.0.2/24")
        box.wait_state("vm1", "running")
        peer.serve_iperf3()
        out = [gbits(guest.iperf3("10.1.0.1", seconds=SECONDS)) for _ in range(3)]
        back = [gbits(guest.iperf3("10.1.0.1", "-R", seconds=SECONDS)) for _ in range(3)]
    row("userspace-tso-enable=true" if tso else "offloads withheld",
        f"{statistics.median(out):.2f}", f"{statistics.median(back):.2f}")


def main() -> None:
    tap_alone()
    title("One TCP stream through the userspace bridge, Gbit/s: from the guest, to the guest")
    through_bridge(False)
    through_bridge(True)


