#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Generates what is derived from the schema.

    generate.py cpp DIR     C++ types with encoding, decoding and range checks
    generate.py docs DIR    the reference pages, and the lists in README and man page
    generate.py check DIR   exit status 1 if one of them is not what `docs` would write
    generate.py ovs TREE    the parts of a patched Open vSwitch source tree that list the options
    generate.py ovs-check TREE   exit status 1 if they are not what `ovs` would write
"""

import json
import pathlib
import sys

import generate_cpp
import generate_docs
import generate_ovs

HERE = pathlib.Path(__file__).resolve().parent
README = HERE.parent / "README.md"
AGENT_MAN_PAGE = HERE.parent / "ovs-vdpa-agent/ovs-vdpa-agent.8"


def load():
    """Returns the three schema files as one dictionary, after checking what refers to what."""
    schema = {name: json.loads((HERE / f"{name}.json").read_text())
              for name in ("options", "status", "engine")}
    reasons = {reason["name"] for reason in schema["status"]["reasons"]}
    states = {state["name"] for state in schema["status"]["states"]}
    for scope in ("interface", "global"):
        for key in schema["options"][scope]["keys"]:
            if key["error"] not in reasons:
                sys.exit(f"options.json: {key['name']}: no reason {key['error']}")
    for reason in schema["status"]["reasons"]:
        if "state" in reason and reason["state"] not in states:
            sys.exit(f"status.json: {reason['name']}: no state {reason['state']}")
    types = {t["name"] for t in schema["engine"]["types"]}
    for call in schema["engine"]["methods"] + schema["engine"]["notifications"]:
        for part in ("params", "result"):
            if part in call and call[part] not in types:
                sys.exit(f"engine.json: {call['name']}: no type {call[part]}")
    return schema


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("cpp", "docs", "check", "ovs", "ovs-check"):
        sys.exit(__doc__)
    command, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    schema = load()
    if command in ("ovs", "ovs-check"):
        stale = generate_ovs.stale(schema, folder, write=command == "ovs")
        if stale:
            sys.exit("not what the schema says: " + "; ".join(stale))
        return
    files = generate_cpp.files(schema) if command == "cpp" else generate_docs.files(schema)
    files = {folder / name: text for name, text in files.items()}
    if command != "cpp":
        files[README] = generate_docs.readme(schema, README.read_text())
        files[AGENT_MAN_PAGE] = generate_docs.agent_man_page(schema, AGENT_MAN_PAGE.read_text())
    if command == "check":
        stale = [path.name for path, text in files.items()
                 if not path.exists() or path.read_text() != text]
        if stale:
            sys.exit(f"not what the schema says: {', '.join(stale)}; "
                     f"run schema/generate.py docs {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        # A page of the reference that changes is no reason to compile everything again.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


if __name__ == "__main__":
    main()
