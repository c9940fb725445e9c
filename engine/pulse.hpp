// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace vdpa::engine {

/* By which a thread shows that it goes on. What it refers to must be there as long as the watchdog
 * runs. */
struct Pulse {
    std::string thread;
    /* How long the thread may take for one thing that it does, with much to spare. */
    std::chrono::seconds patience;
    /* Asks the thread for a beat, soon. Does not block. */
    std::function<void()> ask;
    /* How many there have been, asked for or not. */
    std::function<uint64_t()> beats;
};

}  // namespace vdpa::engine
