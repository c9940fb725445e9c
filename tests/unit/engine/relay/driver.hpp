// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/relay/virtio.hpp"
#include "engine/relay/virtqueue.hpp"

/* The guest's side, for tests: its memory, and the driver side of both ring formats over it. */
namespace vdpa::engine::relay::test {

/* Memory of a guest, in one piece here, whose guest-physical addresses are other numbers than the
 * host's. Allocation goes upwards and is never undone. */
class GuestRam {
  public:
    explicit GuestRam(uint64_t guest_base = 0x4000'0000, size_t size = 4 << 20);

    MemoryRegion region() { return {base_, bytes_.size() * sizeof(Page), start()}; }
    /* The guest address of `size` fresh bytes, all zero. */
    uint64_t allocate(size_t size, size_t alignment = 64);
    uint8_t *host(uint64_t guest) { return start() + (guest - base_); }
    std::span<uint8_t> bytes(uint64_t guest, size_t size) { return {host(guest), size}; }

  private:
    struct alignas(4096) Page {
        uint8_t bytes[4096];
    };
    uint8_t *start() { return bytes_.front().bytes; }

    uint64_t base_;
    std::vector<Page> bytes_;
    size_t used_ = 0;
};

struct Buffer {
    uint64_t addr;
    uint32_t len;
    bool writable = false;
};

struct Used {
    uint16_t id;
    uint32_t len;

    bool operator==(const Used &) const = default;
};

class Driver {
  public:
    virtual ~Driver() = default;

    /* Makes a chain available; returns its id. In an indirect table if asked to. */
    virtual uint16_t add(const std::vector<Buffer> &chain, bool indirect = false) = 0;
    virtual std::optional<Used> take_used() = 0;
    /* Whether the device wants a kick for what was added since the last call. */
    virtual bool must_kick() = 0;
    virtual void interrupts(bool wanted) = 0;
    /* EVENT_IDX: an interrupt once `more` chains beyond those taken are used. */
    virtual void interrupt_after(uint16_t more) = 0;
    virtual uint32_t size() const = 0;

    /* As a front-end would describe the ring, at its start. */
    RingSetup setup;
};

/* `features`: RING_PACKED makes the format, EVENT_IDX what is in the rings. */
std::unique_ptr<Driver> make_driver(GuestRam &ram, uint16_t size, uint64_t features);

/* The pieces, for tests that write nonsense. */
class SplitDriver final : public Driver {
  public:
    SplitDriver(GuestRam &ram, uint16_t size, bool event_idx);
    uint16_t add(const std::vector<Buffer> &chain, bool indirect) override;
    std::optional<Used> take_used() override;
    bool must_kick() override;
    void interrupts(bool wanted) override;
    void interrupt_after(uint16_t more) override;
    uint32_t size() const override { return setup.size; }
    /* Makes descriptor `head` available, whatever it holds. */
    void expose(uint16_t head);

    vring_desc *desc;
    vring_avail *avail;
    vring_used *used;

  private:
    GuestRam &ram_;
    bool event_idx_;
    std::vector<uint16_t> free_;
    std::vector<std::vector<uint16_t>> chains_;  // by head
    uint16_t avail_idx_ = 0;
    uint16_t kicked_ = 0;
    uint16_t taken_ = 0;
};

class PackedDriver final : public Driver {
  public:
    PackedDriver(GuestRam &ram, uint16_t size, bool event_idx);
    uint16_t add(const std::vector<Buffer> &chain, bool indirect) override;
    std::optional<Used> take_used() override;
    bool must_kick() override;
    void interrupts(bool wanted) override;
    void interrupt_after(uint16_t more) override;
    uint32_t size() const override { return setup.size; }
    /* The flags that make a descriptor at the next place available. */
    uint16_t available_flags() const;
    uint16_t next() const { return next_; }

    vring_packed_desc *desc;
    vring_packed_desc_event *driver_event;
    vring_packed_desc_event *device_event;

  private:
    void advance(uint16_t &place, bool &wrap, uint16_t slots) const;

    GuestRam &ram_;
    bool event_idx_;
    std::vector<uint16_t> slots_;  // by id; 0: the id is free
    uint16_t next_ = 0;
    bool wrap_ = true;
    uint16_t taken_ = 0;
    bool taken_wrap_ = true;
    uint16_t kicked_ = 0;
    bool kicked_wrap_ = true;
};

/* The name of a ring format for parametrised tests. */
struct FormatName {
    template <typename Test>
    std::string operator()(const Test &test) const {
        const bool packed = (test.param >> VIRTIO_F_RING_PACKED & 1) != 0;
        const bool event = (test.param >> VIRTIO_RING_F_EVENT_IDX & 1) != 0;
        return std::string(packed ? "packed" : "split") + (event ? "_event_idx" : "_flags");
    }
};

inline constexpr uint64_t bit(unsigned number) {
    return uint64_t{1} << number;
}

inline constexpr uint64_t split_flags = bit(VIRTIO_F_VERSION_1);
inline constexpr uint64_t split_event = split_flags | bit(VIRTIO_RING_F_EVENT_IDX);
inline constexpr uint64_t packed_flags = split_flags | bit(VIRTIO_F_RING_PACKED);
inline constexpr uint64_t packed_event = packed_flags | bit(VIRTIO_RING_F_EVENT_IDX);

}  // namespace vdpa::engine::relay::test
