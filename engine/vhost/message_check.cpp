// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/message_check.hpp"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/relay/call.hpp"

namespace vdpa::engine::vhost {

namespace {

/* The protocol feature that a request belongs to; none: it is always allowed, or never. */
std::optional<ProtocolFeature> feature_of(Request request) {
    switch (request) {
        case Request::get_queue_num:
            return ProtocolFeature::mq;
        case Request::net_set_mtu:
            return ProtocolFeature::net_mtu;
        case Request::set_backend_req_fd:
            return ProtocolFeature::backend_req;
        case Request::get_config:
        case Request::set_config:
            return ProtocolFeature::config;
        case Request::set_status:
        case Request::get_status:
            return ProtocolFeature::status;
        default:
            return std::nullopt;
    }
}

bool always_allowed(Request request) {
    switch (request) {
        case Request::get_features:
        case Request::set_features:
        case Request::set_owner:
        case Request::reset_owner:
        case Request::set_mem_table:
        case Request::set_log_base:
        case Request::set_log_fd:
        case Request::set_vring_num:
        case Request::set_vring_addr:
        case Request::set_vring_base:
        case Request::get_vring_base:
        case Request::set_vring_kick:
        case Request::set_vring_call:
        case Request::set_vring_err:
        case Request::get_protocol_features:
        case Request::set_protocol_features:
        case Request::set_vring_enable:
            return true;
        default:
            return false;
    }
}

/* Bytes that are read of the payload of a request. GET_CONFIG and SET_CONFIG have their own check,
 * for their length is in themselves. */
size_t least_size(const Message &message) {
    switch (static_cast<Request>(message.request)) {
        case Request::set_features:
        case Request::set_vring_kick:
        case Request::set_vring_call:
        case Request::set_vring_err:
        case Request::set_protocol_features:
        case Request::net_set_mtu:
        case Request::set_status:
            return sizeof(uint64_t);
        case Request::set_vring_num:
        case Request::set_vring_base:
        case Request::get_vring_base:
        case Request::set_vring_enable:
            return sizeof(VringState);
        case Request::set_vring_addr:
            return sizeof(VringAddresses);
        case Request::set_mem_table:
            return offsetof(MemoryTable, regions);
        case Request::set_log_base:
            return sizeof(LogBase);
        default:
            return 0;
    }
}

/* Whether the file has `size` bytes from `offset` on. A device says nothing of its size. */
bool file_covers(int fd, uint64_t offset, uint64_t size) {
    struct stat file {};
    if (::fstat(fd, &file) != 0) {
        return false;
    }
    if (!S_ISREG(file.st_mode)) {
        return true;
    }
    return file.st_size >= 0 && offset <= static_cast<uint64_t>(file.st_size) &&
           size <= static_cast<uint64_t>(file.st_size) - offset;
}

/* Maps what the library will, all at the same time, and lets go of it again. Nothing is touched, so
 * that it costs next to nothing, whatever the size. */
class Trial {
  public:
    Trial() = default;
    ~Trial() {
        for (const auto &[begin, size] : mapped_) {
            ::munmap(begin, size);
        }
    }
    Trial(const Trial &) = delete;
    Trial &operator=(const Trial &) = delete;

    /* Whether the library's mmap() of a region will be done (lib/vhost/vhost_user.c,
     * vhost_user_mmap_region): from the beginning of the file on, in whole blocks. */
    bool map(int fd, uint64_t offset, uint64_t size) {
        struct stat file {};
        if (::fstat(fd, &file) != 0 || file.st_blksize <= 0) {
            return false;
        }
        const auto block = static_cast<uint64_t>(file.st_blksize);
        uint64_t end = 0;
        if (__builtin_add_overflow(offset, size, &end) ||
            __builtin_add_overflow(end, block - 1, &end)) {
            return false;
        }
        const uint64_t whole = end / block * block;
        return keep(::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), whole);
    }

    /* Whether there are addresses left for half as much again, and for all else that this process
     * does. */
    bool leaves_room() {
        constexpr uint64_t least = uint64_t{64} << 30U;
        uint64_t total = 0;
        for (const auto &[begin, size] : mapped_) {
            total += size;
        }
        const uint64_t room = std::max(total / 2, least);
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        return keep(::mmap(nullptr, room, PROT_NONE, flags, -1, 0), room);
    }

