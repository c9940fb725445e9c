# SPDX-License-Identifier: Apache-2.0
"""What vdpa.py has run in a guest. One device, taken in turn by the engine and by the front-end."""

import statistics
import tempfile
from pathlib import Path
from typing import Callable

from bed import vdpa
from bed.engine_alone import EngineAlone
from bed.loop import assert_complete, run
from measure import row

ROUNDS = 5
FRAMES = 300_000
MAC = "02:00:00:00:00:42"


def rate(path: Path, folder: Path) -> float:
    """Frames a second, from the first that is sent to the last that has come back."""
    result = run(path, FRAMES, folder, bound=300)
    assert_complete(result)
    return result.received / result.seconds


def rounds(engine: EngineAlone, device: Path, folder: Path) -> tuple[list[float], list[float]]:
    """Rates through the engine, and directly, of each round; which goes first changes from one to
    the next."""
    ours: list[float] = []
    direct: list[float] = []

    def through_engine() -> None:
        path = engine.serve("vm1", device)
        ours.append(rate(path, folder))
        engine.remove("vm1")

    def on_device() -> None:
        direct.append(rate(device, folder))
    order: list[Callable[[], None]] = [through_engine, on_device]
    for number in range(1, ROUNDS + 1):
        for measure in order:
            measure()
        order.reverse()
        row(f"round {number}: direct, ours, ratio", f"{direct[-1] / 1e3:.1f}",
            f"{ours[-1] / 1e3:.1f}", f"{ours[-1] / direct[-1]:.3f}")
    return ours, direct


def main() -> None:
    devices = vdpa.simulator()
    try:
        device = devices.create("v0", "mac", MAC)
        with EngineAlone() as engine, tempfile.TemporaryDirectory() as folder:
            rate(device, Path(folder))  # not counted: the emulator has yet to translate all of it
            ours, direct = rounds(engine, device, Path(folder))
    finally:
        devices.close()
    ratios = [of_ours / of_direct for of_ours, of_direct in zip(ours, direct)]
    row(f"median of {ROUNDS}, kpps", f"{statistics.median(direct) / 1e3:.1f}",
        f"{statistics.median(ours) / 1e3:.1f}", f"{statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
