// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>

#include "engine/relay/front_end.hpp"
#include "schema/support/unique_fd.hpp"
#include "tests/unit/engine/relay/driver.hpp"

namespace vdpa::engine::relay::test {

/* A guest with its front-end, as the vhost library would describe it. Used by one thread. */
class Guest {
  public:
    explicit Guest(uint64_t negotiated, size_t memory = 16 << 20)
        : ram(0x4000'0000, memory), features(negotiated) {}

    /* Sets up ring `number`, of `size` descriptors. */
    Driver &add_ring(uint16_t number, uint16_t size = 256);
    /* Rings 2n and 2n + 1, the first with `buffers` buffers posted. */
    void add_pair(uint16_t pair, unsigned buffers = 0);
    Driver &ring(uint16_t number) { return *rings.at(number).driver; }

    /* Posts buffers of `size` bytes to receive into. */
    void post(uint16_t number, unsigned count, uint32_t size = 2048);
    /* Makes a frame available to send and kicks if the device wants that. */
    void send(uint16_t number, const std::vector<uint8_t> &frame);
    void kick(uint16_t number);
    /* The next frame that was received, in one buffer, without header; the buffer is posted again.
     * Empty: none. */
    std::vector<uint8_t> receive(uint16_t number);

    struct GuestRing {
        std::unique_ptr<Driver> driver;
        UniqueFd kick, call;
        std::map<uint16_t, Buffer> posted;
    };
    GuestRam ram;
    uint64_t features;
    std::map<uint16_t, GuestRing> rings;
};

class FakeFrontEnd final : public FrontEnd {
  public:
    /* `guest` may be replaced between device_down and device_up; null: no such device. */
    explicit FakeFrontEnd(Guest *&guest) : guest_(guest) {}

    uint64_t features(int) override { return guest_->features; }
    std::vector<MemoryRegion> memory(int) override { return {guest_->ram.region()}; }
    DirtyLog dirty_log(int) override { return {}; }
    std::optional<RingSetup> ring(int, uint16_t ring) override;
    void set_position(int, uint16_t ring, uint16_t position) override;

  private:
    Guest *&guest_;
};

}  // namespace vdpa::engine::relay::test
