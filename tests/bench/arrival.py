# SPDX-License-Identifier: Apache-2.0
"""How long until ports are there."""

import contextlib
import ctypes
import os
import select
import socket
import time
from pathlib import Path
from typing import Callable, Iterator, Mapping, NamedTuple

import measure  # noqa: F401  (makes the functional tests' harness importable)

from harness.vhost_user import answered, ask
from ovsdb import Interface, Ovsdb

BOUND = 180


class Arrival(NamedTuple):
    """Seconds until every port..."""

    connection: float  # ...took a connection
    answer: float  # ...answered GET_FEATURES, asked for as soon as the connection was made
    ofport: float  # ...had been given a port number by ovs-vswitchd
    usable: float  # ...had all of these, and was called served in its row where there is such a word


class News:
    """Files that come into a folder (inotify(7)). To look for them again and again would take the
    machine from those that make them."""

    _CREATED, _MOVED_HERE = 0x100, 0x80

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = self._CREATED | self._MOVED_HERE
        if self._fd < 0 or libc.inotify_add_watch(self._fd, os.fsencode(folder), mask) < 0:
            raise OSError(ctypes.get_errno(), f"inotify of {folder}")

    def fileno(self) -> int:
        return self._fd

    def take(self) -> None:
        os.read(self._fd, 1 << 16)

    def close(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def first_in_line() -> Iterator[None]:
    """Who looks at the clock does not wait for a processor, and does next to nothing on it."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def arrive(database: Ovsdb, sockets: Mapping[str, Path], add: Callable[[], object], step: float,
           is_served: Callable[[Interface], bool] | None) -> Arrival:
    """Has the ports of those names and sockets, in one folder, added by `add`, and waits for them
    from the reply on. Connections stay until all are there. When a file has come into the folder,
    but not more often than every `step` seconds, it looks at one socket, the last that is missing;
    and now and then at one row, which `is_served` judges; none: there is nobody to write to it."""
    look_interval = max(4 * step, 0.002)
    to_connect, last = list(sockets), next(reversed(sockets))
    asked: list[socket.socket] = []
    with contextlib.ExitStack() as closing:
        closing.enter_context(first_in_line())
        news = closing.enter_context(
            contextlib.closing(News(next(iter(sockets.values())).parent)))
        add()
        connection = answer = begin = time.monotonic()
        ofport = served = 0.0 if is_served else begin
        next_look = begin + look_interval
        while to_connect or asked or not served:
            if time.monotonic() - begin > BOUND:
                raise RuntimeError(f"after {BOUND} s {len(to_connect)} ports take no connection, "
                                   f"{len(asked)} do not answer, ofport {ofport}, served {served}")
            while to_connect and (made := ask(sockets[to_connect[-1]])):
                connection = time.monotonic()
                asked.append(closing.enter_context(made))
                to_connect.pop()
            if is_served and not served and time.monotonic() >= next_look:
                if database.interfaces(last)[last].ofport > 0:
                    rows = database.interfaces()
                    now = time.monotonic()
                    if all(rows[name].ofport > 0 for name in sockets):
                        ofport = ofport or now
                        served = now if all(is_served(rows[name]) for name in sockets) else 0.0
                next_look = time.monotonic() + look_interval
            # One that is there may not listen yet.
            is_close = to_connect and sockets[to_connect[-1]].exists()
            until_look = 1 if served else max(0, next_look - time.monotonic())
            pause = step if is_close else until_look
            for ready in select.select([news, *asked], [], [], pause)[0]:
                if ready is news:
                    news.take()
                    if len(sockets) > 1:
                        time.sleep(step)
                    continue
                if not answered(ready):
                    raise RuntimeError("a port hung up instead of answering")
                answer = time.monotonic()
                asked.remove(ready)
    usable = max(connection, answer, served)
    return Arrival(*(moment - begin for moment in (connection, answer, ofport, usable)))
