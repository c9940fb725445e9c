# SPDX-License-Identifier: Apache-2.0
"""An eswitch for a PCI device that has none, played by a module of our own (ovda_eswitch.c): so
that there are VFs with drivers under it, a change of mode that takes its time, and one that the
device cannot be asked for."""

from pathlib import Path

from . import kernel
from .netdevsim import devlink

_MODULE = "ovda_eswitch"


class Eswitch:
    def __init__(self, address: str) -> None:
        self.handle = f"pci/{address}"
        self._address = address

    def plug(self, *, set_seconds: int = 0, get_error: int = 0) -> "Eswitch":
        """`set_seconds`: how long a change of mode takes. `get_error`: errno for who asks."""
        kernel.load(f"{_MODULE} pf={self._address} set_seconds={set_seconds} "
                    f"get_error={get_error}")
        return self

    def unplug(self) -> None:
        if kernel.loaded(_MODULE):
            kernel.unload(_MODULE)

    def set_get_error(self, error: int) -> None:
        Path(f"/sys/module/{_MODULE}/parameters/get_error").write_text(str(error))

    @property
    def mode(self) -> str:
        return devlink("dev", "eswitch", "show", self.handle)["dev"][self.handle]["mode"]
