# SPDX-License-Identifier: Apache-2.0
"""Frames looped by a simulated kernel vDPA device: through a port of the engine, against a front-end
on the device itself. A host need not have such devices, so it is measured in a guest of the system
tests; the guest is emulated, and only the ratio means anything."""

import subprocess
import sys

from measure import HERE, title

from harness.sandbox import build_folder

_BOUND = 1800


def main() -> None:
    title("Frames looped by vdpa_sim, in an emulated guest")
    done = subprocess.run(
        [HERE.parent / "system/run.sh", "--no-build", f"--preset={build_folder().name}", "--shell",
         f"--bound={_BOUND}", "--", "/usr/bin/python3", HERE / "vdpa_rate.py"],
        stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"the guest's part ended with status {done.returncode}")
