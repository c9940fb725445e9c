# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the functional tests. Each test has a sandbox of its own; a test passes only if its
sandbox also comes down without leaving anything behind and without an undeclared warning."""

import os
import sys
from pathlib import Path
from typing import Iterator

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.debian_kernel import Kernel, KernelUnavailable, debian_kernel  # noqa: E402
from harness.sandbox import Sandbox, build_folder  # noqa: E402

_STATE = pytest.StashKey[list[str]]()
_DAEMONS = ("engine/ovs-vdpa-engine", "ovs-vdpa-agent/ovs-vdpa-agent")


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0:
        pytest.exit("the functional tests have to be run by root", returncode=2)
    for daemon in _DAEMONS:
        if not (build_folder() / daemon).exists():
            pytest.exit(f"{build_folder() / daemon} is not built: run tests/setup.sh", returncode=2)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The whole stack, with an empty userspace bridge br0 as stock Open vSwitch has it."""
    with Sandbox() as box:
        yield box


@pytest.fixture
def sandbox_tso() -> Iterator[Sandbox]:
    """The same with userspace-tso-enable=true, so that offloads are offered to guests."""
    with Sandbox(userspace_tso=True) as box:
        yield box


@pytest.fixture
def qemu_kernel() -> Kernel:
    """For tests that boot QEMU; skips where no kernel can be had."""
    try:
        return debian_kernel()
    except KernelUnavailable as error:
        pytest.skip(f"no kernel for QEMU: {error}")


def _sandboxes(item: pytest.Item) -> list[Sandbox]:
    arguments = getattr(item, "funcargs", {})
    # A fixture may hand on another's.
    found = {id(value): value for value in arguments.values() if isinstance(value, Sandbox)}
    return list(found.values())


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    """Takes the sandbox down as a part of the test, so that what is left behind fails it; and
    notes what the sandbox was like when a test fails, before the fixture removes it."""
    names = pyfuncitem._fixtureinfo.argnames
    sandboxes = _sandboxes(pyfuncitem)
    try:
        pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
        for box in sandboxes:
            box.finish()
    except pytest.skip.Exception:
        raise
    except BaseException:
        pyfuncitem.stash[_STATE] = [box.describe() for box in sandboxes]
        raise
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.when == "call" and report.failed:
        for text in item.stash.get(_STATE, []):
            report.sections.append(("sandbox", text))
