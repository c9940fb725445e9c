// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "schema/support/unique_fd.hpp"

namespace vdpa::test {

inline sockaddr_un unix_address(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy_n(path.begin(), std::min(path.size(), sizeof(address.sun_path) - 1),
                address.sun_path);
    return address;
}

/* A socket bound to `path`, listening if asked; an invalid descriptor on failure. */
inline UniqueFd bind_unix(const std::string &path, bool listening, int type = SOCK_STREAM) {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const sockaddr_un address = unix_address(path);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0 ||
        (listening && ::listen(fd.get(), 5) != 0)) {
        fd.reset();
    }
    return fd;
}

/* A connection to `path`; an invalid descriptor, with errno, when nobody takes it. */
inline UniqueFd connect_unix(const std::string &path) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = unix_address(path);
    if (::connect(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0) {
        const int error = errno;
        fd.reset();
        errno = error;
    }
    return fd;
}

}  // namespace vdpa::test
