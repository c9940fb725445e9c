// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::ovs {

/* An answer to the unixctl request with this number. */
struct Reply {
    uint64_t request;
    bool ok;
    std::string text;
};

/* Whether there is an Interface row of that name. */
struct NameQuestion {
    std::string name;
    std::function<void(bool)> done;
};

/* Where other threads leave work for the OVS thread. */
class Inbox {
  public:
    struct Content {
        std::vector<StatusUpdate> status;
        std::vector<Reply> replies;
        std::vector<NameQuestion> questions;
        bool startup_complete = false;
        bool stop = false;
    };

    Inbox();

    /* From any thread; what comes after close() is dropped. */
    void put_status(std::vector<StatusUpdate> updates);
    void put_reply(Reply reply);
    void put_question(NameQuestion question);
    void put_startup_complete();
    void put_stop();

    /* Readable while there is something to take. */
    int fd() const { return event_.get(); }
    Content take();

    /* Nobody will take anything any more. */
    void close();

  private:
    void wake();

    UniqueFd event_;
    std::mutex mutex_;
    Content content_;
    bool closed_ = false;
};

}  // namespace vdpa::agent::ovs
