// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <rte_vhost.h>

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/pulse.hpp"
#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* Has the vhost library's event thread look at its sockets at once. The thread, asleep in poll(),
 * reads the library's list of descriptors anew only when something happens or a second has passed
 * (DPDK 22.11, lib/vhost/fd_man.c). For so long a front-end of a socket that was started would wait
 * for the first answer; and one of a socket that ended for the end of its connection, as poll()
 * keeps what it waits for open. So we keep a connection to ourselves among the library's sockets,
 * and send a message that means nothing (SET_OWNER) over it. Later versions of the library wait
 * with epoll, where that does neither good nor harm.
 *
 * The library handles the messages of all front-ends on that thread, one after the other. So what
 * must not happen while it handles one, is done while it handles ours. One object in a process. */
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
    /* Runs `work` on the event thread, soon. False: it will not, for want of that connection. Work
     * that waits when this object ends is dropped. For any thread; does not block. */
    bool post(std::function<void()> work);
    /* Of the event thread; none, for want of that connection. */
    std::optional<Pulse> pulse();
    /* A beat of it, which is to be told of each message of a front-end: with vDPA devices one may
     * take ten seconds, and many may come before ours. */
    static void beat();

  private:
    static int on_connected(int vid);
    static rte_vhost_msg_result on_message(int vid, void *message);
    void run_posted();

    Expected<void> connect(const std::string &path);

    std::string library_path_;
    UniqueFd connection_;
    std::mutex mutex_;
    std::vector<std::function<void()>> posted_;
};

}  // namespace vdpa::engine::vhost
