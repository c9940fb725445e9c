# SPDX-License-Identifier: Apache-2.0
"""A plain OVSDB client (RFC 7047), so that what is timed begins with the reply to a transaction and
not with the end of a command-line tool."""

import itertools
import json
import socket
from pathlib import Path
from typing import NamedTuple


class Interface(NamedTuple):
    ofport: int  # 0: none
    external_ids: dict[str, str]


class Ovsdb:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._buffer = ""
        self._decoder = json.JSONDecoder()
        self._ids = itertools.count()

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> dict:
        while True:
            try:
                message, end = self._decoder.raw_decode(self._buffer)
                self._buffer = self._buffer[end:].lstrip()
                return message
            except json.JSONDecodeError:
                data = self._socket.recv(1 << 20)
                assert data, "ovsdb-server closed the connection"
                self._buffer += data.decode()

    def transact(self, *operations: dict) -> list[dict]:
        number = next(self._ids)
        request = {"id": number, "method": "transact", "params": ["Open_vSwitch", *operations]}
        self._socket.sendall(json.dumps(request).encode())
        while True:
            message = self._read()
            if message.get("method") == "echo":
                reply = {"id": message["id"], "result": message["params"], "error": None}
                self._socket.sendall(json.dumps(reply).encode())
            elif message.get("id") == number:
                errors = [r for r in message["result"] if r and r.get("error")]
                assert not message.get("error") and not errors, message
                return message["result"]

    def add_ports(self, bridge: str, ports: dict[str, dict], *further: dict) -> None:
        """Adds ports in one transaction; a port's Interface row has the given columns. `further`
        operations are part of it."""
        operations = list(further)
        for number, (name, columns) in enumerate(ports.items()):
            operations += [
                {"op": "insert", "table": "Interface", "uuid-name": f"i{number}",
                 "row": {"name": name, **columns}},
                {"op": "insert", "table": "Port", "uuid-name": f"p{number}",
                 "row": {"name": name, "interfaces": ["named-uuid", f"i{number}"]}}]
        uuids = ["set", [["named-uuid", f"p{number}"] for number in range(len(ports))]]
        operations.append({"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                           "mutations": [["ports", "insert", uuids]]})
        operations.append({"op": "mutate", "table": "Open_vSwitch", "where": [],
                           "mutations": [["next_cfg", "+=", 1]]})
        self.transact(*operations)

    def delete_ports(self, bridge: str, names: list[str]) -> None:
        found = self.transact(*[{"op": "select", "table": "Port", "columns": ["_uuid"],
                                 "where": [["name", "==", name]]} for name in names])
        uuids = ["set", [row["_uuid"] for result in found for row in result["rows"]]]
        self.transact({"op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                       "mutations": [["ports", "delete", uuids]]},
                      {"op": "mutate", "table": "Open_vSwitch", "where": [],
                       "mutations": [["next_cfg", "+=", 1]]})

    def interfaces(self, name: str | None = None) -> dict[str, Interface]:
        """All, or the one of that name."""
        rows = self.transact({"op": "select", "table": "Interface",
                              "columns": ["name", "ofport", "external_ids"],
                              "where": [["name", "==", name]] if name else []})[0]["rows"]
        return {row["name"]: Interface(row["ofport"] if isinstance(row["ofport"], int) else 0,
                                       dict(row["external_ids"][1])) for row in rows}
