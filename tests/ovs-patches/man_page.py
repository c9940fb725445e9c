#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that ovs-vswitchd.conf.db(5), as a reader sees it, has each option of the schema with
its type, range, default and description.

    man_page.py PAGE
"""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "schema"))

import generate  # noqa: E402
import generate_docs  # noqa: E402

COLUMNS = {"interface": "options", "global": "other_config"}


def rendered(page):
    """The page as one line of words."""
    # Wide enough that nothing is broken or hyphenated.
    text = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-rLL=2000n", "-rHY=0", page],
                          check=True, capture_output=True, text=True).stdout
    return re.sub(r"\s+", " ", text)


def type_words(key):
    kind = key["type"]
    if kind == "boolean":
        return "string, either true or false"
    if kind == "integer":
        return f"containing an integer, in range {key['min']} to {key['max']}"
    if kind == "enum":
        return "string, either " + " or ".join(sorted(key["values"]))
    if kind in ("path", "string"):
        return f"string, at most {key['max_length']:,} characters long"
    return "string"


def wanted(column, key):
    """What has to stand in the section of an option, as (what it is, text)."""
    yield "type", type_words(key)
    yield "description", re.sub(r"\s+", " ", key["doc"])
    if key["type"] not in ("boolean", "integer", "enum", "string"):
        yield "range", f"Value: {generate_docs.option_range(key)}."
    if "default" in key:
        yield "default", f"Defaults to {key['default']}."


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = rendered(sys.argv[1])
    options = generate.load()["options"]
    faults, count = [], 0
    for scope, column in COLUMNS.items():
        for key in options[scope]["keys"]:
            # The summary of the table has the option, too, without the colon.
            head = f" {column} : {key['name']}: optional "
            begin = text.find(head)
            if begin < 0:
                faults.append(f"{column}:{key['name']} is missing")
                continue
            end = text.find(f" {column} : ", begin + len(head))
            section = text[begin:end]
            faults += [f"{column}:{key['name']} lacks its {what}: {words}"
                       for what, words in wanted(column, key) if words not in section]
            faults += [f"{column}:{alias} is missing" for alias in key.get("aliases", [])
                       if f" {column} : {alias}: " not in text]
            count += 1
    if faults or not count:
        sys.exit("\n".join(faults) or "the schema has no options")
    print(f"{count} options are in the page")


if __name__ == "__main__":
    main()
