# SPDX-License-Identifier: Apache-2.0
"""The benchmarks, by name."""

import os
import platform
import sys
import tempfile

import measure  # noqa: F401  (makes the functional tests' harness importable)
import ports
import rows
import tcp
import vdpa
import vfs

ALL = {"ports": ports.main, "rows": rows.main, "tcp": tcp.main, "vdpa": vdpa.main,
       "vfs": vfs.main}


def main() -> None:
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.exit(f"no benchmark {unknown[0]}; there are: {', '.join(ALL)}")
    # As /run is where sockets mostly are: what is measured is not to wait for a disk.
    tempfile.tempdir = "/dev/shm"
    print(f"{os.cpu_count()} processors, Linux {platform.release()}")
    for name in names:
        ALL[name]()


if __name__ == "__main__":
    main()
