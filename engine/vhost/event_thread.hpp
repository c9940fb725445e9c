// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* Has the vhost library's event thread look at its sockets at once. The thread, asleep in poll(),
 * reads the library's list of descriptors anew only when something happens or a second has passed
 * (DPDK 22.11, lib/vhost/fd_man.c). For so long a front-end of a socket that was started would wait
 * for the first answer; and one of a socket that ended for the end of its connection, as poll()
 * keeps what it waits for open. So we keep a connection to ourselves among the library's sockets,
 * and send a message that means nothing (SET_OWNER) over it. Later versions of the library wait
 * with epoll, where that does neither good nor harm. */
class EventThread {
  public:
    /* Makes that connection, by way of a socket that exists for an instant in a folder that only
     * our user may enter, beside `path`; what an engine that was killed in that instant left there
     * is removed. When it cannot be made, the log says so, and wake() does nothing. Needs a running
     * EAL. All but wake() is for the DPDK control thread. */
    explicit EventThread(const std::string &path);
    ~EventThread();
    EventThread(const EventThread &) = delete;
    EventThread &operator=(const EventThread &) = delete;

    /* To be called after a socket was started or has ended. Does not block. */
    void wake() const;

  private:
    Expected<void> connect(const std::string &path);

    std::string library_path_;
    UniqueFd connection_;
};

}  // namespace vdpa::engine::vhost
