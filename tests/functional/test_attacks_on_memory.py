# SPDX-License-Identifier: Apache-2.0
"""Front-ends that lie about their memory and their rings."""

from attacks import carry_out, hostile_box, ports  # noqa: F401
from harness.engine_ports import EnginePorts
from hostile_memory import memory_attacks, ring_attacks


def test_memory(ports: EnginePorts) -> None:
    carry_out(ports, memory_attacks())


def test_rings(ports: EnginePorts) -> None:
    carry_out(ports, ring_attacks())
