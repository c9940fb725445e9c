// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* Has the vhost library's event thread look at its sockets at once. When a server socket is
 * started the library adds it to its list of descriptors, but the thread, asleep in poll(), reads
 * that list anew only when something happens or a second has passed; for so long a front-end would
 * wait for the first answer. So we keep a connection to ourselves among its sockets, and send a
 * message that means nothing (SET_OWNER) over it. */
class EventThread {
  public:
    /* `folder`: where a socket may be made for an instant. Needs a running EAL; for the DPDK
     * control thread. Error: engine-error. */
    static Expected<std::unique_ptr<EventThread>> start(const std::string &folder);
    ~EventThread();
    EventThread(const EventThread &) = delete;
    EventThread &operator=(const EventThread &) = delete;

    void wake() const;

  private:
    EventThread() = default;

    std::string library_path_;
    UniqueFd connection_;
};

}  // namespace vdpa::engine::vhost
