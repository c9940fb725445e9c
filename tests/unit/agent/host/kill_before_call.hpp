// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

namespace vdpa::agent::host {

/* Runs `act` in a process that is killed when it is about to make its `calls`th system call.
 * Whether it had made fewer, and so was through. */
bool kill_before_call(int calls, const std::function<void()> &act);

/* More than any act makes. */
constexpr int most_calls = 2000;

}  // namespace vdpa::agent::host
