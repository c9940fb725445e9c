// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/* A vDPA device that stands for a NIC in tests: a driver of DPDK's virtual bus for devices called
 * vdpa_test..., which does in software what a NIC does, writes down what it is asked to do, and
 * fails when it is told to. Devargs:
 *
 *   queues=N       queue pairs, default 2
 *   features=HEX   virtio features, default all that a NIC would have, LOG_ALL with them
 *   protocol=HEX   vhost-user protocol features, default those of DPDK's mlx5
 *   stats=WHAT     names (default): three counters a ring; none: no such operations; einval,
 *                  enotsup, zero: what rings other than 0 answer
 *   doorbell=1     hands its doorbells to the front-end when it is configured
 *   move=1         frames that the guest sends come back to it, on the same pair
 *   control=NAME   an abstract socket for the functions below; see control.cpp
 *
 * Everything here is for any thread. */
namespace vdpa::test {

/* What the devices were asked to do since the last call of this, in order: "dev_conf",
 * "set_vring_state 3 1". Questions that change nothing (get_features and the like) are left out. */
std::vector<std::string> take_calls();

/* Writes a call of the test's own down, too. The result that it was told to fail with, or 0. */
int note_call(const std::string &call);

/* The next `count` times that `call` is asked for, it fails with `result`. */
void fail_call(const std::string &call, unsigned count, int result);
/* `call` takes that long from now on. */
void slow_call(const std::string &call, unsigned milliseconds);

/* Has the device go, as a NIC that is pulled does: DPDK is told, and it cannot be probed. */
void remove_device(const std::string &name);
/* Has it come back. */
void return_device(const std::string &name);

/* Frames that have been moved. */
uint64_t moved_frames();

/* Opens the socket for another process; nothing if that has been done. Never ends. */
void serve_control(const std::string &name);

}  // namespace vdpa::test
