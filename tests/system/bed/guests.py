# SPDX-License-Identifier: Apache-2.0
"""Runs tests in guests, on the host: which tests share a boot, and what became of each."""

import os
import shlex
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Iterator, NamedTuple, Sequence

from harness import machine as qemu
from harness.debian_kernel import Kernel, KernelUnavailable, debian_kernel
from harness.kernel_modules import add_modules
from harness.sandbox import SOURCE, build_folder

from . import machines
from .plan import Planned
from .progress import Outcome, Reader

HERE = Path(__file__).resolve().parents[1]
# How much longer than on the host things may take, in an emulated guest on a busy machine.
PATIENCE = "4"
# So many tests share a boot at least, if there are as many, and at most: a boot costs as much as a
# few tests, and a guest that fails is booted again for the rest of them.
SHARE_BOOT = 8, 25

# A test in a guest: the kernel's series, the machine's name, and what pytest calls it.
Results = dict[tuple[str, str, str], Outcome]


class Share(NamedTuple):
    """Tests that share a boot."""

    series: str
    machine: str
    tests: list[str]
    number: int

    @property
    def title(self) -> str:
        return f"{self.series} {self.machine} {self.number}"


def kernel_with_modules(series: str) -> Kernel:
    kernel = debian_kernel(series)
    add_modules(kernel)
    return kernel


def environment() -> dict[str, str]:
    """What programs in the guest are told."""
    passed = {key: value for key, value in os.environ.items()
              if key.startswith("OVDA_") or key.endswith("SAN_OPTIONS")}
    return {**passed, "OVDA_BUILD": str(build_folder()), "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1", "OVDA_PATIENCE": PATIENCE,
            "PYTHONPATH": f"{HERE.parent / 'functional'}:{HERE}"}


def visible() -> list[Path]:
    """Folders that the guest has to see, wherever they are."""
    folders = [SOURCE, build_folder(), Path.cwd()]
    if other := os.environ.get("OVDA_OVS_BIN"):
        folders.append(Path(other))
    return folders


def pytest_words(*words: str) -> list[str]:
    return ["/usr/bin/python3", "-m", "pytest", "-c", str(HERE / "pytest.ini"), *words]


class _Prefixed:
    """Writes whole lines, each with a prefix, so that what two guests say can be told apart."""

    _lock = threading.Lock()

    def __init__(self, prefix: str, target: IO[str]) -> None:
        self._prefix = prefix
        self._target = target
        self._pending = ""

    def write(self, text: str) -> int:
        *lines, self._pending = (self._pending + text).split("\n")
        with self._lock:
            self._target.writelines(f"{self._prefix}{line}\n" for line in lines)
            self._target.flush()
        return len(text)

    def flush(self) -> None:
        """Lines go out when they are whole."""


def shares(tests: Sequence[Planned], jobs: int) -> Iterator[Share]:
    groups: dict[tuple[str, str], list[str]] = {}
    for test in tests:
        for series in test.kernels:
            groups.setdefault((series, test.machine), []).append(test.test)
    for (series, machine), members in groups.items():
        size = max(SHARE_BOOT[0], min(SHARE_BOOT[1], -(-len(members) // jobs)))
        for number, start in enumerate(range(0, len(members), size)):
            yield Share(series, machine, members[start:start + size], number + 1)


def run_all(tests: Sequence[Planned], further: list[str], jobs: int) -> Results:
    """Every test on every kernel that it is for; `further` are arguments of pytest. Up to `jobs`
    guests run at a time."""
    results: Results = {}
    with tempfile.TemporaryDirectory(prefix="system.") as name, ThreadPoolExecutor(jobs) as pool:
        def run(share: Share) -> tuple[Share, dict[str, Outcome]]:
            output: IO[str] = sys.stdout
            if jobs > 1:
                output = _Prefixed(f"{share.title}| ", sys.stdout)  # type: ignore[assignment]
            return share, _run_share(share, further, Path(name), output)
        for share, outcomes in pool.map(run, shares(tests, jobs)):
            results |= {(share.series, share.machine, test): outcome
                        for test, outcome in outcomes.items()}
    return results


class _Boot(NamedTuple):
    outcomes: dict[str, Outcome]  # Of the tests that ended, by themselves or with the guest.
    guest_failed: bool


def _run_share(share: Share, further: list[str], folder: Path,
               output: IO[str]) -> dict[str, Outcome]:
    """A guest that fails in a test is followed by another for those that were not yet run."""
    try:
        kernel = kernel_with_modules(share.series)
    except KernelUnavailable as error:
        output.write(f"no kernel {share.series} for a guest: {error}\n")
        return {test: Outcome("skipped", str(error)) for test in share.tests}
    outcomes: dict[str, Outcome] = {}
    left = list(share.tests)
    again = True
    while left and again:
        output.write(f"=== Linux {kernel.release}, machine {share.machine}: {len(left)} test(s)\n")
        boot = _boot(kernel, share.machine, left, further, folder, output)
        outcomes |= boot.outcomes
        left = [test for test in left if test not in boot.outcomes]
        # Without a test that ended there is no reason to expect more of another guest.
        again = boot.guest_failed and len(boot.outcomes) > 1
    return outcomes | {test: Outcome("failed", "did not run") for test in left}


def _boot(kernel: Kernel, machine: str, tests: list[str], further: list[str], folder: Path,
          output: IO[str]) -> _Boot:
    share = Path(tempfile.mkdtemp(dir=folder))
    (share / "tests").write_text("".join(f"{test}\n" for test in tests))
    words = pytest_words("-v", f"--tests={qemu.SHARE}/tests", f"--progress={qemu.SHARE}/progress",
                         *further)
    command = (qemu.environment({**environment(), "OVDA_KERNEL": kernel.series})
               # To a terminal pytest would say more than fits into lines.
               + f"cd {shlex.quote(str(HERE))}\n{shlex.join(words)} 2>&1 | cat")
    reader = Reader(share / "progress")
    spec = machines.machine(machine, kernel, visible())
    try:
        try:
            qemu.run(spec, command, share, output=output, bound=reader.late)
        except qemu.NoBoot as error:
            # No test has to do with that; a machine that gives QEMU too little time has.
            output.write(f"\n{error}\nonce more\n")
            qemu.run(spec, command, share, output=output, bound=reader.late)
        reader.late()
        return _Boot(reader.outcomes, False)
    except qemu.GuestFailed as error:
        reader.late()
        output.write(f"\n{error}\n")
        # pytest would have told of these at its end.
        output.write("".join(f"--- {test}\n{outcome.text}\n"
                             for test, outcome in reader.outcomes.items()
                             if outcome.outcome == "failed"))
        culprit = reader.running or next(
            (test for test in tests if test not in reader.outcomes), tests[-1])
        return _Boot(reader.outcomes | {culprit: Outcome("failed", str(error))}, True)
