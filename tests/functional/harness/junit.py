# SPDX-License-Identifier: Apache-2.0
"""Adds up the results of test runs: junit.py FILE... prints "N passed, N failed, N skipped". The
status is 1 if a test failed, if none passed, or if a file is missing."""

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter


def count(path: str) -> Counter[str]:
    result: Counter[str] = Counter()
    # A test that failed and whose clean-up failed too stands there twice.
    cases: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(path).iter("testcase"):
        key = case.get("classname", ""), case.get("name", "")
        if case.find("failure") is not None or case.find("error") is not None:
            cases[key] = "failed"
        elif case.find("skipped") is not None:
            cases.setdefault(key, "skipped")
        else:
            cases.setdefault(key, "passed")
    result.update(cases.values())
    return result


def main(paths: list[str]) -> int:
    total: Counter[str] = Counter()
    broken = False
    for path in paths:
        try:
            total += count(path)
        except (OSError, ElementTree.ParseError) as error:
            print(f"no results in {path}: {error}", file=sys.stderr)
            broken = True
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if broken or total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
