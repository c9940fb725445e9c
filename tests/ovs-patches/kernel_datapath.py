#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs tests of Open vSwitch's kernel suite in a QEMU guest with Debian's kernel.

    kernel_datapath.py TREE TITLE...

TREE is a built source tree of Open vSwitch, TITLE a regular expression that the title of a test
matches from its beginning. The guest sees this machine's files, below a layer of its own that
takes all changes. The status is 0 if every test ran and passed, 77 if no guest can be run here.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "functional"))

from harness import machine  # noqa: E402
from harness.debian_kernel import KernelUnavailable, debian_kernel  # noqa: E402

SUITE = "system-kmod-testsuite"
# TCG on a busy machine.
BOUND = 600
TEST_MODULES = ("openvswitch", "nf_conntrack_netlink", "tun", "veth")

IN_GUEST = r"""
for module in {test_modules}; do modprobe $module || echo "modprobe $module failed"; done
cd {tree}
sh tests/{suite} -C tests --color=never \
    AUTOTEST_PATH=utilities:vswitchd:ovsdb:vtep:tests:ipsec:: {numbers}
cat tests/{suite}.dir/*/*.log 2>/dev/null | tail -n 60
"""


def chosen_tests(tree: Path, titles: list[str]) -> dict[str, str]:
    """Number and title of the tests meant."""
    listing = subprocess.run(["sh", f"./{SUITE}", "--list"], cwd=tree / "tests", check=True,
                             capture_output=True, text=True).stdout
    tests = dict(re.findall(r"^ *(\d+): \S+ +(.*)$", listing, re.MULTILINE))
    found = {number: title for number, title in tests.items()
             if any(re.match(wanted, title) for wanted in titles)}
    for wanted in titles:
        if not any(re.match(wanted, title) for title in found.values()):
            sys.exit(f"no test of {SUITE} is called {wanted}")
    return found


def cannot_run(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    sys.exit(77)


def main() -> None:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    tree = Path(sys.argv[1]).resolve()
    tests = chosen_tests(tree, sys.argv[2:])
    for tool in machine.TOOLS:
        if not shutil.which(tool):
            cannot_run(f"{tool} is not installed")
    try:
        kernel = debian_kernel()
    except KernelUnavailable as error:
        cannot_run(f"no kernel for QEMU: {error}")
    command = IN_GUEST.format(tree=tree, suite=SUITE, numbers=" ".join(tests),
                              test_modules=" ".join(TEST_MODULES))
    stream = io.StringIO()
    with tempfile.TemporaryDirectory() as name:
        try:
            machine.run(machine.Machine(kernel, visible=[tree]), command, Path(name),
                        output=stream, bound=machine.elapsed(BOUND))
        except machine.GuestFailed as error:
            sys.exit(f"{stream.getvalue()}\n{error}")
    output = stream.getvalue()
    passed = [number for number in tests
              if re.search(rf"^ *{number}: .* ok$", output, re.MULTILINE)]
    for number, title in tests.items():
        print(f"{title}: {'ok' if number in passed else 'FAILED'}")
    if len(passed) != len(tests):
        sys.exit(output)


if __name__ == "__main__":
    assert os.geteuid() == 0, "needs root"
    main()
