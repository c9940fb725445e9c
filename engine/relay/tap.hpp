// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::relay {

/* An existing persistent TAP netdev with IFF_VNET_HDR, and the queues of it that are ours. One with
 * IFF_MULTI_QUEUE can have many; one without has one, which one process at a time can open
 * (Documentation/networking/tuntap.rst). Most functions take the kernel's rtnl lock. Needs no
 * privilege where TUNSETOWNER named this process's user. Not thread-safe. */
class Tap {
  public:
    /* Opens the netdev and leaves it as it is, for another may be serving it: one that has many
     * queues gets no frames for this one until take(), one that has a single queue has no carrier.
     * With `takes_over` another may have the only queue until take(). Errors:
     * netdev-missing; tap-failed, when it is no such TAP or the kernel refuses. */
    static Expected<Tap> open(const std::string &netdev, unsigned max_queues,
                              bool takes_over = false);
    ~Tap();
    Tap(Tap &&) = default;
    Tap &operator=(Tap &&) = delete;

    /* Not fewer than those that are open. */
    void set_max_queues(unsigned max_queues) { queues_.resize(max_queues); }

    /* Opens queue `index`, which the kernel uses from now on, unless it is open. A netdev that has
     * one queue lends it to all: frames can be sent by any, and are received by the first. Error:
     * tap-failed. */
    Expected<void> open_queue(unsigned index);
    /* Closes it; the frames that wait in it are gone. Queue 0 stays. */
    void close_queue(unsigned index);
    /* Whether the kernel sends frames to the open queue `index`; always to queue 0. Error:
     * tap-failed. */
    Expected<void> steer_queue(unsigned index, bool in_use);
    /* -1 when the queue is not open; else non-blocking. */
    int queue_fd(unsigned index) const { return queues_[multi_queue_ ? index : 0].fd.get(); }
    bool receives(unsigned index) const { return multi_queue_ || index == 0; }

    /* Makes the netdev ours: the kernel sends frames to queue 0, there is no carrier, offloads are
     * off. Done by the first configure(), which must not come before whoever served the netdev
     * until now has let go of it. Error: tap-failed. */
    Expected<void> take();
    /* The size of the virtio-net header, 10 or 12, and TUN_F_ flags of what readers can take. Does
     * nothing when that is what was set before. Error: tap-failed. */
    Expected<void> configure(size_t header_size, unsigned offloads);
    Expected<void> set_carrier(bool on);
    /* Throws away what waits in queue 0. */
    void drain();

  private:
    struct Queue {
        UniqueFd fd;
        bool steered = false;
    };

    Tap(std::string netdev, unsigned max_queues);
    Expected<void> open_first_queue(bool takes_over);
    Expected<void> see_to_no_carrier();
    /* `refusal`: the error number of TUNSETIFF, 0 if that was not the reason. */
    Expected<UniqueFd> attach(int &refusal) const;
    Expected<void> set_steered(Queue &queue, bool in_use) const;
    tl::unexpected<Error> failed(const std::string &what) const;

    std::string netdev_;
    std::vector<Queue> queues_;
    bool multi_queue_;  // the netdev; a guess until it is open
    // As they were set; none: what they are is not known, as the kernel has refused a change.
    std::optional<size_t> header_size_;
    std::optional<unsigned> offloads_ = 0;
    std::optional<bool> carrier_ = false;
    bool taken_ = false;
};

}  // namespace vdpa::engine::relay
