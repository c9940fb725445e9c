// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cstdint>
#include <vector>

#include "engine/vdpa/kernel/features.hpp"
#include "engine/vdpa/kernel/session.hpp"

namespace vdpa::engine::kernel {

/* A guest's memory of 1 MiB, at its address 0x40000000, with rings in it, and the eventfds that a
 * front-end makes for them. */
class Guest {
  public:
    static constexpr uint64_t base = 0x40000000;
    static constexpr uint64_t size = uint64_t{1} << 20;

    Guest()
        : memory_(static_cast<uint8_t *>(
              ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
    ~Guest() { ::munmap(memory_, size); }
    Guest(const Guest &) = delete;
    Guest &operator=(const Guest &) = delete;

    uint64_t host(uint64_t offset) const { return reinterpret_cast<uint64_t>(memory_) + offset; }
    std::vector<Region> memory() const {
        return {{.guest = base, .size = size, .host = host(0), .page_size = 4096}};
    }

    /* Each ring has 16 KiB of its own. */
    static uint64_t at(uint32_t ring) { return uint64_t{ring} * 0x4000; }

    RingRequest request(uint32_t ring, uint32_t entries = 256) {
        while (fds_.size() < 2 * ring + 2) {
            fds_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        }
        return {.index = ring,
                .size = entries,
                .descriptors = host(at(ring)),
                .driver_area = host(at(ring) + 0x1000),
                .device_area = host(at(ring) + 0x2000),
                .position = {},
                .kick = fds_[2 * ring].get(),
                .call = fds_[2 * ring + 1].get()};
    }

    void set_used_index(uint32_t ring, uint16_t value) {
        reinterpret_cast<uint16_t *>(memory_ + at(ring) + 0x2000)[1] = value;
    }

    /* How often the eventfd was written to since this was asked last. */
    static uint64_t signals(int fd) {
        eventfd_t count = 0;
        return ::eventfd_read(fd, &count) == 0 ? count : 0;
    }

    /* Whether two descriptors are of one eventfd, which is left without signals. */
    static bool same_eventfd(int one, int other) {
        signals(one);
        return ::eventfd_write(one, 1) == 0 && signals(other) == 1;
    }

    /* A session of so many pairs, with every ring at `position`. */
    Session session(const DeviceInfo &info, uint64_t negotiated, uint32_t pairs = 1,
                    Position position = {}) {
        Session session;
        session.features = *features_for_device(info, negotiated);
        session.memory = memory();
        for (uint32_t ring = 0; ring < 2 * pairs; ++ring) {
            session.rings.push_back(this->ring(info, session.features, ring, position));
        }
        return session;
    }

    Ring ring(const DeviceInfo &info, uint64_t features, uint32_t index, Position position = {}) {
        RingRequest wanted = request(index);
        wanted.position = position;
        return *check_ring(info, memory(), wanted, features);
    }

  private:
    uint8_t *const memory_;
    std::vector<UniqueFd> fds_;
};

}  // namespace vdpa::engine::kernel
