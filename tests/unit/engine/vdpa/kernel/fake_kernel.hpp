// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/vdpa/kernel/system.hpp"
#include "engine/vdpa/kernel/uapi.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

/* A vhost-vdpa character device with a network device behind it, which keeps the rules of
 * drivers/vhost/vdpa.c (Linux 6.12): what it refuses, the kernel refuses. Thread-safe. */
class FakeKernel final : public System {
  public:
    struct Mapping {
        uint64_t size;
        uint64_t address;
        bool operator==(const Mapping &) const = default;
    };
    struct Queue {
        uint32_t num = 0;
        uint32_t base = 0;
        uint64_t desc = 0;
        uint64_t avail = 0;
        uint64_t used = 0;
        int kick = -1;  // the kernel's own descriptors of the eventfds
        int call = -1;
        bool enabled = false;
        bool operator==(const Queue &) const = default;
    };

    FakeKernel();

    // What the device is.
    uint32_t device_id = VIRTIO_ID_NET;
    uint64_t features;
    uint64_t backend_features;
    uint32_t ring_count = 3;
    uint16_t max_ring_size = 256;
    uint32_t address_spaces = 1;
    std::vector<uint32_t> groups;  // by ring; 0 for those that are not there
    std::array<uint8_t, sizeof(virtio_net_config)> config{};
    uint64_t first_iova = 0;
    uint64_t last_iova = UINT64_MAX;
    bool tells_ring_state = true;
    bool takes_only_fresh_rings = false;
    /* Status bits that the device refuses. */
    uint8_t refused_status = 0;
    uint64_t memory = uint64_t{1} << 40;
    /* Called for each piece of memory that is mapped, without a lock. */
    std::function<void()> on_map;

    // What it is told, in order: names as in linux/vhost.h without "VHOST_" and "VDPA_".
    std::vector<std::string> calls() const;
    void forget_calls();
    size_t call_count() const;
    /* The call after `count` more fails with `error`, and has no effect. */
    void fail_after(size_t count, int error = EIO);
    /* Calls of this name fail with `error` (0: no more), and have no effect. */
    void fail(const std::string &name, int error);

    // What state it is in.
    bool open() const;
    uint8_t status() const;
    uint64_t driver_features() const;
    std::map<uint64_t, Mapping> mappings(uint32_t asid = 0) const;
    bool in_batch() const;
    /* What was taken out of the process's page tables: sizes, by address. */
    std::map<uint64_t, uint64_t> forgotten_pages() const;
    uint32_t space_of_group(uint32_t group) const;
    Queue queue(uint32_t ring) const;
    int config_call() const;
    /* Nothing of ours is left in it: no mapping, no eventfd, device reset, or all closed. */
    bool clean() const;

    // What it does by itself.
    void set_status(uint8_t status);
    void set_position(uint32_t ring, uint32_t base);
    void change_config(size_t offset, uint8_t value);
    /* Interrupts: nothing where nobody has asked for them. Here, not by the descriptor that queue()
     * and config_call() tell, for a driver at work may have that closed at any time. */
    void interrupt(uint32_t ring);
    void interrupt_for_config();

    int open(const char *path) override;
    void close(int fd) override;
    int ioctl(int fd, unsigned long request, void *argument) override;
    ssize_t write(int fd, const void *bytes, size_t size) override;
    uint64_t memory_size() override { return memory; }
    uint64_t lockable_memory() override { return UINT64_MAX; }
    uint64_t map_entries() override { return 2048; }
    void forget_pages(uint64_t address, uint64_t size) override;

  private:
    static constexpr int device_fd = 1000;

    int note(std::string call);
    int ring_ioctl(unsigned long request, void *argument);
    int on_iotlb(const vhost_msg_v2 &message);
    void reset();
    void forget_everything();

    mutable std::mutex mutex_;
    std::vector<std::string> log_;
    std::optional<size_t> fail_after_;
    int fail_error_ = 0;
    std::map<std::string, int> failing_;
    bool open_ = false;
    bool owned_ = false;
    bool suspended_ = false;
    uint8_t status_ = 0;
    uint64_t driver_features_ = 0;
    uint64_t acked_backend_ = 0;
    std::map<uint32_t, std::map<uint64_t, Mapping>> spaces_;
    std::map<uint32_t, uint32_t> group_spaces_;
    std::optional<uint32_t> batch_;
    std::map<uint64_t, uint64_t> forgotten_pages_;
    std::map<uint32_t, Queue> queues_;
    std::map<uint32_t, UniqueFd> kicks_;
    std::map<uint32_t, UniqueFd> calls_;
    UniqueFd config_call_;
};

/* Bits of features, by number. */
constexpr uint64_t features_of(std::initializer_list<unsigned> numbers) {
    uint64_t features = 0;
    for (const unsigned number : numbers) {
        features |= uint64_t{1} << number;
    }
    return features;
}

}  // namespace vdpa::engine::kernel
