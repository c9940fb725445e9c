// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/relay/guest_memory.hpp"

namespace vdpa::engine::relay {

/* A ring as the front-end set it up, by host addresses. The addresses and the size are the
 * front-end's word; make_virtqueue() checks them. */
struct RingSetup {
    void *desc = nullptr;     // descriptor area
    void *driver = nullptr;   // split: the available ring; packed: driver event suppression
    void *device = nullptr;   // split: the used ring; packed: device event suppression
    uint32_t size = 0;        // descriptors
    int kick_fd = -1;         // ours to wait on
    int call_fd = -1;         // ours to write to
    uint16_t next_avail = 0;  // where the device goes on; packed: bit 15 is the wrap counter
    uint16_t next_used = 0;
};

/* Buffers of a guest in the form that readv and writev take, with their guest addresses. */
class Segments {
  public:
    /* Linux takes 1024 in one call; a 64 KiB frame in buffers of 1.5 KiB makes 44. */
    static constexpr size_t capacity = 512;

    /* One element before the first and one behind the last are there for callers to use for the
     * length of a call. */
    iovec *iov() { return iov_.data() + begin_; }
    const iovec *iov() const { return iov_.data() + begin_; }
    const uint64_t *guest_addr() const { return guest_addr_.data() + begin_; }
    size_t count() const { return end_ - begin_; }
    bool full() const { return count() == capacity; }

    void add(void *host, uint64_t guest, size_t len);
    void clear() { begin_ = end_ = 1; }
    void drop_front(size_t n) { begin_ += n; }
    void drop_back(size_t n) { end_ -= n; }

  private:
    // Twice the capacity, so that dropping from the front is an addition and moving to the
    // front is rare.
    static constexpr size_t room = 2 * capacity + 2;
    std::array<iovec, room> iov_;
    std::array<uint64_t, room> guest_addr_;
    size_t begin_ = 1;
    size_t end_ = 1;
};

/* One descriptor chain that the driver made available. */
struct Chain {
    uint16_t id = 0;     // what the used entry names
    uint16_t slots = 0;  // descriptors of the ring that it takes
    uint32_t segments = 0;
    uint64_t readable = 0;  // bytes the device may read; they come first
    uint64_t writable = 0;  // bytes the device may write
    bool cut = false;       // there was no room for all of its segments
};

enum class Fetch {
    ok,
    empty,   // the driver made nothing available
    broken,  // the driver broke a rule of the ring
};

/* The device's side of a virtqueue. Chains are used in the order in which they were fetched, which
 * is why one index says where a ring was left. Not thread-safe: one owner at a time. Everything in
 * the ring is the guest's word: nothing is followed unchecked. (virtio 1.2, sections 2.7 and 2.8)
 */
class Virtqueue {
  public:
    virtual ~Virtqueue() = default;

    /* Takes the next chain; its segments are added to `segments`. */
    virtual Fetch fetch(Chain &chain, Segments &segments) = 0;
    /* Undoes the latest fetch that returned ok. */
    virtual void unfetch(const Chain &chain) = 0;
    /* True when fetch() would not return empty. */
    virtual bool available() const = 0;

    /* The device is done with `chain`, the oldest one fetched, having written `written` bytes from
     * its start. The driver sees it after publish(). */
    virtual void use(const Chain &chain, uint32_t written) = 0;
    /* Shows the driver everything that was used, at once. True: it wants a notification for it. */
    virtual bool publish() = 0;

    /* Asks the driver to notify when it makes more available. It may have done so just before:
     * look at available() afterwards. */
    virtual void enable_kicks() = 0;
    /* Allows the driver not to notify; it may all the same. */
    virtual void disable_kicks() = 0;

    /* Where the next device goes on: the oldest chain that was not used and published, in the
     * form of RingSetup::next_avail. */
    virtual uint16_t position() const = 0;
    virtual uint32_t size() const = 0;
};

/* Null when an area of the ring is not wholly in `memory` or not aligned, or the size is not one
 * that the format allows. `memory` must outlive the queue. `features`: as negotiated. */
std::unique_ptr<Virtqueue> make_virtqueue(const RingSetup &setup, uint64_t features,
                                          const GuestMemory &memory, const DirtyLog &log);

/* What both formats share: adds a descriptor's buffer to `chain` and `segments`. False: it is not
 * in guest memory, or a readable one follows a writable one. */
bool add_buffer(const GuestMemory &memory, uint64_t addr, uint32_t len, bool writable, Chain &chain,
                Segments &segments);

/* vring_need_event of the kernel's uapi/linux/virtio_ring.h: whether going from `before` to `now`
 * passes the entry `event`. */
inline bool passes(uint16_t event, uint16_t now, uint16_t before) {
    return static_cast<uint16_t>(now - event - 1) < static_cast<uint16_t>(now - before);
}

/* The longest chain that is followed, indirect ones included. */
inline constexpr unsigned max_chain_descriptors = 1024;

}  // namespace vdpa::engine::relay
