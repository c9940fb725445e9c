# SPDX-License-Identifier: Apache-2.0
"""Emulated VFs on the kernel's datapath."""

import pytest

from bed.stack import Stack
from scenarios import GUEST, PEER, running_echo, running_vm


@pytest.mark.kernels("6.1", "6.12")
def test_testpmd_is_reached_through_kernel_ovs(stack: Stack) -> None:
    front_end, peer = running_echo(stack)
    peer.ping(GUEST, 5)
    assert {"br0", "vm1", peer.netdev} <= stack.vport_netdevs().keys()
    assert front_end.statistics()["TX-packets"] >= 5


@pytest.mark.bound(600)
def test_uml_guest_speaks_tcp_with_offloads(stack: Stack) -> None:
    guest, peer = running_vm(stack)
    status = stack.wait_state("vm1", "running")
    assert "reason" not in status, status
    assert guest.features()["tx-tcp-segmentation"] and guest.features()["tx-checksum-ip-generic"]
    peer.serve_iperf3()
    report = guest.iperf3(PEER)
    assert report["sum_received"]["bytes"] > 1_000_000
