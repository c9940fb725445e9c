# SPDX-License-Identifier: Apache-2.0
"""Finds what no daemon may leave behind in its log: undeclared warnings, sanitizer reports."""

import re
from pathlib import Path
from typing import Iterable

_LEVELS = {"EMER", "ERR", "WARN"}
# What a program writes past its logger when something is badly wrong.
_RAW_FAULT = re.compile(
    r"runtime error:|Sanitizer|assert|terminate called|PANIC|panic|[Ss]egmentation|corrupt|"
    r"stack smashing|buffer overflow detected", re.ASCII)


def faults(path: Path) -> list[str]:
    """Those in that file, if it is there."""
    try:
        return faults_in(path.read_text(errors="replace"))
    except FileNotFoundError:
        return []


def faults_in(text: str) -> list[str]:
    """Lines of level WARN or worse, and raw lines that tell of a crash.

    A line of a logger is `TIME|...|LEVEL|...`, the shape of Open vSwitch's vlog.
    """
    found = []
    for line in text.splitlines():
        fields = line.split("|", 4)
        if len(fields) >= 4:
            if _LEVELS.intersection(fields[1:4]):
                found.append(line)
        elif _RAW_FAULT.search(line):
            found.append(line)
    return found


def crashes(text: str) -> list[str]:
    """Of what a program wrote to its standard error, the lines that tell of a crash."""
    return [line for line in text.splitlines() if _RAW_FAULT.search(line)]


def unexpected(path: Path, expected: Iterable[re.Pattern[str]]) -> list[str]:
    patterns = list(expected)
    return [line for line in faults(path)
            if not any(pattern.search(line) for pattern in patterns)]


def read_expectations(path: Path) -> list[re.Pattern[str]]:
    """One regular expression a line; lines beginning with # give the reasons."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [re.compile(line) for line in lines if line and not line.startswith("#")]


def tail(path: Path, lines: int = 40) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no such file)"


class Mark:
    """The present end of a log; what comes after can be searched."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def new_text(self) -> str:
        if not self._path.exists():
            return ""
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            return stream.read().decode(errors="replace")
