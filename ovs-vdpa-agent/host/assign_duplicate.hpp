// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <fcntl.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

/* Has `descriptor`, which must not be open, wait for a duplicate of `fd`: asio closes what it was
 * given, and `fd` is the caller's. What fails (fcntl(2), epoll_ctl(2)) leaves it closed. Does not
 * throw: it is called by handlers, where an exception ends the program. */
inline boost::system::error_code assign_duplicate(boost::asio::posix::stream_descriptor &descriptor,
                                                  int fd) {
    boost::system::error_code error;
    UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
    if (!duplicate) {
        error.assign(errno, boost::system::system_category());
        return error;
    }
    descriptor.assign(duplicate.get(), error);
    if (!error) {
        (void)duplicate.release();
    }
    return error;
}

}  // namespace vdpa::agent::host
