// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/control_queue.hpp"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vdpa::engine::kernel {

namespace {

/* Of the page; the command and its answer come after the ring's three parts. */
constexpr uint64_t page_bytes = 4096;
constexpr uint64_t descriptors_at = 0;
constexpr uint64_t driver_area_at = 1024;
constexpr uint64_t device_area_at = 2048;
constexpr uint64_t command_at = 3072;
constexpr uint64_t answer_at = 3088;

/* A command takes two descriptors, and there is one at a time. Packed rings of an even number of
 * them never have a command around their end. */
constexpr uint16_t most_descriptors = 8;

/* struct virtio_net_ctrl_hdr and struct virtio_net_ctrl_mq, little endian. */
struct __attribute__((packed)) Command {
    uint8_t command_class;
    uint8_t command;
    uint16_t pairs;
};
static_assert(sizeof(Command) == 4);

constexpr uint8_t unanswered = 0xff;

tl::unexpected<Error> failure(const DeviceInfo &info, const char *what) {
    return fail(schema::Reason::device_failed,
                info.path + ": no control queue: " + what + ": " + errno_text(errno));
}

Expected<UniqueFd> copy_of(const UniqueFd &fd) {
    UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) {
        return fail(schema::Reason::device_failed,
                    "cannot duplicate an eventfd: " + errno_text(errno));
    }
    return copy;
}

}  // namespace

Expected<std::unique_ptr<ControlQueue>> ControlQueue::create(const DeviceInfo &info,
                                                             uint64_t features, uint64_t iova) {
    UniqueFd kick(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    UniqueFd call(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!kick || !call) {
        return failure(info, "eventfd");
    }
    // Shared, that is, with a file behind it: devices that use virtual addresses take nothing else
    // (vhost_vdpa_va_map).
    void *const page =
        ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return failure(info, "mmap");
    }
    return std::unique_ptr<ControlQueue>(
        new ControlQueue(info, features, iova, page, std::move(kick), std::move(call)));
}

ControlQueue::ControlQueue(const DeviceInfo &info, uint64_t features, uint64_t iova, void *page,
                           UniqueFd kick, UniqueFd call)
    : index_(info.control_ring),
      packed_(has(features, VIRTIO_F_RING_PACKED)),
      size_(std::min(most_descriptors, info.max_ring_size)),
      iova_(iova),
      page_(page),
      kick_(std::move(kick)),
      call_(std::move(call)) {}

ControlQueue::~ControlQueue() {
    ::munmap(page_, page_bytes);
}

Region ControlQueue::region() const {
    return {.guest = iova_,
            .size = page_bytes,
            .host = reinterpret_cast<uint64_t>(page_),
            .page_size = page_bytes};
}

Expected<Ring> ControlQueue::ring() const {
    Ring ring;
    ring.index = index_;
    ring.size = size_;
    ring.descriptors = iova_ + descriptors_at;
    ring.driver_area = iova_ + driver_area_at;
    ring.device_area = iova_ + device_area_at;
    if (packed_) {
        ring.position = fresh_packed_position;
    }
    auto kick = copy_of(kick_);
    auto call = copy_of(call_);
    if (!kick || !call) {
        return tl::make_unexpected(kick ? call.error() : kick.error());
    }
    ring.kick = std::move(*kick);
    ring.call = std::move(*call);
    return ring;
}

void ControlQueue::ask_for_pairs(uint16_t pairs) {
    *at<Command>(command_at) = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs};
    *at<uint8_t>(answer_at) = unanswered;
    packed_ ? put_packed() : put_split();
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t kicked = ::write(kick_.get(), &one, sizeof(one));
}

// Virtio 1.2, 2.7.13. The device's notification is asked for by flags (0), and with EVENT_IDX by
// the index after the available ring, which must be that of the entry to come.
void ControlQueue::put_split() {
    auto *const descriptors = at<vring_desc>(descriptors_at);
    descriptors[0] = {
        .addr = iova_ + command_at, .len = sizeof(Command), .flags = VRING_DESC_F_NEXT, .next = 1};
    descriptors[1] = {.addr = iova_ + answer_at, .len = 1, .flags = VRING_DESC_F_WRITE, .next = 0};
    auto *const available = at<uint16_t>(driver_area_at);  // flags, idx, ring[], used_event
    available[0] = 0;
    available[2 + next_ % size_] = 0;
    available[2 + size_] = next_;
    ++next_;
    __atomic_store_n(&available[1], next_, __ATOMIC_RELEASE);
}

// Virtio 1.2, 2.8.13. The first descriptor becomes available last, and with it both.
void ControlQueue::put_packed() {
    auto *const descriptors = at<vring_packed_desc>(descriptors_at);
    const auto available = static_cast<uint16_t>(wrap_ ? 1U << VRING_PACKED_DESC_F_AVAIL
                                                       : 1U << VRING_PACKED_DESC_F_USED);
    descriptors[next_ + 1] = {.addr = iova_ + answer_at,
                              .len = 1,
                              .id = 0,
                              .flags = static_cast<uint16_t>(VRING_DESC_F_WRITE | available)};
    descriptors[next_].addr = iova_ + command_at;
    descriptors[next_].len = sizeof(Command);
    descriptors[next_].id = 0;
    __atomic_store_n(&descriptors[next_].flags,
                     static_cast<uint16_t>(VRING_DESC_F_NEXT | available), __ATOMIC_RELEASE);
    last_ = next_;
    last_wrap_ = wrap_;
    next_ = static_cast<uint16_t>(next_ + 2);
    if (next_ >= size_) {
        next_ = 0;
        wrap_ = !wrap_;
    }
}

bool ControlQueue::used() const {
    if (!packed_) {
        return __atomic_load_n(at<uint16_t>(device_area_at) + 1, __ATOMIC_ACQUIRE) == next_;
    }
    const uint16_t flags =
        __atomic_load_n(&at<vring_packed_desc>(descriptors_at)[last_].flags, __ATOMIC_ACQUIRE);
    return (flags >> VRING_PACKED_DESC_F_AVAIL & 1) == (last_wrap_ ? 1 : 0) &&
           (flags >> VRING_PACKED_DESC_F_USED & 1) == (last_wrap_ ? 1 : 0);
}

ControlQueue::Answer ControlQueue::answer() {
    uint64_t count = 0;
    [[maybe_unused]] const ssize_t drained = ::read(call_.get(), &count, sizeof(count));
    if (!used()) {
        return Answer::none;
    }
    return *at<volatile uint8_t>(answer_at) == VIRTIO_NET_OK ? Answer::ok : Answer::refused;
}

Expected<uint64_t> free_page(const DeviceInfo &info, const std::vector<Region> &memory) {
    std::vector<Region> sorted = memory;
    std::sort(sorted.begin(), sorted.end(),
              [](const Region &a, const Region &b) { return a.guest < b.guest; });
    constexpr uint64_t mask = page_bytes - 1;
    // The address 0 means "not set" to some devices.
    uint64_t candidate = std::max((info.first_iova + mask) & ~mask, page_bytes);
    for (const Region &region : sorted) {
        if (candidate + mask < region.guest) {
            break;
        }
        const uint64_t last = region.guest + (region.size - 1);
        candidate = last == UINT64_MAX ? UINT64_MAX : std::max(candidate, last + 1);
    }
    if (candidate > info.last_iova || info.last_iova - candidate < mask) {
        return fail(schema::Reason::device_failed,
                    info.path + ": the guest's memory leaves no address for a control queue");
    }
    return candidate;
}

}  // namespace vdpa::engine::kernel
