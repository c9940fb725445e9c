// SPDX-License-Identifier: Apache-2.0
#include <rte_vhost.h>

#include <cstdlib>

#include "engine/relay/features.hpp"
#include "engine/relay/front_end.hpp"

namespace vdpa::engine::relay {

namespace {

struct Free {
    void operator()(void *memory) const { std::free(memory); }
};

class VhostFrontEnd final : public FrontEnd {
  public:
    uint64_t features(int vid) override {
        uint64_t features = 0;
        return rte_vhost_get_negotiated_features(vid, &features) == 0 ? features : 0;
    }

    std::vector<MemoryRegion> memory(int vid) override {
        rte_vhost_memory *raw = nullptr;
        if (rte_vhost_get_mem_table(vid, &raw) != 0) {
            return {};
        }
        const std::unique_ptr<rte_vhost_memory, Free> table(raw);
        std::vector<MemoryRegion> regions;
        for (uint32_t n = 0; n < table->nregions; n++) {
            const rte_vhost_mem_region &region = table->regions[n];
            regions.push_back({.guest_addr = region.guest_phys_addr,
                               .size = region.size,
                               .host = reinterpret_cast<uint8_t *>(region.host_user_addr)});
        }
        return regions;
    }

    DirtyLog dirty_log(int vid) override {
        uint64_t base = 0;
        uint64_t size = 0;
        if (!has(features(vid), vhost_f_log_all) ||
            rte_vhost_get_log_base(vid, &base, &size) != 0) {
            return {};
        }
        return {.base = reinterpret_cast<uint8_t *>(base), .size = size};
    }

    std::optional<RingSetup> ring(int vid, uint16_t ring) override {
        rte_vhost_vring vring{};
        RingSetup setup;
        if (rte_vhost_get_vhost_vring(vid, ring, &vring) != 0 ||
            rte_vhost_get_vring_base(vid, ring, &setup.next_avail, &setup.next_used) != 0) {
            return std::nullopt;
        }
        setup.desc = vring.desc;
        setup.driver = vring.avail;
        setup.device = vring.used;
        setup.size = vring.size;
        // Negative for "none" and for "not said".
        setup.kick_fd = vring.kickfd;
        setup.call_fd = vring.callfd;
        return setup;
    }

    void set_position(int vid, uint16_t ring, uint16_t position) override {
        rte_vhost_set_vring_base(vid, ring, position, position);
    }
};

}  // namespace

std::unique_ptr<FrontEnd> make_vhost_front_end() {
    return std::make_unique<VhostFrontEnd>();
}

}  // namespace vdpa::engine::relay
