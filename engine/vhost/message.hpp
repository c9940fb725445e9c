// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_version.h>
#include <rte_vhost.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/* A vhost-user message as DPDK's vhost library hands it to the handlers of
 * rte_vhost_extern_callback_register(): DPDK 22.11, lib/vhost/vhost_user.h, struct vhu_msg_context,
 * which says there that external handlers rely on its layout. The messages themselves are QEMU's
 * docs/interop/vhost-user.rst. */
namespace vdpa::engine::vhost {

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0) || RTE_VERSION >= RTE_VERSION_NUM(22, 12, 0, 0)
#error "struct vhu_msg_context is known for DPDK 22.11 only: compare and extend"
#endif

/* In a message's flags. */
constexpr uint32_t need_reply = 1U << 3;

enum class Request : uint32_t {
    get_features = 1,
    set_features = 2,
    set_owner = 3,
    reset_owner = 4,
    set_mem_table = 5,
    set_log_base = 6,
    set_log_fd = 7,
    set_vring_num = 8,
    set_vring_addr = 9,
    set_vring_base = 10,
    get_vring_base = 11,
    set_vring_kick = 12,
    set_vring_call = 13,
    set_vring_err = 14,
    get_protocol_features = 15,
    set_protocol_features = 16,
    get_queue_num = 17,
    set_vring_enable = 18,
    net_set_mtu = 20,
    set_backend_req_fd = 21,
    get_config = 24,
    set_config = 25,
    set_status = 39,
    get_status = 40,
};

/* Protocol feature bits, VHOST_USER_PROTOCOL_F_*. */
enum class ProtocolFeature : unsigned {
    mq = 0,
    log_shmfd = 1,
    reply_ack = 3,
    net_mtu = 4,
    backend_req = 5,
    config = 9,
    backend_send_fd = 10,
    host_notifier = 11,
    status = 16,
};

constexpr uint64_t bit(ProtocolFeature feature) {
    return uint64_t{1} << static_cast<unsigned>(feature);
}

struct VringState {
    uint32_t index;
    uint32_t num;
};

/* struct VhostUserMemory of the library (lib/vhost/vhost_user.h). */
struct MemoryRegion {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address;
    uint64_t mmap_offset;
};
struct MemoryTable {
    uint32_t region_count;
    uint32_t padding;
    std::array<MemoryRegion, 8> regions;
};

/* struct vhost_vring_addr (linux/vhost_types.h). */
struct VringAddresses {
    uint32_t ring;
    uint32_t flags;
    uint64_t descriptors;
    uint64_t device_area;
    uint64_t driver_area;
    uint64_t log;
};

struct LogBase {
    uint64_t mmap_size;
    uint64_t mmap_offset;
};

struct DeviceConfig {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t region[256];
};

/* The largest of the payloads, there for its size alone. */
struct CryptoSession {
    int64_t id;
    std::array<uint32_t, 6> lengths;
    std::array<uint8_t, 3> modes;
    std::array<void *, 2> keys;
    std::array<uint8_t, 64 + 512> buffers;
};

struct __attribute__((packed)) Message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;  // of the payload
    union {
        uint64_t u64;
        VringState state;
        VringAddresses addresses;
        LogBase log;
        DeviceConfig config;
        MemoryTable memory;
        CryptoSession crypto;
    } payload;
    int fds[8];  // no std::array: its functions would take the address of packed members
    int fd_count;
};
static_assert(std::is_trivial_v<Message>);
static_assert(offsetof(Message, payload) == 12);
static_assert(offsetof(Message, fds) == 12 + 632);

/* The low byte of the payload of SET_VRING_KICK, _CALL and _ERR is the ring. */
constexpr uint64_t vring_index_mask = 0xff;

/* Closes what came with a message that the library does not get to see. */
inline void close_fds(Message &message) {
    for (int i = 0; i < message.fd_count && i < 8; ++i) {
        if (message.fds[i] >= 0) {
            ::close(message.fds[i]);
        }
    }
    message.fd_count = 0;
}

}  // namespace vdpa::engine::vhost
