// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/vdpa/kernel/device_info.hpp"
#include "engine/vdpa/kernel/session.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

/* A control queue of our own on a device. A vhost-user front-end like QEMU takes the guest's
 * commands itself and passes on what they mean (SET_VRING_ENABLE), so that the device's own control
 * queue is there for us to tell it how many queue pairs are in use (virtio 1.2, 5.1.6.5.5).
 *
 * Its ring and its one command are in a page of this process. Where the device has no address space
 * of its own for that ring, the guest's descriptors can reach the page: nothing in it is believed
 * that could do harm, and nothing is in it that the guest may not know. For one start of the
 * device, like the ring in it. Not thread-safe. */
class ControlQueue {
  public:
    /* For a device with features `features`, which finds the page at `iova`. Error:
     * device-failed. */
    static Expected<std::unique_ptr<ControlQueue>> create(const DeviceInfo &info, uint64_t features,
                                                          uint64_t iova);
    ~ControlQueue();
    ControlQueue(const ControlQueue &) = delete;
    ControlQueue &operator=(const ControlQueue &) = delete;

    /* What is to be mapped. */
    Region region() const;
    /* The ring. Error: device-failed. */
    Expected<Ring> ring() const;

    /* Puts VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET into the ring and kicks it. The command before has to
     * be answered. */
    void ask_for_pairs(uint16_t pairs);
    enum class Answer : uint8_t { none, ok, refused };
    Answer answer();
    /* An eventfd, readable when the device may have answered; answer() makes it wait for more. */
    int answer_fd() const { return call_.get(); }

  private:
    ControlQueue(const DeviceInfo &info, uint64_t features, uint64_t iova, void *page,
                 UniqueFd kick, UniqueFd call);
    void put_split();
    void put_packed();
    bool used() const;

    template <typename T>
    T *at(uint64_t offset) const {
        return reinterpret_cast<T *>(static_cast<uint8_t *>(page_) + offset);
    }

    const uint32_t index_;
    const bool packed_;
    const uint16_t size_;
    const uint64_t iova_;
    void *const page_;
    const UniqueFd kick_;
    const UniqueFd call_;
    uint16_t next_ = 0;  // split: available index; packed: next descriptor
    uint16_t last_ = 0;  // packed: first descriptor of the last command
    bool wrap_ = true;   // packed: the wrap counter of `next_`
    bool last_wrap_ = true;
};

/* The lowest address that the device can use and that is not in `memory`, of a page. Error:
 * device-failed, there is none. */
Expected<uint64_t> free_page(const DeviceInfo &info, const std::vector<Region> &memory);

}  // namespace vdpa::engine::kernel
