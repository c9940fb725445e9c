# SPDX-License-Identifier: Apache-2.0
"""Packs a folder as the initial file system of a guest."""

import subprocess
from pathlib import Path


def pack(root: Path, target: Path) -> Path:
    """Writes all that is below `root` to the archive `target`."""
    names = subprocess.run(["find", ".", "-mindepth", "1"], cwd=root, check=True,
                           capture_output=True).stdout
    with target.open("wb") as stream:
        subprocess.run(["busybox", "cpio", "-o", "-H", "newc"], cwd=root, input=names,
                       stdout=stream, stderr=subprocess.DEVNULL, check=True)
    return target
