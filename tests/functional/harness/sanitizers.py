# SPDX-License-Identifier: Apache-2.0
"""What the sanitizers of an instrumented build are told, and the reports that they wrote."""

import os
from pathlib import Path

SUPPRESSIONS = Path(__file__).resolve().parents[1] / "lsan-suppressions.txt"
RACE_SUPPRESSIONS = Path(__file__).resolve().parents[2] / "tsan/suppressions.txt"

_PREFIX = "sanitizer"


def environment(logdir: Path) -> dict[str, str]:
    """For every program of a sandbox, not for the daemons alone: also one that a test starts by
    hand, or that detaches and lets go of its standard error, has to leave its report somewhere.

    g++'s UBSan takes no log_path beside AddressSanitizer, its reports are on standard error."""
    common = f"log_path={logdir / _PREFIX}:log_exe_name=1"
    options = {
        "ASAN_OPTIONS": f"{common}:strict_string_checks=1:detect_stack_use_after_return=1",
        "LSAN_OPTIONS": f"suppressions={SUPPRESSIONS}:print_suppressions=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": f"{common}:suppressions={RACE_SUPPRESSIONS}:second_deadlock_stack=1",
    }
    # What comes last counts: the caller's own options.
    return {name: ":".join(filter(None, [value, os.environ.get(name)]))
            for name, value in options.items()}


def reports(logdir: Path) -> list[str]:
    """What all programs together reported; the name of the file tells which one and its pid."""
    return [f"{path.name}:\n{path.read_text(errors='replace')}"
            for path in sorted(logdir.glob(f"{_PREFIX}.*"))]
