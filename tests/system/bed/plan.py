# SPDX-License-Identifier: Apache-2.0
"""Which test runs in which guest, and for how long. The marks of a test say so:

    @pytest.mark.kernels("6.1", "6.12")  on each of these kernels; by default the newest alone
    @pytest.mark.machine("viommu")       in that guest; by default the standard one
    @pytest.mark.bound(300)              at most so many seconds; by default six minutes
"""

from typing import Any, NamedTuple

import pytest

from harness.debian_kernel import DEFAULT_SERIES, META_PACKAGES

from .machines import NAMES, STANDARD

DEFAULT_BOUND = 360.0
MARKERS = ("kernels(series, ...): the kernels that the test is for",
           "machine(name): the guest that the test needs",
           "bound(seconds): how long the test may take")


class Planned(NamedTuple):
    test: str  # As pytest names it.
    kernels: list[str]
    machine: str


def _argument(item: pytest.Item, mark: str, default: Any) -> Any:
    found = item.get_closest_marker(mark)
    return found.args[0] if found else default


def bound(item: pytest.Item) -> float:
    return float(_argument(item, "bound", DEFAULT_BOUND))


def planned(item: pytest.Item) -> Planned:
    mark = item.get_closest_marker("kernels")
    kernels = list(mark.args) if mark else [DEFAULT_SERIES]
    machine = str(_argument(item, "machine", STANDARD))
    unknown = [name for name in kernels if name not in META_PACKAGES]
    if unknown or machine not in NAMES:
        raise pytest.UsageError(f"{item.nodeid} is for a kernel or machine that there is not: "
                                f"{' '.join([*unknown, machine])}")
    return Planned(item.nodeid, kernels, machine)


def begins_with(test: str, name: str) -> bool:
    """Whether the file or the function of the test is called so, or begins so."""
    path, _, function = test.partition("::")
    words = path.rsplit("/", 1)[-1].removesuffix(".py"), function.rsplit("::", 1)[-1]
    return any(word.startswith(name) or word.removeprefix("test_").startswith(name)
               for word in words)
