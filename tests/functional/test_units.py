# SPDX-License-Identifier: Apache-2.0
"""What the units of the daemons let them do, for the service manager says no where the tests run
without it."""

from pathlib import Path

import pytest

from harness.sandbox import build_folder

AGENT = "ovs-vdpa-agent/ovs-vdpa-agent.service"
ENGINE = "engine/ovs-vdpa-engine.service"


class Unit:
    def __init__(self, path: Path) -> None:
        self._values: dict[str, list[str]] = {}
        section = ""
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and not line.startswith("#"):
                key, value = line.split("=", 1)
                self._values.setdefault(f"{section}.{key}", []).append(value)

    def words(self, key: str) -> list[str]:
        return [word for value in self._values.get(key, []) for word in value.split()]

    def values(self, key: str) -> list[str]:
        return self._values.get(key, [])


@pytest.mark.parametrize("name", [AGENT, ENGINE])
def test_daemon_may_open_vdpa_devices(name: str) -> None:
    unit = Unit(build_folder() / name)
    assert unit.values("Service.DevicePolicy") == ["closed"]
    assert "/dev/net/tun rw" in unit.values("Service.DeviceAllow")
    # The engine serves them. The agent looks whether one is in use before it removes it: to one
    # that may not look, every device would seem to be free.
    assert "char-vhost-vdpa rw" in unit.values("Service.DeviceAllow")
    # Devices without a driver are not known to the service manager, for good.
    for module in ("tun", "vhost_vdpa"):
        assert f"modprobe@{module}.service" in unit.words("Unit.Wants")
        assert f"modprobe@{module}.service" in unit.words("Unit.After")


@pytest.mark.parametrize("name", [AGENT, ENGINE])
def test_daemon_is_never_given_up(name: str) -> None:
    unit = Unit(build_folder() / name)
    assert unit.values("Service.Restart") in (["always"], ["on-failure"])
    # Without this, five failures within ten seconds are the end.
    assert unit.values("Unit.StartLimitIntervalSec") == ["0"]
