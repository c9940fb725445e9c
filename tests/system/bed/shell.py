# SPDX-License-Identifier: Apache-2.0
"""Runs a command in a stack that is up, with the environment in which ovs-vsctl and ovs-appctl
reach it: python3 -m bed.shell COMMAND... The status is the command's."""

import subprocess
import sys

from .stack import Stack


def main() -> int:
    with Stack() as stack:
        print(f"logs: {stack.logdir}", flush=True)
        status = subprocess.run(sys.argv[1:], env=stack.env).returncode
        if status != 0:
            print(stack.describe())
    return status


if __name__ == "__main__":
    sys.exit(main())
