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
from harness.hooks import pytest_pyfunc_call, pytest_runtest_makereport  # noqa: E402, F401
from harness.sandbox import DAEMONS, Sandbox, build_folder  # noqa: E402


def pytest_sessionstart(session: pytest.Session) -> None:
    if os.geteuid() != 0:
        pytest.exit("the functional tests have to be run by root", returncode=2)
    for daemon in DAEMONS:
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


@pytest.fixture(scope="session")
def qemu_kernel() -> Kernel:
    """For tests that boot QEMU; skips where no kernel can be had. Of the session, so that it comes
    before any sandbox: from within one no package can be fetched."""
    try:
        return debian_kernel()
    except KernelUnavailable as error:
        pytest.skip(f"no kernel for QEMU: {error}")
