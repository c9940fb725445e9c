# SPDX-License-Identifier: Apache-2.0
"""The host's side of the system tests: decides which guests are needed, boots one after the other,
and adds up what the tests in them gave. Started by run.sh, which says what it takes."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "functional"))

from bed import machines, plan  # noqa: E402
from bed.plan import Planned  # noqa: E402
from bed.progress import Outcome, Reader  # noqa: E402
from harness import machine as qemu  # noqa: E402
from harness.debian_kernel import (DEFAULT_SERIES, META_PACKAGES, Kernel,  # noqa: E402
                                   KernelUnavailable, debian_kernel)
from harness.kernel_modules import add_modules  # noqa: E402
from harness.sandbox import SOURCE, build_folder  # noqa: E402

# How much longer than on the host things may take, in an emulated guest on a busy machine.
PATIENCE = "4"

# A test in a guest: the kernel's series, the machine's name, and what pytest calls it.
Results = dict[tuple[str, str, str], Outcome]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.sh", add_help=False)
    parser.add_argument("--kernel", choices=META_PACKAGES)
    parser.add_argument("--machine", choices=machines.NAMES, default=machines.STANDARD)
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


def kernel_with_modules(series: str) -> Kernel:
    kernel = debian_kernel(series)
    add_modules(kernel)
    return kernel


def pytest_words(*words: str) -> list[str]:
    return ["/usr/bin/python3", "-m", "pytest", "-c", str(HERE / "pytest.ini"), *words]


def collect(folder: Path, names: list[str], kernel: str | None) -> list[Planned]:
    """The tests that are meant, from what pytest finds. Ends the program if there are none."""
    target = folder / "plan"
    done = subprocess.run(pytest_words("--collect-only", "-q", f"--plan={target}"), cwd=HERE,
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}")
    found = [Planned(*entry) for entry in json.loads(target.read_text())]
    for name in names:
        if not any(plan.begins_with(test.test, name) for test in found):
            sys.exit(f"run.sh: no test is called {name}, nor does one begin so")
    if names:
        found = [test for test in found
                 if any(plan.begins_with(test.test, name) for name in names)]
    if kernel:
        found = [test._replace(kernels=[kernel]) for test in found if kernel in test.kernels]
    return found


def environment() -> dict[str, str]:
    """What programs in the guest are told."""
    passed = {key: value for key, value in os.environ.items()
              if key.startswith("OVDA_") or key.endswith("SAN_OPTIONS")}
    return {**passed, "OVDA_BUILD": str(build_folder()), "PYTHONDONTWRITEBYTECODE": "1",
            "OVDA_PATIENCE": PATIENCE,
            "PYTHONPATH": f"{HERE.parent / 'functional'}:{HERE}"}


def visible() -> list[Path]:
    folders = [SOURCE, build_folder(), Path.cwd()]
    if other := os.environ.get("OVDA_OVS_BIN"):
        folders.append(Path(other))
    return folders


class Boot(NamedTuple):
    outcomes: dict[str, Outcome]  # Of the tests that ended, by themselves or with the guest.
    guest_failed: bool


def boot_tests(kernel: Kernel, machine: str, tests: list[str], further: list[str],
               folder: Path) -> Boot:
    """One guest's run of `tests`."""
    share = Path(tempfile.mkdtemp(dir=folder))
    (share / "tests").write_text("".join(f"{test}\n" for test in tests))
    words = pytest_words("-v", f"--tests={qemu.SHARE}/tests", f"--progress={qemu.SHARE}/progress",
                         *further)
    command = (qemu.environment({**environment(), "OVDA_KERNEL": kernel.series})
               + f"cd {shlex.quote(str(HERE))}\n{shlex.join(words)}")
    reader = Reader(share / "progress")
    spec = machines.machine(machine, kernel, visible())
    try:
        try:
            qemu.run(spec, command, share, output=sys.stdout, bound=reader.late)
        except qemu.NoBoot as error:
            # No test has to do with that; a machine that gives QEMU too little time has.
            print(f"\n{error}\nonce more", flush=True)
            qemu.run(spec, command, share, output=sys.stdout, bound=reader.late)
        reader.late()
        return Boot(reader.outcomes, False)
    except qemu.GuestFailed as error:
        reader.late()
        print(f"\n{error}", flush=True)
        culprit = reader.running or next(test for test in tests if test not in reader.outcomes)
        return Boot(reader.outcomes | {culprit: Outcome("failed", str(error))}, True)


def run_group(series: str, machine: str, tests: list[str], further: list[str],
              folder: Path) -> dict[str, Outcome]:
    """All of `tests` on that kernel and machine; a guest that fails in a test is followed by
    another for those that were not yet run."""
    try:
        kernel = kernel_with_modules(series)
    except KernelUnavailable as error:
        print(f"no kernel {series} for a guest: {error}", flush=True)
        return {test: Outcome("skipped", str(error)) for test in tests}
    outcomes: dict[str, Outcome] = {}
    left = list(tests)
    again = True
    while left and again:
        print(f"\n=== Linux {kernel.release}, machine {machine}: {len(left)} test(s)", flush=True)
        boot = boot_tests(kernel, machine, left, further, folder)
        outcomes |= boot.outcomes
        left = [test for test in left if test not in boot.outcomes]
        # Without a test that ended there is no reason to expect more of another guest.
        again = boot.guest_failed and len(boot.outcomes) > 1
    return outcomes | {test: Outcome("failed", "did not run") for test in left}


def run_tests(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="system.") as name:
        folder = Path(name)
        tests = collect(folder, options.names, options.kernel)
        groups: dict[tuple[str, str], list[str]] = {}
        for test in tests:
            for series in test.kernels:
                groups.setdefault((series, test.machine), []).append(test.test)
        if options.list:
            for (series, machine), members in groups.items():
                print("".join(f"{series} {machine} {member}\n" for member in members), end="")
            return 0
        results: Results = {}
        for (series, machine), members in groups.items():
            ended = run_group(series, machine, members, options.further, folder)
            results |= {(series, machine, test): outcome for test, outcome in ended.items()}
    return report(results, options.junitxml)


def report(results: Results, junitxml: Path | None) -> int:
    suite = ElementTree.Element("testsuite", name="system")
    for (series, machine, test), outcome in results.items():
        path, _, function = test.partition("::")
        case = ElementTree.SubElement(suite, "testcase", name=function,
                                      classname=f"system.{series}.{machine}.{path}")
        if outcome.outcome != "passed":
            kind = "skipped" if outcome.outcome == "skipped" else "failure"
            ElementTree.SubElement(case, kind).text = outcome.text
            first = outcome.text.strip().splitlines() or [""]
            print(f"{outcome.outcome.upper()} {series} {machine} {test}: {first[-1]}")
    count = Counter(outcome.outcome for outcome in results.values())
    if junitxml:
        ElementTree.ElementTree(suite).write(junitxml)
    else:
        print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] or not results else 0


def run_shell(options: argparse.Namespace) -> int:
    kernel = kernel_with_modules(options.kernel or DEFAULT_SERIES)
    words = options.further or ["bash", "-i"]
    if options.stack:
        words = ["/usr/bin/python3", "-m", "bed.shell", *words]
    command = (qemu.environment(environment()) + f"cd {shlex.quote(os.getcwd())}\n"
               + shlex.join(words))
    terminal = not options.further and sys.stdin.isatty()
    with tempfile.TemporaryDirectory(prefix="system.") as share:
        try:
            return qemu.run(machines.machine(options.machine, kernel, visible()), command,
                            Path(share), output=sys.stdout, terminal=terminal,
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
