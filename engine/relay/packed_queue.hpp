// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/relay/virtio.hpp"
#include "engine/relay/virtqueue.hpp"

namespace vdpa::engine::relay {

/* Packed virtqueue (virtio 1.2, section 2.8). */
class PackedQueue final : public Virtqueue {
  public:
    static std::unique_ptr<Virtqueue> make(const RingSetup &setup, uint64_t features,
                                           const GuestMemory &memory, const DirtyLog &log);

    Fetch fetch(Chain &chain, Segments &segments) override;
    void unfetch(const Chain &chain) override;
    bool available() const override;
    void use(const Chain &chain, uint32_t written) override;
    bool publish() override;
    void enable_kicks() override;
    void disable_kicks() override;
    uint16_t position() const override { return first_unpublished().packed(); }
    uint32_t size() const override { return size_; }

  private:
    /* A place in the ring and the wrap counter there. */
    struct Place {
        uint16_t index;
        bool wrap;

        void advance(uint16_t slots, uint16_t size);
        void retreat(uint16_t slots, uint16_t size);
        uint16_t packed() const { return static_cast<uint16_t>(index | (wrap ? 1U << 15 : 0U)); }
    };
    struct GuestAddresses {
        uint64_t desc, device_event;
    };

    PackedQueue(const RingSetup &setup, bool event_idx, const GuestMemory &memory,
                const DirtyLog &log, const GuestAddresses &addresses);
    bool follow_indirect(const vring_packed_desc &outer, Chain &chain, Segments &segments);
    uint16_t used_flags(const Place &place, bool written) const;
    bool wants_interrupt(const Place &before);
    Place first_unpublished() const { return pending_ ? pending_first_ : next_used_; }
    void log_desc(uint16_t index) const;
    void log_event() const;

    vring_packed_desc *desc_;
    const vring_packed_desc_event *driver_event_;
    vring_packed_desc_event *device_event_;
    const GuestMemory &memory_;
    DirtyLog log_;
    GuestAddresses guest_addr_;
    uint16_t size_;
    bool event_idx_;
    Place next_avail_;
    Place next_used_;       // with what use() added
    bool pending_ = false;  // use() added something: the flags of the first are still to be written
    Place pending_first_{};
    uint16_t pending_flags_ = 0;
    bool signalled_valid_ = false;
};

}  // namespace vdpa::engine::relay
