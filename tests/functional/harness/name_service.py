# SPDX-License-Identifier: Apache-2.0
"""A name service (nsswitch.conf(5)) that takes its time: tests/nss/slow_accounts.c."""

import contextlib
import os
from pathlib import Path

from .namespaces import put_in_place_of
from .sandbox import Sandbox
from .wait import wait_for

# The user that it knows.
SLOW = "slow"


class SlowNameService:
    """What the agent of a sandbox asks after the files. The agent is started anew for it."""

    def __init__(self, box: Sandbox) -> None:
        module = box.build / "tests/nss/libnss_ovdatest.so.2"
        assert module.exists(), f"{module} is not built"
        self._fifo = box.folder / "slow-accounts"
        os.mkfifo(self._fifo)
        switch = box.folder / "nsswitch.conf"
        switch.write_text("passwd: files ovdatest\ngroup: files\n")
        put_in_place_of(switch, Path("/etc/nsswitch.conf"))
        box.agent.stop()
        box.agent.env |= {"LD_LIBRARY_PATH": str(module.parent),
                          "OVDA_SLOW_ACCOUNTS": str(self._fifo)}
        box.start_agent()

    def answer(self, uid: int) -> None:
        """Tells the number of the user to whoever is waiting for it, or will be soon."""
        with os.fdopen(wait_for(self._writer, 10, "the user to be looked up"), "w") as writer:
            writer.write(str(uid))

    def _writer(self) -> int | None:
        with contextlib.suppress(OSError):  # ENXIO: nobody reads
            return os.open(self._fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return None