  private:
    bool keep(void *begin, uint64_t size) {
        if (begin == MAP_FAILED) {
            return false;
        }
        mapped_.emplace_back(begin, size);
        return true;
    }

    std::vector<std::pair<void *, uint64_t>> mapped_;
};

bool overlap(const MemoryRegion &one, const MemoryRegion &other) {
    return one.guest_address < other.guest_address + other.size &&
           other.guest_address < one.guest_address + one.size;
}

const char *memory_refusal(const Message &message) {
    const MemoryTable &table = message.payload.memory;
    if (table.region_count > table.regions.size() ||
        static_cast<int>(table.region_count) != message.fd_count) {
        return "as many memory regions as file descriptors, and at most 8, are allowed";
    }
    if (message.size < offsetof(MemoryTable, regions) + table.region_count * sizeof(MemoryRegion)) {
        return "the message is too short";
    }
    Trial trial;
    for (uint32_t i = 0; i < table.region_count; ++i) {
        const MemoryRegion &region = table.regions[i];
        if (region.size == 0 || region.guest_address + region.size < region.size ||
            region.user_address + region.size < region.size) {
            return "a memory region is empty or wraps around";
        }
        if (!file_covers(message.fds[i], region.mmap_offset, region.size)) {
            return "a memory region reaches past the end of its file";
        }
        if (!trial.map(message.fds[i], region.mmap_offset, region.size)) {
            return "the file of a memory region cannot be mapped to be read and written";
        }
        for (uint32_t j = 0; j < i; ++j) {
            if (overlap(region, table.regions[j])) {
                return "memory regions overlap";
            }
        }
    }
    return trial.leaves_room() ? nullptr : "the memory regions leave too few addresses for others";
}

const char *log_refusal(const Message &message) {
    const LogBase &log = message.payload.log;
    if (message.fd_count != 1) {
        return "a dirty log is one file";
    }
    if (log.mmap_offset != 0) {
        return "the dirty log does not begin at the beginning of its file";
    }
    if (!file_covers(message.fds[0], 0, log.mmap_size)) {
        return "the dirty log reaches past the end of its file";
    }
    return nullptr;
}

/* Waiting for, and signalling, an eventfd or a unix socket is a matter of the kernel alone. A file
 * of a FUSE file system, say, could keep the worker that polls it. User-mode Linux is called by a
 * socket; all others use eventfds. */
const char *event_refusal(const Message &message) {
    constexpr uint64_t no_descriptor = 1U << 8;
    if ((message.payload.u64 & no_descriptor) != 0 || message.fd_count != 1 ||
        relay::is_eventfd(message.fds[0]) || relay::is_unix_socket(message.fds[0])) {
        return nullptr;
    }
    return "its descriptor is neither an eventfd nor a unix socket";
}

}  // namespace

const char *refusal(const Message &message, uint64_t offered) {
    const auto request = static_cast<Request>(message.request);
    const auto feature = feature_of(request);
    if (feature ? (offered & bit(*feature)) == 0 : !always_allowed(request)) {
        return "it belongs to a protocol feature that was not offered";
    }
    if (message.size < least_size(message)) {
        return "the message is too short";
    }
    switch (request) {
        case Request::set_mem_table:
            return memory_refusal(message);
        case Request::set_log_base:
            return log_refusal(message);
        case Request::set_vring_kick:
        case Request::set_vring_call:
            return event_refusal(message);
        default:
            return nullptr;
    }
}

bool touches_rings(Request request) {
    switch (request) {
        case Request::set_features:
        case Request::set_mem_table:
        case Request::set_log_base:
        case Request::set_vring_num:
        case Request::set_vring_addr:
        case Request::set_vring_base:
        case Request::get_vring_base:
        case Request::set_vring_kick:
        case Request::set_vring_call:
        case Request::set_vring_enable:
            return true;
        default:
            return false;
    }
}

std::optional<uint32_t> ring_of(const Message &message) {
    switch (static_cast<Request>(message.request)) {
        case Request::set_vring_kick:
        case Request::set_vring_call:
        case Request::set_vring_err:
            return static_cast<uint32_t>(message.payload.u64 & vring_index_mask);
        case Request::set_vring_num:
        case Request::set_vring_base:
        case Request::get_vring_base:
        case Request::set_vring_enable:
            return message.payload.state.index;
        case Request::set_vring_addr:
            return message.payload.addresses.ring;
        default:
            return std::nullopt;
    }
}

}  // namespace vdpa::engine::vhost
