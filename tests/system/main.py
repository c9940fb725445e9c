# SPDX-License-Identifier: Apache-2.0
"""The host's side of the system tests: finds out which are meant, has them run in guests, and adds
up what they gave. Started by run.sh, which says what it takes."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "functional"))

from bed import guests, machines, plan  # noqa: E402
from bed.plan import Planned  # noqa: E402
from harness import machine as qemu  # noqa: E402
from harness.debian_kernel import DEFAULT_SERIES, META_PACKAGES, KernelUnavailable  # noqa: E402


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", add_help=False)
    parser.add_argument("--kernel", choices=META_PACKAGES)
    parser.add_argument("--machine", choices=machines.NAMES, default=machines.STANDARD)
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("OVDA_TEST_JOBS") or 2))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--shell", action="store_true")
    parser.add_argument("--stack", action="store_true")
    parser.add_argument("--bound", type=float, default=600)
    parser.add_argument("--junitxml", type=Path)
    parser.add_argument("names", nargs="*")
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    options.further = words[split + 1:]
    return options


def collect(names: list[str], kernel: str | None) -> list[Planned]:
    """The tests that are meant, from what pytest finds. Ends the program if there are none."""
    with tempfile.NamedTemporaryFile() as target:
        done = subprocess.run(
            guests.pytest_words("--collect-only", "-q", f"--plan={target.name}"), cwd=HERE,
            capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stdout}{done.stderr}")
        found = [Planned(*entry) for entry in json.load(target)]
    for name in names:
        if not any(plan.begins_with(test.test, name) for test in found):
            sys.exit(f"run.sh: no test is called {name}, nor does one begin so")
    if names:
        found = [test for test in found
                 if any(plan.begins_with(test.test, name) for name in names)]
    if kernel:
        found = [test._replace(kernels=[kernel]) for test in found if kernel in test.kernels]
    return found


def report(results: guests.Results, junitxml: Path | None) -> int:
    suite = ElementTree.Element("testsuite", name="system")
    for (series, machine, test), outcome in results.items():
        path, _, function = test.partition("::")
        case = ElementTree.SubElement(suite, "testcase", name=function,
                                      classname=f"system.{series}.{machine}.{path}")
        if outcome.outcome != "passed":
            kind = "skipped" if outcome.outcome == "skipped" else "failure"
            ElementTree.SubElement(case, kind).text = outcome.text
            lines = outcome.text.strip().splitlines() or [""]
            # An exception says at its end what it is, a guest that failed at its beginning.
            line = lines[0 if lines[0].startswith("the guest ") else -1]
            print(f"{outcome.outcome.upper()} {series} {machine} {test}: {line}")
    count = Counter(outcome.outcome for outcome in results.values())
    if junitxml:
        ElementTree.ElementTree(suite).write(junitxml)
    else:
        print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not results else 0


def run_tests(options: argparse.Namespace) -> int:
    tests = collect(options.names, options.kernel)
    if options.list:
        for test in tests:
            print("".join(f"{series} {test.machine} {test.test}\n" for series in test.kernels),
                  end="")
        return 0
    return report(guests.run_all(tests, options.further, options.jobs), options.junitxml)


def run_shell(options: argparse.Namespace) -> int:
    kernel = guests.kernel_with_modules(options.kernel or DEFAULT_SERIES)
    words = options.further or ["bash", "-i"]
    if options.stack:
        words = ["/usr/bin/python3", "-m", "bed.shell", *words]
    command = (qemu.environment(guests.environment())
               + f"cd {shlex.quote(os.getcwd())}\n{shlex.join(words)}")
    terminal = not options.further and sys.stdin.isatty()
    spec = machines.machine(options.machine, kernel, guests.visible())
    with tempfile.TemporaryDirectory(prefix="system.") as share:
        try:
            return qemu.run(spec, command, Path(share), output=sys.stdout, terminal=terminal,
                            bound=(lambda: None) if terminal else qemu.elapsed(options.bound)
                            ).status
        except qemu.GuestFailed as error:
            print(f"\n{error}", file=sys.stderr)
            return 1


def main() -> int:
    options = arguments()
    try:
        return run_shell(options) if options.shell else run_tests(options)
    except KernelUnavailable as error:
        sys.exit(f"no kernel for a guest: {error}")


if __name__ == "__main__":
    sys.exit(main())
