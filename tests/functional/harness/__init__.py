# SPDX-License-Identifier: Apache-2.0
"""Runs the real daemons in an isolated place: used by the functional tests, tests/sandbox.sh and
tests/demo.sh. Standard library only."""
