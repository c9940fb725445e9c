// SPDX-License-Identifier: Apache-2.0
#include "device.hpp"

#include <fcntl.h>
#include <linux/vduse.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "engine/relay/virtio.hpp"

namespace vdpa::test {

namespace {

using engine::relay::Chain;
using engine::relay::Fetch;
using engine::relay::RingSetup;
using engine::relay::Segments;
using engine::relay::Virtqueue;

constexpr uint16_t ring_size = 256;
constexpr uint8_t link_up = VIRTIO_NET_S_LINK_UP;

void require(bool good, const std::string &what) {
    if (!good) {
        std::fprintf(stderr, "vduse-loop: %s: %s\n", what.c_str(), std::strerror(errno));
        std::exit(2);
    }
}

constexpr uint64_t bits(std::initializer_list<unsigned> numbers) {
    uint64_t features = 0;
    for (const unsigned number : numbers) {
        features |= uint64_t{1} << number;
    }
    return features;
}

/* A structure with bytes behind it, as the kernel takes it. */
template <typename T>
std::vector<uint8_t> with_bytes(const T &header, const void *bytes, size_t size) {
    std::vector<uint8_t> whole(sizeof(header) + size);
    std::memcpy(whole.data(), &header, sizeof(header));
    std::memcpy(whole.data() + sizeof(header), bytes, size);
    return whole;
}

/* Copies from the chain that is read to the one that is written; how much. */
uint32_t copy(const Segments &from, const Segments &to) {
    uint32_t copied = 0;
    size_t target = 0;
    size_t filled = 0;
    for (size_t i = 0; i < from.count(); ++i) {
        const auto *bytes = static_cast<const uint8_t *>(from.iov()[i].iov_base);
        size_t left = from.iov()[i].iov_len;
        while (left != 0 && target < to.count()) {
            const iovec &room = to.iov()[target];
            const size_t n = std::min(left, room.iov_len - filled);
            std::memcpy(static_cast<uint8_t *>(room.iov_base) + filled, bytes, n);
            bytes += n;
            left -= n;
            filled += n;
            copied += static_cast<uint32_t>(n);
            if (filled == room.iov_len) {
                ++target;
                filled = 0;
            }
        }
    }
    return copied;
}

}  // namespace

Device::Device(const DeviceOptions &options) : options_(options), frames_(options.pairs) {
    control_.reset(::open("/dev/vduse/control", O_RDWR | O_CLOEXEC));
    require(static_cast<bool>(control_), "/dev/vduse/control");
    uint64_t version = VDUSE_API_VERSION;
    require(::ioctl(control_.get(), VDUSE_SET_API_VERSION, &version) == 0, "API version");

    virtio_net_config space{};
    constexpr uint8_t mac[6] = {0x52, 0x54, 0, 0x0d, 0x0e, 0x0f};
    std::memcpy(space.mac, mac, sizeof(mac));
    space.status = link_up;
    space.max_virtqueue_pairs = options.pairs;
    space.mtu = 1500;
    vduse_dev_config config{};
    options.name.copy(config.name, sizeof(config.name) - 1);
    config.device_id = 1;  // network
    config.features = bits({VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_NET_F_MAC,
                            VIRTIO_NET_F_STATUS, VIRTIO_NET_F_MTU, VIRTIO_NET_F_MRG_RXBUF}) |
                      (options.packed ? bits({VIRTIO_F_RING_PACKED}) : 0) |
                      (options.pairs > 1 ? bits({VIRTIO_NET_F_MQ}) : 0);
    config.vq_num = ring_count();
    config.vq_align = 4096;
    config.config_size = sizeof(space);
    auto request = with_bytes(config, &space, sizeof(space));
    require(::ioctl(control_.get(), VDUSE_CREATE_DEV, request.data()) == 0, "VDUSE_CREATE_DEV");
    device_.reset(::open(("/dev/vduse/" + options.name).c_str(), O_RDWR | O_CLOEXEC));
    require(static_cast<bool>(device_), "/dev/vduse/" + options.name);
    for (uint16_t ring = 0; ring < ring_count(); ++ring) {
        vduse_vq_config queue{};
        queue.index = ring;
        queue.max_size = ring_size;
        require(::ioctl(device_.get(), VDUSE_VQ_SETUP, &queue) == 0, "VDUSE_VQ_SETUP");
    }
    for (uint16_t pair = 0; pair < options.pairs; ++pair) {
        kicks_.emplace_back(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    }
    memory_ = std::make_unique<Memory>(device_.get());
}

Device::~Device() {
    stop();
    device_.reset();
    char name[VDUSE_NAME_MAX] = {};
    options_.name.copy(name, sizeof(name) - 1);
    if (::ioctl(control_.get(), VDUSE_DESTROY_DEV, name) != 0) {
        std::fprintf(stderr, "vduse-loop: the device stays: %s\n", std::strerror(errno));
    }
}

void Device::answer_request() {
    vduse_dev_request request{};
    if (::read(device_.get(), &request, sizeof(request)) != static_cast<ssize_t>(sizeof(request))) {
        return;
    }
    vduse_dev_response response{};
    response.request_id = request.request_id;
    response.result = VDUSE_REQ_RESULT_OK;
    switch (request.type) {
        case VDUSE_GET_VQ_STATE: {
            const uint32_t ring = request.vq_state.index;
            response.vq_state.index = ring;
            const uint16_t position =
                ring < rings_.size() && rings_[ring] ? rings_[ring]->position() : uint16_t{0};
            if ((features_ & bits({VIRTIO_F_RING_PACKED})) != 0) {
                auto &packed = response.vq_state.packed;
                packed.last_avail_counter = packed.last_used_counter = position >> 15;
                packed.last_avail_idx = packed.last_used_idx = position & 0x7fff;
            } else {
                response.vq_state.split.avail_index = position;
            }
            break;
        }
        case VDUSE_SET_STATUS:
            if ((request.s.status & VIRTIO_CONFIG_S_DRIVER_OK) != 0) {
                start();
            } else {
                stop();
            }
            break;
        case VDUSE_UPDATE_IOTLB:
            // What was mapped may have gone. The driver does not change the memory of rings that
            // run.
            stop();
            break;
        default:
            response.result = VDUSE_REQ_RESULT_FAILED;
            break;
    }
    [[maybe_unused]] const ssize_t sent = ::write(device_.get(), &response, sizeof(response));
}

void Device::start() {
    if (!rings_.empty()) {
        return;
    }
    require(::ioctl(device_.get(), VDUSE_DEV_GET_FEATURES, &features_) == 0, "features");
    if (!memory_->map()) {
        std::fprintf(stderr, "vduse-loop: no memory to work with\n");
        return;
    }
    rings_.resize(ring_count());
    for (uint16_t ring = 0; ring < ring_count(); ++ring) {
        rings_[ring] = open_ring(ring);
    }
    for (uint16_t pair = 0; pair < options_.pairs; ++pair) {
        vduse_vq_eventfd kick{};
        kick.index = 2U * pair + 1;
        kick.fd = kicks_[pair].get();
        ::ioctl(device_.get(), VDUSE_VQ_SETUP_KICKFD, &kick);
        ::eventfd_write(kicks_[pair].get(), 1);
    }
}

void Device::stop() {
    rings_.clear();
    memory_->forget();
    for (uint16_t pair = 0; pair < options_.pairs; ++pair) {
        vduse_vq_eventfd kick{};
        kick.index = 2U * pair + 1;
        kick.fd = VDUSE_EVENTFD_DEASSIGN;
        ::ioctl(device_.get(), VDUSE_VQ_SETUP_KICKFD, &kick);
    }
}

bool Device::enabled(uint16_t ring) const {
    vduse_vq_info info{};
    info.index = ring;
    return ::ioctl(device_.get(), VDUSE_VQ_GET_INFO, &info) == 0 && info.ready != 0;
}

std::unique_ptr<Virtqueue> Device::open_ring(uint16_t ring) {
    vduse_vq_info info{};
    info.index = ring;
    if (::ioctl(device_.get(), VDUSE_VQ_GET_INFO, &info) != 0 || info.num == 0) {
        return nullptr;
    }
    const auto host = [this](uint64_t address) -> void * {
        uint64_t size = 1;
        return memory_->guest().at(address, size);
    };
    RingSetup setup;
    setup.desc = host(info.desc_addr);
    setup.driver = host(info.driver_addr);
    setup.device = host(info.device_addr);
    setup.size = info.num;
    if ((features_ & bits({VIRTIO_F_RING_PACKED})) != 0) {
        setup.next_avail = static_cast<uint16_t>(info.packed.last_avail_counter << 15 |
                                                 info.packed.last_avail_idx);
        setup.next_used =
            static_cast<uint16_t>(info.packed.last_used_counter << 15 | info.packed.last_used_idx);
    } else {
        setup.next_avail = setup.next_used = info.split.avail_index;
    }
    return engine::relay::make_virtqueue(setup, features_, memory_->guest(), {});
}

void Device::interrupt(uint16_t ring) const {
    uint32_t index = ring;
    ::ioctl(device_.get(), VDUSE_VQ_INJECT_IRQ, &index);
}

void Device::loop(uint16_t pair) {
    eventfd_t count = 0;
    ::eventfd_read(kicks_[pair].get(), &count);
    const auto receive = static_cast<uint16_t>(2 * pair);
    const auto transmit = static_cast<uint16_t>(receive + 1);
    if (rings_.empty() || !rings_[receive] || !rings_[transmit] || !enabled(receive) ||
        !enabled(transmit)) {
        return;
    }
    Virtqueue &in = *rings_[receive];
    Virtqueue &out = *rings_[transmit];
    for (;;) {
        Chain sent;
        Segments from;
        if (out.fetch(sent, from) != Fetch::ok) {
            out.enable_kicks();
            if (!out.available()) {
                break;
            }
            out.disable_kicks();
            continue;
        }
        Chain room;
        Segments to;
        uint32_t length = 0;
        if (in.fetch(room, to) == Fetch::ok) {
            length = copy(from, to);
            // struct virtio_net_hdr_v1: num_buffers, little endian.
            if (to.count() != 0 && to.iov()[0].iov_len >= sizeof(virtio_net_hdr_v1)) {
                static_cast<virtio_net_hdr_v1 *>(to.iov()[0].iov_base)->num_buffers = 1;
            }
            in.use(room, length);
            ++frames_[pair];
        }
        out.use(sent, 0);
        if (in.publish()) {
            interrupt(receive);
        }
        if (out.publish()) {
            interrupt(transmit);
        }
    }
}

void Device::set_link(bool up) {
    const uint16_t status = up ? link_up : 0;
    vduse_config_data header{};
    header.offset = offsetof(virtio_net_config, status);
    header.length = sizeof(status);
    auto request = with_bytes(header, &status, sizeof(status));
    ::ioctl(device_.get(), VDUSE_DEV_SET_CONFIG, request.data());
    ::ioctl(device_.get(), VDUSE_DEV_INJECT_CONFIG_IRQ);
}

}  // namespace vdpa::test
