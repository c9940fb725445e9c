// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/front_end_socket.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <memory>

namespace vdpa::engine::vhost {

namespace {

constexpr timeval longest_wait{.tv_sec = 1, .tv_usec = 0};

struct CloseFolder {
    void operator()(DIR *folder) const { ::closedir(folder); }
};

using GetName = int(int, sockaddr *, socklen_t *);

bool is_named(int fd, GetName *get_name, const std::string &path) {
    sockaddr_un address{};
    socklen_t length = sizeof(address);
    if (get_name(fd, reinterpret_cast<sockaddr *>(&address), &length) != 0 ||
        address.sun_family != AF_UNIX || length <= offsetof(sockaddr_un, sun_path)) {
        return false;
    }
    return path == address.sun_path;
}

bool listens(int fd) {
    int listening = 0;
    socklen_t length = sizeof(listening);
    return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening != 0;
}

/* An accepted socket has the name of the one that listened; one that connected has a peer of that
 * name. */
bool is_connection(int fd, const std::string &path, schema::SocketMode mode) {
    return mode == schema::SocketMode::server ? is_named(fd, ::getsockname, path) && !listens(fd)
                                              : is_named(fd, ::getpeername, path);
}

/* Of the socket; 0: none. */
ino_t inode_of(int fd) {
    struct stat status {};
    return ::fstat(fd, &status) == 0 ? status.st_ino : 0;
}

UniqueFd duplicate(int fd) {
    return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

FrontEndSocket FrontEndSocket::find(const std::string &library_path, schema::SocketMode mode,
                                    const FrontEndSocket &other) {
    const auto is_it = [&](int fd) {
        return is_connection(fd, library_path, mode) && inode_of(fd) != inode_of(other.fd_.get());
    };
    // One that has ended may be an earlier one, of which the library has not let go yet.
    FrontEndSocket ended;
    const auto is_alive = [&](int fd, FrontEndSocket &found) {
        found = FrontEndSocket(duplicate(fd));
        if (found.has_ended()) {
            ended = std::move(found);
            return false;
        }
        return true;
    };
    FrontEndSocket found;
    // A new descriptor is the lowest that is free, so what we look for is mostly right below.
    const UniqueFd free(::open("/", O_PATH | O_CLOEXEC));
    for (int fd = free.get() - 1; fd >= 0; --fd) {
        if (is_it(fd) && is_alive(fd, found)) {
            return found;
        }
    }
    const std::unique_ptr<DIR, CloseFolder> all(::opendir("/proc/self/fd"));
    while (const dirent *entry = all ? ::readdir(all.get()) : nullptr) {
        const int fd = std::atoi(entry->d_name);
        if (fd > free.get() && is_it(fd) && is_alive(fd, found)) {
            return found;
        }
    }
    return ended;
}

void FrontEndSocket::limit_waits() const {
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &longest_wait, sizeof(longest_wait));
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &longest_wait, sizeof(longest_wait));
}

bool FrontEndSocket::has_ended() const {
    pollfd entry{.fd = fd_.get(), .events = POLLRDHUP, .revents = 0};
    return fd_ && ::poll(&entry, 1, 0) == 1;
}

void FrontEndSocket::hang_up() const {
    if (fd_) {
        ::shutdown(fd_.get(), SHUT_RDWR);
    }
}

}  // namespace vdpa::engine::vhost
