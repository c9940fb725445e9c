// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/relay/call.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::kernel {

/* Adds 1 to a front-end's eventfd without ever waiting for it, however full its counter is. False:
 * that could not be done. Thread-safe. */
bool signal_front_end(int eventfd);

/* Calls a front-end that gave a socket to be called by. User-mode Linux does (os_pipe() in
 * arch/um/drivers/virtio_uml.c), and the kernel takes eventfds only (vhost_vring_ioctl() in
 * drivers/vhost/vhost.c). So the device signals an eventfd of ours, which somebody has to poll. */
class CallRelay {
  public:
    /* `socket` is the front-end's. Error: device-failed. */
    static Expected<std::shared_ptr<CallRelay>> create(UniqueFd socket);

    /* To be given to the device, and to be polled. */
    int eventfd() const { return eventfd_.get(); }
    /* Calls the front-end if the device has signalled since. Waits for nothing. */
    void pass_on() const;
    /* Calls the front-end. Waits for nothing. */
    void call() const;

  private:
    CallRelay(UniqueFd socket, UniqueFd eventfd);

    const UniqueFd socket_;
    const UniqueFd eventfd_;
    // Which a socket needs none of.
    mutable relay::Caller no_caller_;
};

}  // namespace vdpa::engine::kernel
