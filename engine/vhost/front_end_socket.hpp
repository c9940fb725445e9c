// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "schema/engine_rpc.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::vhost {

/* Our hold on the socket of a front-end's connection, which the vhost library keeps to itself. The
 * connection lasts until both have let go. */
class FrontEndSocket {
  public:
    /* None. */
    FrontEndSocket() = default;
    /* The connection that has just been made by way of `library_path`, the path that the library
     * listens at as a server or has connected to as a client. No second one may exist that was
     * made there in the same way and is kept, but `other` and such as have ended. The other end of
     * it, where that is in this process, is never meant. None when it is not found: as a client,
     * when the front-end had bound its socket by another name. */
    static FrontEndSocket find(const std::string &library_path, schema::SocketMode mode,
                               const FrontEndSocket &other = {});

    explicit operator bool() const { return static_cast<bool>(fd_); }

    /* The library reads and writes messages in the one thread that it has for all ports, and waits
     * for the rest of what has begun. Limits how long that can be, after which the connection ends:
     * front-ends send a message in one piece. */
    void limit_waits() const;
    /* Whether the front-end has ended it, be that known to the library or not. */
    bool has_ended() const;
    /* Ends the connection: the library, as the front-end, finds that the other side has. */
    void hang_up() const;

  private:
    explicit FrontEndSocket(UniqueFd fd) : fd_(std::move(fd)) {}

    UniqueFd fd_;
};

}  // namespace vdpa::engine::vhost
