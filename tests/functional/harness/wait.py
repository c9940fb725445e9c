# SPDX-License-Identifier: Apache-2.0
"""Waiting for a condition, with a bound."""

import os
import time
from typing import Callable, TypeVar

T = TypeVar("T")

# Where everything takes longer, as in a guest without KVM, so may what is waited for: the harness
# multiplies its bounds by this. A test whose subject is a time measures it by itself.
PATIENCE = float(os.environ.get("OVDA_PATIENCE") or 1)


class WaitTimeout(AssertionError):
    """The condition did not become true within the bound."""


def wait_for(condition: Callable[[], T], bound: float, what: str | Callable[[], str],
             interval: float = 0.01) -> T:
    """Calls `condition` until it returns something true, and returns that.

    `bound` is in seconds. `what` completes the sentence "timed out waiting for"; a callable is
    evaluated at the time-out, so that it can say what was there instead. The pause between two
    calls starts at `interval` and grows to a tenth of a second, so that waiting does not starve
    the daemons waited for.
    """
    bound *= PATIENCE
    end = time.monotonic() + bound
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            text = what() if callable(what) else what
            raise WaitTimeout(f"timed out after {bound:g} s waiting for {text}")
        time.sleep(interval)
        interval = min(interval * 1.5, 0.1)
