// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "engine/relay/guest_memory.hpp"

namespace vdpa::test {

/* The driver's memory, as the kernel hands it to a VDUSE device: piece by piece, each a part of a
 * file (VDUSE_IOTLB_GET_FD, linux/vduse.h). Pieces that are neighbours there are neighbours here.
 */
class Memory {
  public:
    explicit Memory(int device) : device_(device) {}
    ~Memory() { forget(); }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    /* Maps all that there is now; false: that did not work. */
    bool map();
    void forget();
    const engine::relay::GuestMemory &guest() const { return guest_; }

  private:
    struct Range {
        uint8_t *address;
        uint64_t size;
    };

    const int device_;
    std::vector<Range> mapped_;
    engine::relay::GuestMemory guest_;
};

}  // namespace vdpa::test
