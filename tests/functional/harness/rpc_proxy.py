# SPDX-License-Identifier: Apache-2.0
"""What lies between the agent and an engine, so that a test can take it away.

A process of its own, as a sandbox's namespaces can only be left by a process of one thread."""

import os
import select
import socket
import subprocess
import sys
from pathlib import Path


class RpcProxy:
    """Listens on `path`, and connects whoever comes to `engine`."""

    def __init__(self, path: Path, engine: Path) -> None:
        self._process = subprocess.Popen([sys.executable, __file__, str(path), str(engine)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._done()

    def withhold_answers(self) -> None:
        """Nothing that the engine says arrives from now on."""
        self._order("withhold")

    def cut(self) -> None:
        """Ends the connections, with what is on its way. Later ones have answers again."""
        self._order("cut")

    def close(self) -> None:
        """Connects nobody any more; ends with the last connection."""
        self._order("close")

    def _order(self, word: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        self._done()

    def _done(self) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline() == "done\n", "the proxy has died"


class _Proxy:
    """The process. Until close() it ends with whoever gives orders."""

    def __init__(self, path: str, engine: str) -> None:
        self._path = path
        self._engine = engine
        self._others: dict[socket.socket, socket.socket] = {}  # the ends of each connection
        self._engine_ends: set[socket.socket] = set()
        self._withheld = False
        self._is_open = True
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen()

    def run(self) -> None:
        print("done", flush=True)
        while self._is_open or self._others:
            silent = self._engine_ends if self._withheld else set()
            sources = [sys.stdin, self._listener] if self._is_open else []
            for source in select.select([*sources, *(set(self._others) - silent)], [], [])[0]:
                if source is sys.stdin:
                    self._obey()
                elif source is self._listener:
                    self._connect()
                elif source in self._others:
                    self._pass_on(source)

    def _obey(self) -> None:
        word = os.read(sys.stdin.fileno(), 100).decode().strip()
        if word == "withhold":
            self._withheld = True
        elif word == "cut":
            self._withheld = False
            for end in list(self._others):
                self._end(end)
        else:
            self._is_open = False
            self._listener.close()
            os.unlink(self._path)
            if not word:
                sys.exit()
        print("done", flush=True)

    def _connect(self) -> None:
        agent, _ = self._listener.accept()
        engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            engine.connect(self._engine)
        except OSError:
            engine.close()
            agent.close()
            return
        self._others |= {agent: engine, engine: agent}
        self._engine_ends.add(engine)

    def _pass_on(self, source: socket.socket) -> None:
        try:
            data = source.recv(65536)
            self._others[source].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(source)

    def _end(self, end: socket.socket) -> None:
        if end in self._others:
            for each in (end, self._others[end]):
                del self._others[each]
                self._engine_ends.discard(each)
                each.close()


if __name__ == "__main__":
    _Proxy(*sys.argv[1:]).run()
