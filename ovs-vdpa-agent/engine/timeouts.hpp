// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

namespace vdpa::agent::engine {

/* Between attempts to connect. Short, because a guest waits for the engine to be told its ports;
 * an attempt costs one system call. */
inline constexpr std::chrono::milliseconds reconnect_interval{100};

/* An answer that takes longer means that the engine hangs: its RPC thread only accepts work. */
inline constexpr std::chrono::seconds call_timeout{10};

/* DPDK's start clears the memory that it takes, which may be many gigabytes of hugepages. */
inline constexpr std::chrono::seconds start_timeout{180};

}  // namespace vdpa::agent::engine
