// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/vhost_vdpa.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "engine/log.hpp"

namespace vdpa::engine::kernel {

Called<VhostVdpa> VhostVdpa::open(System &system, const std::string &path) {
    const int fd = system.open(path.c_str());
    if (fd < 0) {
        return tl::make_unexpected(CallError{-fd, "cannot open " + path + ": " + errno_text(-fd)});
    }
    return VhostVdpa(system, path, fd);
}

void VhostVdpa::close() {
    if (fd_ >= 0) {
        system_->close(std::exchange(fd_, -1));
    }
}

tl::unexpected<CallError> VhostVdpa::failure(const char *name, int error) const {
    return tl::make_unexpected(
        CallError{error, path_ + ": " + name + " failed: " + errno_text(error)});
}

Called<void> VhostVdpa::call(const char *name, unsigned long request, void *argument) {
    const int result = fd_ >= 0 ? system_->ioctl(fd_, request, argument) : -ENODEV;
    VDPA_LOG(dbg, "kernel_vdpa", "%s: %s: %d", path_.c_str(), name, result);
    if (result < 0) {
        return failure(name, -result);
    }
    return {};
}

Called<uint32_t> VhostVdpa::get_u32(const char *name, unsigned long request) {
    uint32_t value = 0;
    return call(name, request, &value).map([&] { return value; });
}

Called<void> VhostVdpa::set_ring_state(const char *name, unsigned long request, uint32_t ring,
                                       uint32_t value) {
    vhost_vring_state state{.index = ring, .num = value};
    return call(name, request, &state);
}

Called<void> VhostVdpa::set_ring_fd(const char *name, unsigned long request, uint32_t ring,
                                    int fd) {
    vhost_vring_file file{.index = ring, .fd = fd};
    return call(name, request, &file);
}

Called<void> VhostVdpa::set_owner() {
    return call("VHOST_SET_OWNER", VHOST_SET_OWNER, nullptr);
}

Called<uint32_t> VhostVdpa::device_id() {
    return get_u32("VHOST_VDPA_GET_DEVICE_ID", VHOST_VDPA_GET_DEVICE_ID);
}

Called<uint8_t> VhostVdpa::status() {
    uint8_t status = 0;
    return call("VHOST_VDPA_GET_STATUS", VHOST_VDPA_GET_STATUS, &status).map([&] {
        return status;
    });
}

Called<void> VhostVdpa::set_status(uint8_t status) {
    return call("VHOST_VDPA_SET_STATUS", VHOST_VDPA_SET_STATUS, &status);
}

Called<uint64_t> VhostVdpa::features() {
    uint64_t features = 0;
    return call("VHOST_GET_FEATURES", VHOST_GET_FEATURES, &features).map([&] { return features; });
}

Called<void> VhostVdpa::set_features(uint64_t features) {
    return call("VHOST_SET_FEATURES", VHOST_SET_FEATURES, &features);
}

Called<uint64_t> VhostVdpa::backend_features() {
    uint64_t features = 0;
    return call("VHOST_GET_BACKEND_FEATURES", VHOST_GET_BACKEND_FEATURES, &features).map([&] {
        return features;
    });
}

Called<void> VhostVdpa::set_backend_features(uint64_t features) {
    return call("VHOST_SET_BACKEND_FEATURES", VHOST_SET_BACKEND_FEATURES, &features);
}

Called<uint32_t> VhostVdpa::config_size() {
    return get_u32("VHOST_VDPA_GET_CONFIG_SIZE", VHOST_VDPA_GET_CONFIG_SIZE);
}

Called<void> VhostVdpa::read_config(uint32_t offset, std::span<uint8_t> bytes) {
    const vhost_vdpa_config header{.off = offset, .len = static_cast<uint32_t>(bytes.size())};
    std::vector<uint8_t> request(sizeof(header) + bytes.size());
    std::memcpy(request.data(), &header, sizeof(header));
    return call("VHOST_VDPA_GET_CONFIG", VHOST_VDPA_GET_CONFIG, request.data()).map([&] {
        std::copy(request.begin() + sizeof(header), request.end(), bytes.begin());
    });
}

Called<void> VhostVdpa::set_config_call(int fd) {
    return call("VHOST_VDPA_SET_CONFIG_CALL", VHOST_VDPA_SET_CONFIG_CALL, &fd);
}

Called<vhost_vdpa_iova_range> VhostVdpa::iova_range() {
    vhost_vdpa_iova_range range{};
    return call("VHOST_VDPA_GET_IOVA_RANGE", VHOST_VDPA_GET_IOVA_RANGE, &range).map([&] {
        return range;
    });
}

Called<uint32_t> VhostVdpa::address_space_count() {
    return get_u32("VHOST_VDPA_GET_AS_NUM", VHOST_VDPA_GET_AS_NUM);
}

Called<uint32_t> VhostVdpa::ring_count() {
    return get_u32("VHOST_VDPA_GET_VQS_COUNT", VHOST_VDPA_GET_VQS_COUNT);
}

Called<uint16_t> VhostVdpa::max_ring_size() {
    uint16_t size = 0;
    return call("VHOST_VDPA_GET_VRING_NUM", VHOST_VDPA_GET_VRING_NUM, &size).map([&] {
        return size;
    });
}

Called<uint32_t> VhostVdpa::ring_group(uint32_t ring) {
    vhost_vring_state state{.index = ring, .num = 0};
    return call("VHOST_VDPA_GET_VRING_GROUP", VHOST_VDPA_GET_VRING_GROUP, &state).map([&] {
        return state.num;
    });
}

Called<void> VhostVdpa::set_group_address_space(uint32_t group, uint32_t asid) {
    return set_ring_state("VHOST_VDPA_SET_GROUP_ASID", VHOST_VDPA_SET_GROUP_ASID, group, asid);
}

Called<void> VhostVdpa::set_ring_size(uint32_t ring, uint32_t size) {
    return set_ring_state("VHOST_SET_VRING_NUM", VHOST_SET_VRING_NUM, ring, size);
}

Called<void> VhostVdpa::set_ring_addresses(uint32_t ring, uint64_t descriptors, uint64_t driver,
                                           uint64_t device) {
    // "User addresses" of these members are the device's addresses for vhost-vdpa, which passes
    // them on as they are.
    vhost_vring_addr addresses{.index = ring,
                               .flags = 0,
                               .desc_user_addr = descriptors,
                               .used_user_addr = device,
                               .avail_user_addr = driver,
                               .log_guest_addr = 0};
    return call("VHOST_SET_VRING_ADDR", VHOST_SET_VRING_ADDR, &addresses);
}

// vhost_vring_ioctl() of drivers/vhost/vhost.c: a packed ring has the used position in the upper
// half; for a split ring those bits must be 0.
Called<void> VhostVdpa::set_ring_position(uint32_t ring, Position position, bool packed) {
    const uint32_t value = position.avail | (packed ? uint32_t{position.used} << 16 : 0);
    return set_ring_state("VHOST_SET_VRING_BASE", VHOST_SET_VRING_BASE, ring, value);
}

Called<Position> VhostVdpa::ring_position(uint32_t ring, bool packed) {
    vhost_vring_state state{.index = ring, .num = 0};
    return call("VHOST_GET_VRING_BASE", VHOST_GET_VRING_BASE, &state).map([&] {
        const auto avail = static_cast<uint16_t>(state.num & 0xffff);
        return Position{avail, packed ? static_cast<uint16_t>(state.num >> 16) : avail};
    });
}

Called<void> VhostVdpa::set_ring_kick(uint32_t ring, int fd) {
    return set_ring_fd("VHOST_SET_VRING_KICK", VHOST_SET_VRING_KICK, ring, fd);
}

Called<void> VhostVdpa::set_ring_call(uint32_t ring, int fd) {
    return set_ring_fd("VHOST_SET_VRING_CALL", VHOST_SET_VRING_CALL, ring, fd);
}

Called<void> VhostVdpa::enable_ring(uint32_t ring, bool on) {
    return set_ring_state("VHOST_VDPA_SET_VRING_ENABLE", VHOST_VDPA_SET_VRING_ENABLE, ring,
                          on ? 1 : 0);
}

Called<void> VhostVdpa::suspend() {
    return call("VHOST_VDPA_SUSPEND", VHOST_VDPA_SUSPEND, nullptr);
}

Called<void> VhostVdpa::send(const char *name, uint32_t asid, uint8_t type, uint64_t iova,
                             uint64_t size, uint64_t address) {
    vhost_msg_v2 message{};
    message.type = VHOST_IOTLB_MSG_V2;
    message.asid = asid;
    message.iotlb.type = type;
    message.iotlb.iova = iova;
    message.iotlb.size = size;
    message.iotlb.uaddr = address;
    message.iotlb.perm = VHOST_ACCESS_RW;  // which only an update looks at
    const ssize_t result = fd_ >= 0 ? system_->write(fd_, &message, sizeof(message)) : -ENODEV;
    VDPA_LOG(dbg, "kernel_vdpa", "%s: %s: %zd", path_.c_str(), name, result);
    if (result < 0) {
        return failure(name, static_cast<int>(-result));
    }
    return result == static_cast<ssize_t>(sizeof(message)) ? Called<void>{} : failure(name, EIO);
}

Called<void> VhostVdpa::begin_batch(uint32_t asid) {
    return send("VHOST_IOTLB_BATCH_BEGIN", asid, VHOST_IOTLB_BATCH_BEGIN);
}

Called<void> VhostVdpa::end_batch(uint32_t asid) {
    return send("VHOST_IOTLB_BATCH_END", asid, VHOST_IOTLB_BATCH_END);
}

Called<void> VhostVdpa::map(uint32_t asid, uint64_t iova, uint64_t size, uint64_t address) {
    return send("VHOST_IOTLB_UPDATE", asid, VHOST_IOTLB_UPDATE, iova, size, address);
}

Called<void> VhostVdpa::unmap(uint32_t asid, uint64_t iova, uint64_t size) {
    return send("VHOST_IOTLB_INVALIDATE", asid, VHOST_IOTLB_INVALIDATE, iova, size);
}

}  // namespace vdpa::engine::kernel
