// SPDX-License-Identifier: Apache-2.0
#include "engine/relay/tap.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "engine/relay/virtio.hpp"

#ifndef IFF_NO_CARRIER
#define IFF_NO_CARRIER 0x0040  // Linux 6.1; older kernels take no notice of it
#endif

namespace vdpa::engine::relay {

namespace {

constexpr const char *tun_device = "/dev/net/tun";

/* Of what the kernel's TUN driver says (drivers/net/tun.c), where that tells. */
const char *remedy(int error) {
    switch (error) {
        case E2BIG:
            return ", all of its queues are taken: end the program that has them open";
        case EBUSY:
            return ", another program has it open: end that";
        case EPERM:
            return ", it belongs to another user than the engine's";
        case EMFILE:
            return ": raise LimitNOFILE of the engine's unit";
        default:
            return "";
    }
}

int ioctl_ptr(int fd, unsigned long request, void *argument) {
    return ioctl(fd, request, argument);
}

}  // namespace

Tap::Tap(std::string netdev, unsigned max_queues)
    : netdev_(std::move(netdev)), queues_(max_queues), multi_queue_(max_queues > 1) {}

tl::unexpected<Error> Tap::failed(const std::string &what) const {
    const int error = errno;
    const bool is_gone = error == EBADFD || if_nametoindex(netdev_.c_str()) == 0;
    return fail(schema::Reason::tap_failed,
                "TAP netdev " + netdev_ + ": " + what + ": " + errno_text(error) +
                    (is_gone ? ", the netdev was deleted: it has to be made anew" : remedy(error)));
}

Expected<Tap> Tap::open(const std::string &netdev, unsigned max_queues, bool takes_over) {
    Tap tap(netdev, max_queues);
    if (auto done = tap.open_first_queue(takes_over); !done) {
        return tl::make_unexpected(done.error());
    }
    return tap;
}

Expected<void> Tap::open_first_queue(bool takes_over) {
    int refusal = 0;
    auto fd = attach(refusal);
    if (refusal == EINVAL) {
        // It was made for another number of queues.
        multi_queue_ = !multi_queue_;
        fd = attach(refusal);
    }
    if (!multi_queue_ && takes_over && refusal == EBUSY) {
        return {};  // opened by take(), then
    }
    if (!fd) {
        return tl::make_unexpected(fd.error());
    }
    queues_[0] = {.fd = std::move(*fd), .steered = true};
    // Nobody reads it yet. If it has many, somebody else may be serving the netdev; the only one
    // gets no frames while there is no carrier, and stays open: for a queue that is closed the
    // kernel waits, with the rtnl lock, until no processor can be using it.
    return multi_queue_ ? set_steered(queues_[0], false) : see_to_no_carrier();
}

/* IFF_NO_CARRIER does it where the kernel knows that. */
Expected<void> Tap::see_to_no_carrier() {
    unsigned features = 0;
    int carrier = 0;
    if (ioctl_ptr(queue_fd(0), TUNGETFEATURES, &features) == 0 &&
        (features & IFF_NO_CARRIER) != 0) {
        return {};
    }
    return ioctl_ptr(queue_fd(0), TUNSETCARRIER, &carrier) == 0 ? Expected<void>()
                                                                : failed("TUNSETCARRIER");
}

Expected<void> Tap::take() {
    if (taken_) {
        return {};
    }
    auto done = multi_queue_ ? set_steered(queues_[0], true) : open_queue(0);
    if (!done) {
        return done;
    }
    int little_endian = 1;
    if (ioctl_ptr(queue_fd(0), TUNSETVNETLE, &little_endian) != 0) {
        return failed("TUNSETVNETLE");
    }
    int size = static_cast<int>(sizeof(virtio_net_hdr_v1));
    if (ioctl_ptr(queue_fd(0), TUNSETVNETHDRSZ, &size) != 0) {
        return failed("TUNSETVNETHDRSZ");
    }
    if (ioctl(queue_fd(0), TUNSETOFFLOAD, 0UL) != 0) {
        return failed("TUNSETOFFLOAD");
    }
    int carrier = 0;
    if (ioctl_ptr(queue_fd(0), TUNSETCARRIER, &carrier) != 0) {
        return failed("TUNSETCARRIER");
    }
    header_size_ = sizeof(virtio_net_hdr_v1);
    taken_ = true;
    return {};
}

Tap::~Tap() {
    if (!queues_.empty() && taken_) {
        // The kernel takes the carrier away with the last queue, but only for that reason.
        (void)configure(sizeof(virtio_net_hdr_v1), 0);
        (void)set_carrier(false);
    }
}

Expected<UniqueFd> Tap::attach(int &refusal) const {
    refusal = 0;
    ifreq request{};
    if (netdev_.empty() || netdev_.size() >= sizeof request.ifr_name) {
        return fail(schema::Reason::tap_failed, "\"" + netdev_ + "\" cannot be a netdev's name");
    }
    // TUNSETIFF makes what it does not find, given the privilege.
    if (if_nametoindex(netdev_.c_str()) == 0) {
        return fail(schema::Reason::netdev_missing, "there is no netdev " + netdev_);
    }
    UniqueFd fd(::open(tun_device, O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd) {
        return failed(std::string("cannot open ") + tun_device);
    }
    std::memcpy(request.ifr_name, netdev_.data(), netdev_.size());
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_NO_CARRIER |
                                           (multi_queue_ ? IFF_MULTI_QUEUE : 0));
    if (ioctl_ptr(fd.get(), TUNSETIFF, &request) != 0) {
        refusal = errno;
        return failed("cannot be opened as a TAP with IFF_VNET_HDR");
    }
    ifreq found{};
    if (ioctl_ptr(fd.get(), TUNGETIFF, &found) != 0) {
        return failed("TUNGETIFF");
    }
    if ((found.ifr_flags & IFF_PERSIST) == 0) {
        // It went away in between and TUNSETIFF made another, which ends with the descriptor.
        return fail(schema::Reason::netdev_missing, "there is no persistent TAP netdev " + netdev_);
    }
    return fd;
}

Expected<void> Tap::open_queue(unsigned index) {
    if (!multi_queue_) {
        index = 0;
    }
    if (!queues_[index].fd) {
        int refusal = 0;
        auto fd = attach(refusal);
        if (!fd) {
            return tl::make_unexpected(fd.error());
        }
        queues_[index] = {.fd = std::move(*fd), .steered = true};
    }
    return {};
}

void Tap::close_queue(unsigned index) {
    if (index != 0) {
        queues_[index] = {};
    }
}

Expected<void> Tap::steer_queue(unsigned index, bool in_use) {
    Queue &queue = queues_[index];
    if (!queue.fd || queue.steered == in_use || index == 0) {
        return {};
    }
    return set_steered(queue, in_use);
}

Expected<void> Tap::set_steered(Queue &queue, bool in_use) const {
    if (queue.steered == in_use) {
        return {};
    }
    ifreq request{};
    request.ifr_flags = static_cast<short>(in_use ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    if (ioctl_ptr(queue.fd.get(), TUNSETQUEUE, &request) != 0) {
        return failed("TUNSETQUEUE");
    }
    queue.steered = in_use;
    return {};
}

Expected<void> Tap::configure(size_t header_size, unsigned offloads) {
    if (auto done = take(); !done) {
        return done;
    }
    if (header_size_ != header_size) {
        header_size_.reset();
        int size = static_cast<int>(header_size);
        if (ioctl_ptr(queue_fd(0), TUNSETVNETHDRSZ, &size) != 0) {
            return failed("TUNSETVNETHDRSZ");
        }
        header_size_ = header_size;
    }
    if (offloads_ != offloads) {
        offloads_.reset();
        if (ioctl(queue_fd(0), TUNSETOFFLOAD, static_cast<unsigned long>(offloads)) != 0) {
            return failed("TUNSETOFFLOAD");
        }
        offloads_ = offloads;
    }
    return {};
}

Expected<void> Tap::set_carrier(bool on) {
    if (carrier_ != on) {
        if (auto done = take(); !done) {
            return done;
        }
        carrier_.reset();
        int carrier = on ? 1 : 0;
        if (ioctl_ptr(queue_fd(0), TUNSETCARRIER, &carrier) != 0) {
            return failed("TUNSETCARRIER");
        }
        carrier_ = on;
    }
    return {};
}

void Tap::drain() {
    // A frame that does not fit is cut off and gone all the same. The bound is a multiple of the
    // queue's length, for the case that frames keep coming.
    std::array<char, 64> frame;
    for (unsigned frames = 0; frames < 4096; frames++) {
        if (read(queue_fd(0), frame.data(), frame.size()) < 0) {
            return;
        }
    }
}

}  // namespace vdpa::engine::relay
