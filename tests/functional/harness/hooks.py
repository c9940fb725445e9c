# SPDX-License-Identifier: Apache-2.0
"""What pytest does for a test with a sandbox. A conftest.py imports these hooks."""

from typing import Iterator, Protocol, runtime_checkable

import pytest

_STATE = pytest.StashKey[list[str]]()


@runtime_checkable
class Box(Protocol):
    """A sandbox, or what else has daemons."""

    def finish(self) -> None: ...

    def describe(self) -> str: ...


def _sandboxes(item: pytest.Item) -> list[Box]:
    arguments = getattr(item, "funcargs", {})
    # A fixture may hand on another's.
    found = {id(value): value for value in arguments.values() if isinstance(value, Box)}
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
