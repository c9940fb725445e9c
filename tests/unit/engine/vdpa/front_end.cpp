// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/engine/vdpa/front_end.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>

#include "tests/unit/engine/unix_socket.hpp"

namespace vdpa::test {

namespace {

using engine::vhost::bit;
using engine::vhost::ProtocolFeature;

constexpr int bound_ms = 10'000;
constexpr uint32_t version = 1;
constexpr uint32_t need_reply_flag = 8;
constexpr uint64_t feature_version_1 = uint64_t{1} << 32;
constexpr uint64_t feature_protocol = uint64_t{1} << 30;

struct Header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
};

}  // namespace

FrontEnd::FrontEnd(const std::string &path)
    : socket_(connect_unix(path)), memory_(::memfd_create("guest", MFD_CLOEXEC)) {
    if (::ftruncate(memory_.get(), static_cast<off_t>(memory_size)) != 0) {
        memory_.reset();
    }
}

void FrontEnd::send(Request request, const void *payload, size_t size, const std::vector<int> &fds,
                    bool need_reply) {
    Header header{.request = static_cast<uint32_t>(request),
                  .flags = version | (need_reply ? need_reply_flag : 0),
                  .size = static_cast<uint32_t>(size)};
    std::array<iovec, 2> parts = {iovec{&header, sizeof(header)},
                                  iovec{const_cast<void *>(payload), size}};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = size > 0 ? 2 : 1;
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
        cmsghdr *rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
    }
    // The library reads header and payload apart, which an interrupted send would not mind.
    [[maybe_unused]] const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
}

void FrontEnd::send_u64(Request request, uint64_t value, const std::vector<int> &fds,
                        bool need_reply) {
    send(request, &value, sizeof(value), fds, need_reply);
}

void FrontEnd::send_state(Request request, uint32_t index, uint32_t number, bool need_reply) {
    const engine::vhost::VringState state{.index = index, .num = number};
    send(request, &state, sizeof(state), {}, need_reply);
}

bool FrontEnd::read(void *bytes, size_t size) {
    pollfd entry{.fd = socket_.get(), .events = POLLIN, .revents = 0};
    return ::poll(&entry, 1, bound_ms) == 1 &&
           ::recv(socket_.get(), bytes, size, MSG_WAITALL) == static_cast<ssize_t>(size);
}

std::optional<uint64_t> FrontEnd::acknowledged() {
    Header header{};
    uint64_t value = 0;
    if (!read(&header, sizeof(header)) || header.size != sizeof(value) ||
        !read(&value, sizeof(value))) {
        return std::nullopt;
    }
    return value;
}

std::optional<uint64_t> FrontEnd::ask(Request request) {
    send(request, nullptr, 0);
    return acknowledged();
}

std::optional<std::vector<uint8_t>> FrontEnd::read_config(uint32_t offset, uint32_t size) {
    std::vector<uint8_t> payload(12 + size);
    std::memcpy(payload.data(), &offset, 4);
    std::memcpy(payload.data() + 4, &size, 4);
    send(Request::get_config, payload.data(), payload.size());
    Header header{};
    if (!read(&header, sizeof(header))) {
        return std::nullopt;
    }
    payload.resize(header.size);
    if (header.size > 0 && !read(payload.data(), payload.size())) {
        return std::nullopt;
    }
    return header.size < 12 ? std::vector<uint8_t>{}
                            : std::vector<uint8_t>(payload.begin() + 12, payload.end());
}

bool FrontEnd::negotiate(std::optional<uint64_t> features) {
    const auto offered = ask(Request::get_features);
    if (!offered) {
        return false;
    }
    features_ = features.value_or(*offered & (feature_version_1 | feature_protocol));
    send(Request::set_owner, nullptr, 0);
    const auto protocol = ask(Request::get_protocol_features);
    if (!protocol) {
        return false;
    }
    // With a status, the device waits for DRIVER_OK; with a log, it may be in a migration.
    send_u64(Request::set_protocol_features,
             *protocol & ~bit(ProtocolFeature::status) & ~bit(ProtocolFeature::log_shmfd));
    send_u64(Request::set_features, features_);
    return settled();
}

bool FrontEnd::share_memory() {
    engine::vhost::MemoryTable table{};
    table.region_count = 1;
    table.regions[0] = {
        .guest_address = 0, .size = memory_size, .user_address = user_address, .mmap_offset = 0};
    send(Request::set_mem_table, &table, 8 + sizeof(table.regions[0]), {memory_.get()});
    return settled();
}

void FrontEnd::set_up_ring(uint32_t ring, std::optional<uint64_t> address) {
    const uint64_t at = address.value_or(user_address + ring * uint64_t{0x1000});
    send_state(Request::set_vring_num, ring, ring_size);
    send_state(Request::set_vring_base, ring, 0);
    const engine::vhost::VringAddresses addresses{.ring = ring,
                                                  .flags = 0,
                                                  .descriptors = at,
                                                  .device_area = at + 0x800,
                                                  .driver_area = at + 0x400,
                                                  .log = 0};
    send(Request::set_vring_addr, &addresses, sizeof(addresses));
    for (const Request request : {Request::set_vring_kick, Request::set_vring_call}) {
        events_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        send_u64(request, ring, {events_.back().get()});
    }
}

void FrontEnd::enable_ring(uint32_t ring, bool on) {
    send_state(Request::set_vring_enable, ring, on ? 1 : 0);
}

UniqueFd FrontEnd::open_channel() {
    std::array<int, 2> ends{-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    UniqueFd ours(ends[0]);
    const UniqueFd theirs(ends[1]);
    send(Request::set_backend_req_fd, nullptr, 0, {theirs.get()});
    return ours;
}

bool FrontEnd::start(uint32_t pairs, std::optional<uint64_t> features) {
    if (!negotiate(features) || !share_memory()) {
        return false;
    }
    for (uint32_t ring = 0; ring < 2 * pairs; ++ring) {
        set_up_ring(ring);
    }
    for (uint32_t ring = 0; ring < 2 * pairs; ++ring) {
        enable_ring(ring, true);
    }
    return settled();
}

void FrontEnd::stop(uint32_t pairs) {
    for (uint32_t ring = 0; ring < 2 * pairs; ++ring) {
        send_state(Request::get_vring_base, ring, 0);
        Header header{};
        engine::vhost::VringState state{};
        if (!read(&header, sizeof(header)) || !read(&state, sizeof(state))) {
            return;
        }
    }
}

}  // namespace vdpa::test
