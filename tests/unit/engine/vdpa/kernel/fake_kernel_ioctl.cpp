// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/relay/call.hpp"
#include "fake_kernel.hpp"
#include "fake_kernel_text.hpp"

namespace vdpa::engine::kernel {

namespace {

constexpr int enotsupp = EOPNOTSUPP;

std::string set_or_not(int fd) {
    return fd < 0 ? "none" : "fd";
}

}  // namespace

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

}  // namespace vdpa::engine::kernel
