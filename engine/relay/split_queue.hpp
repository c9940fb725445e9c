// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/relay/virtio.hpp"
#include "engine/relay/virtqueue.hpp"

namespace vdpa::engine::relay {

/* Split virtqueue (virtio 1.2, section 2.7). */
class SplitQueue final : public Virtqueue {
  public:
    static std::unique_ptr<Virtqueue> make(const RingSetup &setup, uint64_t features,
                                           const GuestMemory &memory, const DirtyLog &log);

    Fetch fetch(Chain &chain, Segments &segments) override;
    void unfetch(const Chain &) override { next_avail_--; }
    bool available() const override;
    void use(const Chain &chain, uint32_t written) override;
    bool publish() override;
    void enable_kicks() override;
    void disable_kicks() override;
    uint16_t position() const override { return published_; }
    uint32_t size() const override { return size_; }

  private:
    SplitQueue(const RingSetup &setup, bool event_idx, const GuestMemory &memory,
               const DirtyLog &log, uint64_t used_guest_addr);
    Fetch follow(uint16_t head, Chain &chain, Segments &segments);
    bool follow_indirect(const vring_desc &outer, Chain &chain, Segments &segments);
    bool wants_interrupt(uint16_t before);
    void log_used(const void *what, size_t len) const;

    const vring_desc *desc_;
    vring_avail *avail_;
    vring_used *used_;
    const GuestMemory &memory_;
    DirtyLog log_;
    uint64_t used_guest_addr_;
    uint32_t size_;  // a power of two
    uint16_t mask_;
    bool event_idx_;
    uint16_t next_avail_;
    uint16_t next_used_;  // with what use() added
    uint16_t published_;
    bool signalled_valid_ = false;  // the driver was told of everything up to published_
};

}  // namespace vdpa::engine::relay
