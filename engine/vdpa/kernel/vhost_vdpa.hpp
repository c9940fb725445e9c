// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "engine/vdpa/kernel/system.hpp"
#include "engine/vdpa/kernel/uapi.hpp"
#include "schema/support/error.hpp"

namespace vdpa::engine::kernel {

/* Where a ring stands, in the encoding of VHOST_SET_VRING_BASE and of DPDK's vhost library: `avail`
 * is the next entry to be taken from the driver; for a packed ring bit 15 of both is the wrap
 * counter. `used` has no meaning for a split ring, which has it in its memory. */
struct Position {
    uint16_t avail = 0;
    uint16_t used = 0;

    bool operator==(const Position &) const = default;
};

/* A call failed, with which errno. Most callers only need the sentence. */
struct CallError {
    int error;  // errno
    std::string text;
};
template <typename T>
using Called = tl::expected<T, CallError>;

/* An open vhost-vdpa character device: one method for each call of linux/vhost.h that we make, with
 * its meaning in drivers/vhost/vdpa.c. Not thread-safe; moves, as a file descriptor does. Closing
 * it resets the device and removes what was mapped (vhost_vdpa_release). */
class VhostVdpa {
  public:
    /* EBUSY: somebody else has it open. ENOENT, ENXIO, ENODEV: there is none. */
    static Called<VhostVdpa> open(System &system, const std::string &path);
    VhostVdpa(VhostVdpa &&other) noexcept
        : system_(other.system_),
          path_(std::move(other.path_)),
          fd_(std::exchange(other.fd_, -1)) {}
    VhostVdpa(const VhostVdpa &) = delete;
    VhostVdpa &operator=(const VhostVdpa &) = delete;
    ~VhostVdpa() { close(); }
    void close();

    System &system() const { return *system_; }
    const std::string &path() const { return path_; }
    int fd() const { return fd_; }

    /* VHOST_SET_OWNER: mappings are of this process's memory from now on. */
    Called<void> set_owner();
    Called<uint32_t> device_id();
    Called<uint8_t> status();
    /* 0 resets the device. */
    Called<void> set_status(uint8_t status);
    Called<uint64_t> features();
    Called<void> set_features(uint64_t features);
    Called<uint64_t> backend_features();
    Called<void> set_backend_features(uint64_t features);
    Called<uint32_t> config_size();
    Called<void> read_config(uint32_t offset, std::span<uint8_t> bytes);
    /* An eventfd that is told of changes of the configuration space; -1: none any more. */
    Called<void> set_config_call(int fd);
    Called<vhost_vdpa_iova_range> iova_range();
    Called<uint32_t> address_space_count();
    Called<uint32_t> ring_count();
    Called<uint16_t> max_ring_size();

    Called<uint32_t> ring_group(uint32_t ring);
    Called<void> set_group_address_space(uint32_t group, uint32_t asid);
    Called<void> set_ring_size(uint32_t ring, uint32_t size);
    /* I/O addresses: of the descriptors, of what the driver writes, of what the device writes. */
    Called<void> set_ring_addresses(uint32_t ring, uint64_t descriptors, uint64_t driver,
                                    uint64_t device);
    Called<void> set_ring_position(uint32_t ring, Position position, bool packed);
    Called<Position> ring_position(uint32_t ring, bool packed);
    /* Eventfds; -1: none any more. */
    Called<void> set_ring_kick(uint32_t ring, int fd);
    Called<void> set_ring_call(uint32_t ring, int fd);
    Called<void> enable_ring(uint32_t ring, bool on);
    Called<void> suspend();

    /* One message each, of struct vhost_msg_v2. The address space is `asid`. */
    Called<void> begin_batch(uint32_t asid);
    Called<void> end_batch(uint32_t asid);
    Called<void> map(uint32_t asid, uint64_t iova, uint64_t size, uint64_t address);
    Called<void> unmap(uint32_t asid, uint64_t iova, uint64_t size);

  private:
    VhostVdpa(System &system, std::string path, int fd)
        : system_(&system), path_(std::move(path)), fd_(fd) {}

    Called<void> call(const char *name, unsigned long request, void *argument);
    Called<uint32_t> get_u32(const char *name, unsigned long request);
    Called<void> set_ring_state(const char *name, unsigned long request, uint32_t ring,
                                uint32_t value);
    Called<void> set_ring_fd(const char *name, unsigned long request, uint32_t ring, int fd);
    Called<void> send(const char *name, uint32_t asid, uint8_t type, uint64_t iova = 0,
                      uint64_t size = 0, uint64_t address = 0);
    tl::unexpected<CallError> failure(const char *name, int error) const;

    System *system_;
    std::string path_;
    int fd_;
};

}  // namespace vdpa::engine::kernel
