# SPDX-License-Identifier: Apache-2.0
"""What the system tests are written with: the stack on the kernel's datapath, and the devices of
the guest that they run in."""
