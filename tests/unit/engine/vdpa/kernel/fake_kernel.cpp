// SPDX-License-Identifier: Apache-2.0
#include "fake_kernel.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <utility>

#include "engine/relay/call.hpp"

namespace vdpa::engine::kernel {

namespace {

constexpr int device_fd = 1000;
constexpr int enotsupp = EOPNOTSUPP;

template <typename... Parts>
std::string text(const Parts &...parts) {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
}

std::string hex(uint64_t value) {
    std::ostringstream stream;
    stream << "0x" << std::hex << value;
    return stream.str();
}

std::string set_or_not(int fd) {
    return fd < 0 ? "none" : "fd";
}

}  // namespace

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

int FakeKernel::ioctl(int fd, unsigned long request, void *argument) {
    const std::lock_guard lock(mutex_);
    if (!open_ || fd != device_fd) {
        return -EBADF;
    }
    const auto give = [&](const char *name, auto value) {
        const int error = note(name);
        if (error == 0) {
            std::memcpy(argument, &value, sizeof(value));
        }
        return error;
    };
    switch (request) {
        case VHOST_SET_OWNER:
            if (const int error = note("SET_OWNER"); error != 0) {
                return error;
            }
            return std::exchange(owned_, true) ? -EBUSY : 0;
        case VHOST_VDPA_GET_DEVICE_ID:
            return give("GET_DEVICE_ID", device_id);
        case VHOST_VDPA_GET_STATUS:
            return give("GET_STATUS", status_);
        case VHOST_VDPA_SET_STATUS: {
            const uint8_t status = *static_cast<uint8_t *>(argument);
            if (const int error = note(text("SET_STATUS ", unsigned{status})); error != 0) {
                return error;
            }
            if (status == 0) {
                reset();
                return 0;
            }
            if ((status_ & ~status) != 0) {
                return -EINVAL;
            }
            status_ = static_cast<uint8_t>(status & ~refused_status);
            return 0;
        }
        case VHOST_GET_FEATURES:
            return give("GET_FEATURES", features);
        case VHOST_SET_FEATURES: {
            const uint64_t wanted = *static_cast<uint64_t *>(argument);
            if (const int error = note(text("SET_FEATURES ", hex(wanted))); error != 0) {
                return error;
            }
            if ((status_ & VIRTIO_CONFIG_S_FEATURES_OK) != 0) {
                return -EBUSY;
            }
            if ((wanted & ~features) != 0) {
                return -EINVAL;
            }
            driver_features_ = wanted;
            return 0;
        }
        case VHOST_GET_BACKEND_FEATURES:
            return give("GET_BACKEND_FEATURES", backend_features);
        case VHOST_SET_BACKEND_FEATURES: {
            const uint64_t wanted = *static_cast<uint64_t *>(argument);
            if (const int error = note(text("SET_BACKEND_FEATURES ", hex(wanted))); error != 0) {
                return error;
            }
            acked_backend_ = wanted;
            return (wanted & ~backend_features) != 0 ? -EOPNOTSUPP : 0;
        }
        case VHOST_VDPA_GET_CONFIG_SIZE:
            return give("GET_CONFIG_SIZE", static_cast<uint32_t>(config.size()));
        case VHOST_VDPA_GET_CONFIG: {
            if (const int error = note("GET_CONFIG"); error != 0) {
                return error;
            }
            auto *const wanted = static_cast<vhost_vdpa_config *>(argument);
            if (wanted->len == 0 || wanted->off > config.size() ||
                wanted->len > config.size() - wanted->off) {
                return -EINVAL;
            }
            std::memcpy(wanted->buf, &config[wanted->off], wanted->len);
            return 0;
        }
        case VHOST_VDPA_SET_CONFIG_CALL: {
            const int call = *static_cast<int *>(argument);
            const int error = note(text("SET_CONFIG_CALL ", set_or_not(call)));
            if (error == 0) {
                config_call_.reset(call < 0 ? -1 : ::dup(call));
            }
            return error;
        }
        case VHOST_VDPA_GET_IOVA_RANGE:
            return give("GET_IOVA_RANGE", vhost_vdpa_iova_range{first_iova, last_iova});
        case VHOST_VDPA_GET_AS_NUM:
            return give("GET_AS_NUM", address_spaces);
        case VHOST_VDPA_GET_VQS_COUNT:
            return give("GET_VQS_COUNT", ring_count);
        case VHOST_VDPA_GET_VRING_NUM:
            return give("GET_VRING_NUM", max_ring_size);
        case VHOST_VDPA_SUSPEND: {
            const int error = note("SUSPEND");
            suspended_ = suspended_ || error == 0;
            return error;
        }
        default:
            return owned_ ? ring_ioctl(request, argument) : -EPERM;
    }
}

int FakeKernel::ring_ioctl(unsigned long request, void *argument) {
    // Every one of these structures begins with the ring's number.
    const uint32_t ring = *static_cast<uint32_t *>(argument);
    auto *const state = static_cast<vhost_vring_state *>(argument);
    auto *const file = static_cast<vhost_vring_file *>(argument);
    const bool is_group = request == VHOST_VDPA_SET_GROUP_ASID;
    if (!is_group && ring >= ring_count) {
        return -ENOBUFS;
    }
    Queue &queue = queues_[is_group ? 0 : ring];
    const bool running = (status_ & VIRTIO_CONFIG_S_DRIVER_OK) != 0 && !suspended_;
    const bool packed = has(driver_features_, VIRTIO_F_RING_PACKED);
    switch (request) {
        case VHOST_SET_VRING_NUM:
            if (const int error = note(text("SET_VRING_NUM ", ring, " ", state->num)); error != 0) {
                return error;
            }
            if (state->num == 0 || state->num > max_ring_size ||
                (state->num & (state->num - 1)) != 0) {
                return -EINVAL;
            }
            queue.num = state->num;
            return 0;
        case VHOST_SET_VRING_BASE:
            if (const int error = note(text("SET_VRING_BASE ", ring, " ", hex(state->num)));
                error != 0) {
                return error;
            }
            if (running || (!packed && state->num > 0xffff)) {
                return -EINVAL;
            }
            if (takes_only_fresh_rings && state->num != (packed ? 0x80008000U : 0U)) {
                return -enotsupp;
            }
            queue.base = state->num;
            return 0;
        case VHOST_GET_VRING_BASE:
            if (const int error = note(text("GET_VRING_BASE ", ring)); error != 0) {
                return error;
            }
            if (!tells_ring_state) {
                return -enotsupp;
            }
            state->num = queue.base;
            return 0;
        case VHOST_SET_VRING_ADDR: {
            const auto *const address = static_cast<vhost_vring_addr *>(argument);
            if (const int error =
                    note(text("SET_VRING_ADDR ", ring, " ", hex(address->desc_user_addr)));
                error != 0) {
                return error;
            }
            if (running || address->avail_user_addr % 2 != 0 || address->used_user_addr % 4 != 0) {
                return -EINVAL;
            }
            queue.desc = address->desc_user_addr;
            queue.avail = address->avail_user_addr;
            queue.used = address->used_user_addr;
            return 0;
        }
        case VHOST_SET_VRING_KICK:
        case VHOST_SET_VRING_CALL: {
            const bool kick = request == VHOST_SET_VRING_KICK;
            if (file->fd >= 0 && !relay::is_eventfd(file->fd)) {
                return -EINVAL;  // eventfd_ctx_fdget()
            }
            const int error = note(text(kick ? "SET_VRING_KICK " : "SET_VRING_CALL ", ring, " ",
                                        set_or_not(file->fd)));
            if (error == 0) {
                (kick ? kicks_ : calls_)[ring].reset(file->fd < 0 ? -1 : ::dup(file->fd));
            }
            return error;
        }
        case VHOST_VDPA_SET_VRING_ENABLE: {
            const int error = note(text("SET_VRING_ENABLE ", ring, " ", state->num));
            queue.enabled = error == 0 ? state->num != 0 : queue.enabled;
            return error;
        }
        case VHOST_VDPA_GET_VRING_GROUP: {
            const int error = note(text("GET_VRING_GROUP ", ring));
            state->num = ring < groups.size() ? groups[ring] : 0;
            return error;
        }
        case VHOST_VDPA_SET_GROUP_ASID:
            if (const int error = note(text("SET_GROUP_ASID ", ring, " ", state->num));
                error != 0) {
                return error;
            }
            if (state->num >= address_spaces) {
                return -EINVAL;
            }
            group_spaces_[ring] = state->num;
            return 0;
        default:
            return -ENOTTY;
    }
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
