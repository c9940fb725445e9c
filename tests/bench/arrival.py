# SPDX-License-Identifier: Apache-2.0
"""How long until ports are there."""

import contextlib
import select
import socket
import time
from pathlib import Path
from typing import Mapping, NamedTuple

import measure  # noqa: F401  (makes the functional tests' harness importable)

from harness.vhost_user import answered, ask
from ovsdb import Ovsdb

BOUND = 180


class Arrival(NamedTuple):
    """Seconds until every port..."""

    connection: float  # ...took a connection
    answer: float  # ...answered GET_FEATURES, asked for as soon as the connection was made
    ofport: float  # ...had been given a port number by ovs-vswitchd


def arrive(database: Ovsdb, sockets: Mapping[str, Path], step: float,
           switch: bool = True) -> Arrival:
    """Waits for the ports of those names and sockets, which were added just now. Connections stay
    until all are there. Looks every `step` seconds, at one socket, the last that is missing, and
    every fourth time at one row: looking at all would take the machine from those that work.
    Without `switch` there is nobody to give an ofport."""
    begin = time.monotonic()
    to_connect, without_ofport = list(sockets), list(sockets) if switch else []
    asked: list[socket.socket] = []
    connection = answer = ofport = next_look = begin
    with contextlib.ExitStack() as closing:
        while to_connect or asked or without_ofport:
            if time.monotonic() - begin > BOUND:
                raise RuntimeError(f"after {BOUND} s {len(to_connect)} ports take no connection, "
                                   f"{len(asked)} do not answer, {len(without_ofport)} have no "
                                   "ofport")
            while to_connect and (made := ask(sockets[to_connect[-1]])):
                connection = time.monotonic()
                asked.append(closing.enter_context(made))
                to_connect.pop()
            if without_ofport and time.monotonic() >= next_look:
                if database.ofport(without_ofport[-1]) > 0:
                    ofports = database.ofports()
                    ofport = time.monotonic()
                    without_ofport = [name for name in without_ofport if ofports[name] <= 0]
                next_look = time.monotonic() + 4 * step
            for ready in select.select(asked, [], [], step)[0]:
                if not answered(ready):
                    raise RuntimeError("a port hung up instead of answering")
                answer = time.monotonic()
                asked.remove(ready)
    return Arrival(connection - begin, answer - begin, ofport - begin)
