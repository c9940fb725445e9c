// SPDX-License-Identifier: Apache-2.0
#include "fake_kernel.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fake_kernel_text.hpp"

namespace vdpa::engine::kernel {

FakeKernel::FakeKernel()
    : features(features_of({VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_F_RING_PACKED,
                            VIRTIO_NET_F_MAC, VIRTIO_NET_F_MTU, VIRTIO_NET_F_STATUS})),
      backend_features(bit(BackendFeature::iotlb_msg_v2) | bit(BackendFeature::iotlb_batch) |
                       bit(BackendFeature::iotlb_asid) | bit(BackendFeature::suspend) |
                       bit(BackendFeature::iotlb_persist)) {
    // mac, status (link up), max_virtqueue_pairs, mtu 1500.
    config = {0x52, 0x54, 0, 1, 2, 3, 1, 0, 1, 0, 0xdc, 0x05};
}

std::vector<std::string> FakeKernel::calls() const {
    const std::lock_guard lock(mutex_);
    return log_;
}

void FakeKernel::forget_calls() {
    const std::lock_guard lock(mutex_);
    log_.clear();
}

size_t FakeKernel::call_count() const {
    const std::lock_guard lock(mutex_);
    return log_.size();
}

void FakeKernel::fail_after(size_t count, int error) {
    const std::lock_guard lock(mutex_);
    fail_after_ = count;
    fail_error_ = error;
}

void FakeKernel::fail(const std::string &name, int error) {
    const std::lock_guard lock(mutex_);
    failing_[name] = error;
}

bool FakeKernel::open() const {
    const std::lock_guard lock(mutex_);
    return open_;
}

uint8_t FakeKernel::status() const {
    const std::lock_guard lock(mutex_);
    return status_;
}

uint64_t FakeKernel::driver_features() const {
    const std::lock_guard lock(mutex_);
    return driver_features_;
}

std::map<uint64_t, FakeKernel::Mapping> FakeKernel::mappings(uint32_t asid) const {
    const std::lock_guard lock(mutex_);
    const auto space = spaces_.find(asid);
    return space == spaces_.end() ? std::map<uint64_t, Mapping>{} : space->second;
}

bool FakeKernel::in_batch() const {
    const std::lock_guard lock(mutex_);
    return batch_.has_value();
}

std::map<uint64_t, uint64_t> FakeKernel::forgotten_pages() const {
    const std::lock_guard lock(mutex_);
    return forgotten_pages_;
}

void FakeKernel::forget_pages(uint64_t address, uint64_t size) {
    const std::lock_guard lock(mutex_);
    forgotten_pages_[address] = size;
}

uint32_t FakeKernel::space_of_group(uint32_t group) const {
    const std::lock_guard lock(mutex_);
    const auto space = group_spaces_.find(group);
    return space == group_spaces_.end() ? 0 : space->second;
}

FakeKernel::Queue FakeKernel::queue(uint32_t ring) const {
    const std::lock_guard lock(mutex_);
    const auto found = queues_.find(ring);
    Queue queue = found == queues_.end() ? Queue{} : found->second;
    const auto descriptor = [ring](const std::map<uint32_t, UniqueFd> &fds) {
        const auto fd = fds.find(ring);
        return fd == fds.end() ? -1 : fd->second.get();
    };
    queue.kick = descriptor(kicks_);
    queue.call = descriptor(calls_);
    return queue;
}

int FakeKernel::config_call() const {
    const std::lock_guard lock(mutex_);
    return config_call_.get();
}

bool FakeKernel::clean() const {
    const std::lock_guard lock(mutex_);
    const auto none = [](const std::map<uint32_t, UniqueFd> &fds) {
        return std::none_of(fds.begin(), fds.end(), [](const auto &fd) { return bool(fd.second); });
    };
    const bool no_mapping = std::all_of(spaces_.begin(), spaces_.end(),
                                        [](const auto &space) { return space.second.empty(); });
    return none(kicks_) && none(calls_) && no_mapping && !batch_ && !config_call_ && status_ == 0;
}

void FakeKernel::set_status(uint8_t status) {
    const std::lock_guard lock(mutex_);
    status_ = status;
}

void FakeKernel::set_position(uint32_t ring, uint32_t base) {
    const std::lock_guard lock(mutex_);
    queues_[ring].base = base;
}

void FakeKernel::change_config(size_t offset, uint8_t value) {
    const std::lock_guard lock(mutex_);
    config.at(offset) = value;
}

void FakeKernel::interrupt(uint32_t ring) {
    const std::lock_guard lock(mutex_);
    if (const auto call = calls_.find(ring); call != calls_.end() && call->second) {
        ::eventfd_write(call->second.get(), 1);
    }
}

void FakeKernel::interrupt_for_config() {
    const std::lock_guard lock(mutex_);
    if (config_call_) {
        ::eventfd_write(config_call_.get(), 1);
    }
}

/* Notes the call; what it is to fail with. */
int FakeKernel::note(std::string call) {
    const std::string name = call.substr(0, call.find(' '));
    log_.push_back(std::move(call));
    if (fail_after_) {
        if (*fail_after_ == 0) {
            fail_after_.reset();
            return -fail_error_;
        }
        --*fail_after_;
    }
    const auto failing = failing_.find(name);
    return failing == failing_.end() ? 0 : -failing->second;
}

void FakeKernel::reset() {
    status_ = 0;
    suspended_ = false;
    driver_features_ = 0;
    group_spaces_.clear();
    for (auto &[ring, queue] : queues_) {
        queue.enabled = false;
        queue.base = 0;
    }
}

void FakeKernel::forget_everything() {
    reset();
    queues_.clear();
    spaces_.clear();
    batch_.reset();
    kicks_.clear();
    calls_.clear();
    config_call_.reset();
    owned_ = false;
    open_ = false;
}

int FakeKernel::open(const char *path) {
    const std::lock_guard lock(mutex_);
    if (const int error = note(text("open ", path)); error != 0) {
        return error;
    }
    if (open_) {
        return -EBUSY;
    }
    open_ = true;
    return device_fd;
}

void FakeKernel::close(int) {
    const std::lock_guard lock(mutex_);
    note("close");
    forget_everything();
}

ssize_t FakeKernel::write(int fd, const void *bytes, size_t size) {
    vhost_msg_v2 message{};
    if (size != sizeof(message)) {
        return -EINVAL;
    }
    std::memcpy(&message, bytes, sizeof(message));
    if (message.iotlb.type == VHOST_IOTLB_UPDATE && on_map) {
        on_map();
    }
    const std::lock_guard lock(mutex_);
    if (!open_ || fd != device_fd) {
        return -EBADF;
    }
    const int error = on_iotlb(message);
    return error != 0 ? error : static_cast<ssize_t>(size);
}

int FakeKernel::on_iotlb(const vhost_msg_v2 &message) {
    const vhost_iotlb_msg &iotlb = message.iotlb;
    const uint32_t asid = message.asid;
    const auto other_batch = [&] { return batch_ && *batch_ != asid; };
    switch (iotlb.type) {
        case VHOST_IOTLB_BATCH_BEGIN:
            if (const int error = note(text("BATCH_BEGIN ", asid)); error != 0) {
                return error;
            }
            batch_ = asid;
            spaces_[asid];
            return asid >= address_spaces ? -EFAULT : 0;
        case VHOST_IOTLB_BATCH_END: {
            const int error = note(text("BATCH_END ", asid));
            if (error == 0) {
                batch_.reset();
            }
            return error;
        }
        case VHOST_IOTLB_UPDATE: {
            if (const int error =
                    note(text("MAP ", asid, " ", hex(iotlb.iova), " ", hex(iotlb.size)));
                error != 0) {
                return error;
            }
            const uint64_t last = iotlb.iova + (iotlb.size - 1);
            if (other_batch() || iotlb.size == 0 || last < iotlb.iova || iotlb.iova < first_iova ||
                last > last_iova) {
                return -EFAULT;
            }
            for (const auto &[start, mapping] : spaces_[asid]) {
                if (start <= last && iotlb.iova <= start + (mapping.size - 1)) {
                    return -EFAULT;
                }
            }
            spaces_[asid][iotlb.iova] = {iotlb.size, iotlb.uaddr};
            return 0;
        }
        case VHOST_IOTLB_INVALIDATE: {
            if (const int error =
                    note(text("UNMAP ", asid, " ", hex(iotlb.iova), " ", hex(iotlb.size)));
                error != 0) {
                return error;
            }
            const uint64_t last = iotlb.iova + (iotlb.size - 1);
            std::erase_if(spaces_[asid], [&](const auto &mapping) {
                return mapping.first <= last &&
                       iotlb.iova <= mapping.first + (mapping.second.size - 1);
            });
            return other_batch() ? -EFAULT : 0;
        }
        default:
            return -EINVAL;
    }
}

}  // namespace vdpa::engine::kernel
