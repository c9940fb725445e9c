// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/relay/fake_front_end.hpp"

#include <sys/eventfd.h>

#include <cstring>

#include "engine/relay/features.hpp"

namespace vdpa::engine::relay::test {

Driver &Guest::add_ring(uint16_t number, uint16_t size) {
    GuestRing &ring = rings[number];
    ring.driver = make_driver(ram, size, features);
    ring.kick.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ring.call.reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ring.driver->setup.kick_fd = ring.kick.get();
    ring.driver->setup.call_fd = ring.call.get();
    return *ring.driver;
}

void Guest::add_pair(uint16_t pair, unsigned buffers) {
    add_ring(static_cast<uint16_t>(2 * pair));
    add_ring(static_cast<uint16_t>(2 * pair + 1));
    post(static_cast<uint16_t>(2 * pair), buffers);
}

void Guest::post(uint16_t number, unsigned count, uint32_t size) {
    GuestRing &ring = rings.at(number);
    for (unsigned n = 0; n < count; n++) {
        const Buffer buffer{ram.allocate(size), size, true};
        ring.posted[ring.driver->add({buffer})] = buffer;
    }
    kick(number);
}

void Guest::kick(uint16_t number) {
    GuestRing &ring = rings.at(number);
    if (ring.driver->must_kick()) {
        eventfd_write(ring.kick.get(), 1);
    }
}

void Guest::send(uint16_t number, const std::vector<uint8_t> &frame) {
    const size_t header = net_header_size(features);
    const uint64_t addr = ram.allocate(header + frame.size());
    std::memcpy(ram.host(addr) + header, frame.data(), frame.size());
    rings.at(number).driver->add({{addr, static_cast<uint32_t>(header + frame.size()), false}});
    kick(number);
}

std::vector<uint8_t> Guest::receive(uint16_t number) {
    GuestRing &ring = rings.at(number);
    const auto used = ring.driver->take_used();
    if (!used) {
        return {};
    }
    const Buffer buffer = ring.posted.at(used->id);
    const auto bytes = ram.bytes(buffer.addr, used->len).subspan(net_header_size(features));
    std::vector<uint8_t> frame(bytes.begin(), bytes.end());
    ring.posted.erase(used->id);
    ring.posted[ring.driver->add({buffer})] = buffer;
    kick(number);
    return frame;
}

std::optional<RingSetup> FakeFrontEnd::ring(int, uint16_t ring) {
    const auto found = guest_->rings.find(ring);
    return found == guest_->rings.end() ? std::nullopt : std::optional(found->second.driver->setup);
}

void FakeFrontEnd::set_position(int, uint16_t ring, uint16_t position) {
    RingSetup &setup = guest_->ring(ring).setup;
    setup.next_avail = setup.next_used = position;
}

}  // namespace vdpa::engine::relay::test
