# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests. They run in a guest that run.sh boots: the machine is the tests'
own, and each of them leaves it as it was. On the host pytest only collects them."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "functional")]

from bed import plan, sriov, vdpa  # noqa: E402
from bed.engine_alone import EngineAlone  # noqa: E402
from bed.eswitch import Eswitch  # noqa: E402
from bed.kernel import KernelLog  # noqa: E402
from bed.netdevsim import NetdevsimBus  # noqa: E402
from bed.progress import Writer  # noqa: E402
from bed.sriov import PciPf  # noqa: E402
from bed.stack import Stack  # noqa: E402
from bed.vdpa import VdpaDevices  # noqa: E402
from harness import hooks  # noqa: E402
from harness.hooks import pytest_pyfunc_call  # noqa: E402, F401

_LOG = pytest.StashKey[KernelLog]()
_WRITER = pytest.StashKey[Writer]()
_OUTCOME = pytest.StashKey[tuple[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("system tests")
    group.addoption("--plan", help="file to write where each test is to run")
    group.addoption("--tests", help="file with the tests to run, one a line")
    group.addoption("--progress", help="file to write to what happens")


def pytest_configure(config: pytest.Config) -> None:
    for marker in plan.MARKERS:
        config.addinivalue_line("markers", marker)
    if progress := config.getoption("--progress"):
        config.stash[_WRITER] = Writer(Path(progress))
    elif not config.getoption("--collect-only"):
        pytest.exit("the system tests run in a guest: tests/system/run.sh", returncode=2)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if target := config.getoption("--plan"):
        Path(target).write_text(json.dumps([plan.planned(item) for item in items]))
    if source := config.getoption("--tests"):
        wanted = Path(source).read_text().splitlines()
        items[:] = [item for item in items if item.nodeid in wanted]


class TestHangs(BaseException):
    """Not an exception that a test's own code would catch."""

    __test__ = False


def _hangs(*_: object) -> None:
    raise TestHangs("the test takes longer than its bound")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tells the host, bounds the test, and looks at what the kernel said meanwhile."""
    writer = item.config.stash[_WRITER]
    bound = plan.bound(item)
    writer.started(item.nodeid, bound)
    log = item.stash[_LOG] = KernelLog()
    item.stash[_OUTCOME] = ("passed", "")
    yield
    log.close()
    writer.ended(item.nodeid, *item.stash[_OUTCOME])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.setitimer(signal.ITIMER_REAL, plan.bound(item))
    outcome = yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    faults = item.stash[_LOG].faults()
    if faults and outcome.excinfo is None:  # type: ignore[attr-defined]
        outcome.force_exception(AssertionError(  # type: ignore[attr-defined]
            "the kernel objects:\n" + "\n".join(item.stash[_LOG].lines())))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: object) -> Iterator[None]:
    inner = hooks.pytest_runtest_makereport(item)
    next(inner)
    outcome = yield
    try:
        inner.send(outcome)
    except StopIteration:
        pass
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        report.sections.append(("kernel", "\n".join(item.stash[_LOG].lines()[-40:])))
        item.stash[_OUTCOME] = ("failed", report.longreprtext)
        # At once, for a guest that fails later shows no summary.
        crash = getattr(report.longrepr, "reprcrash", None)
        terminal = item.config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line(f"\n{item.nodeid}: {crash.message if crash else report.longreprtext}")
    elif report.skipped and item.stash[_OUTCOME][0] == "passed":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        item.stash[_OUTCOME] = ("skipped", reason)


@pytest.fixture
def stack() -> Iterator[Stack]:
    """The whole stack on the kernel's datapath, with hw-offload=true."""
    with Stack() as box:
        yield box


@pytest.fixture
def stack_no_offload() -> Iterator[Stack]:
    """The same without hw-offload, as Open vSwitch is by default."""
    with Stack(hw_offload=False) as box:
        yield box


@pytest.fixture
def kernel_ovs() -> Iterator[Stack]:
    """Open vSwitch alone, with neither engine nor agent."""
    with Stack(engine=False, agent=False) as box:
        yield box


@pytest.fixture
def engine() -> Iterator[EngineAlone]:
    """The engine alone, with DPDK started."""
    with EngineAlone() as box:
        yield box


@pytest.fixture
def netdevsim() -> Iterator[NetdevsimBus]:
    """Makes switchdev NICs."""
    bus = NetdevsimBus()
    yield bus
    bus.close()


@pytest.fixture
def nvme_pf() -> Iterator[PciPf]:
    """A PF with SR-IOV on PCI, without VFs."""
    pf = sriov.find_nvme_pf()
    pf.set_vfs(0)
    yield pf
    pf.set_vfs(0)
    pf.set_autoprobe(True)


@pytest.fixture
def eswitch(nvme_pf: PciPf) -> Iterator[Eswitch]:
    """An eswitch of nvme_pf, which is to be plugged in."""
    played = Eswitch(nvme_pf.address)
    yield played
    played.unplug()


@pytest.fixture
def vdpa_sim() -> Iterator[VdpaDevices]:
    """Makes simulated kernel vDPA devices."""
    devices = vdpa.simulator()
    yield devices
    devices.close()


@pytest.fixture
def vdpa_sim_pinned() -> Iterator[VdpaDevices]:
    """The same, and they pin a front-end's memory as hardware does."""
    devices = vdpa.simulator(use_va=False)
    yield devices
    devices.close()


@pytest.fixture
def vp_vdpa() -> Iterator[VdpaDevices]:
    """Makes a kernel vDPA device of the virtio-net device of the machine `viommu`."""
    devices = vdpa.virtio_pci()
    yield devices
    devices.close()


@pytest.fixture
def kernel_series() -> str:
    """Which kernel this guest runs, as `kernels` names it."""
    return os.environ["OVDA_KERNEL"]
