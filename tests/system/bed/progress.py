# SPDX-License-Identifier: Apache-2.0
"""How a run in the guest tells the host what it does: a line of JSON for each event, in a file that
both see. Whatever becomes of the guest, the host knows which test was running, and for how long it
may."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

# Bounds are for guests that hang, not for a measure of speed: on a machine that is busy with other
# things QEMU may be given a tenth of a processor.
#
# On top of a test's own bound, for fixtures, and for the guest to end the test by itself.
GRACE = 120.0
# Between two tests, and for pytest to start and to end.
BETWEEN = 600.0


class Writer:
    """In the guest."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a")

    def started(self, test: str, bound: float) -> None:
        self._write({"test": test, "bound": bound})

    def ended(self, test: str, outcome: str, text: str) -> None:
        self._write({"test": test, "outcome": outcome, "text": text})

    def _write(self, event: dict[str, object]) -> None:
        self._stream.write(json.dumps(event) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


class Outcome(NamedTuple):
    outcome: str  # passed, failed or skipped.
    text: str  # Why, if it did not pass.


class Reader:
    """On the host."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.outcomes: dict[str, Outcome] = {}
        self.running: str | None = None
        self._until: float | None = None

    def late(self) -> str | None:
        """Takes in what is new; why the guest has to be ended, if it has to. The first call is when
        pytest starts."""
        if self._until is None:
            self._until = time.monotonic() + BETWEEN
        self._read()
        if time.monotonic() < self._until:
            return None
        return f"{self.running or 'pytest'} hangs"

    def _read(self) -> None:
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return
        whole = data[:data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            event = json.loads(line)
            if "bound" in event:
                self.running = event["test"]
                self._until = time.monotonic() + event["bound"] + GRACE
            else:
                self.running = None
                self.outcomes[event["test"]] = Outcome(event["outcome"], event["text"])
                self._until = time.monotonic() + BETWEEN
