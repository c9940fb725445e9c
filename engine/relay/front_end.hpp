// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/relay/guest_memory.hpp"
#include "engine/relay/virtqueue.hpp"

namespace vdpa::engine::relay {

/* What a port asks of the vhost library about the device of a front-end, by the library's number
 * for it. Called in the library's event thread only. */
class FrontEnd {
  public:
    virtual ~FrontEnd() = default;

    /* As negotiated. */
    virtual uint64_t features(int vid) = 0;
    virtual std::vector<MemoryRegion> memory(int vid) = 0;
    virtual DirtyLog dirty_log(int vid) = 0;
    /* Nothing when the ring was never mentioned. What the front-end did not say is null or -1. */
    virtual std::optional<RingSetup> ring(int vid, uint16_t ring) = 0;
    /* See RingSetup::next_avail for the form. */
    virtual void set_position(int vid, uint16_t ring, uint16_t position) = 0;
};

/* The one that asks rte_vhost. */
std::unique_ptr<FrontEnd> make_vhost_front_end();

}  // namespace vdpa::engine::relay
