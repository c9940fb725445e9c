// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/listener.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vdpa::engine::rpc {

namespace {

constexpr int backlog = SOMAXCONN;

tl::unexpected<Error> failure(std::string detail) {
    return fail(schema::Reason::engine_error, std::move(detail));
}

/* Takes the lock of `path`. A lock file that its holder removed between our open() and flock()
 * keeps nobody off, so it is opened again. */
Expected<UniqueFd> take_lock(const std::string &path) {
    const std::string name = path + ".lock";
    for (;;) {
        UniqueFd fd(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
        if (!fd) {
            return failure("cannot open lock file " + name + ": " + errno_text(errno));
        }
        if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
            return failure(errno == EWOULDBLOCK
                               ? "another engine serves " + path + " (" + name + " is locked)"
                               : "cannot lock " + name + ": " + errno_text(errno));
        }
        struct stat opened {};
        struct stat named {};
        if (::fstat(fd.get(), &opened) == 0 && ::lstat(name.c_str(), &named) == 0 &&
            opened.st_dev == named.st_dev && opened.st_ino == named.st_ino) {
            return fd;
        }
    }
}

/* Makes way for our socket: removes a dead one, and nothing else. */
Expected<void> clear_path(const std::string &path, const sockaddr_un &address) {
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0) {
        if (errno == ENOENT) {
            return {};
        }
        return failure("cannot look at " + path + ": " + errno_text(errno));
    }
    if (!S_ISSOCK(status.st_mode)) {
        return failure(path + " exists and is no socket: choose another path, or remove it");
    }
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) ==
            0 ||
        errno != ECONNREFUSED) {
        return failure("another process listens on " + path);
    }
    if (::unlink(path.c_str()) != 0) {
        return failure("cannot remove the dead socket " + path + ": " + errno_text(errno));
    }
    return {};
}

}  // namespace

Expected<Listener> Listener::open(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof(address.sun_path)) {
        return failure("the path of the RPC socket must have 1 to 107 bytes: " + path);
    }
    std::copy(path.begin(), path.end(), address.sun_path);

    auto lock = take_lock(path);
    if (!lock) {
        return tl::make_unexpected(lock.error());
    }
    // From here on the lock's file goes with the listener, also where there will be none.
    Listener listener;
    listener.lock_ = std::move(*lock);
    listener.path_ = path;
    if (auto cleared = clear_path(path, address); !cleared) {
        return tl::make_unexpected(cleared.error());
    }
    listener.socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const mode_t old_mask = ::umask(0177);
    const int bound = ::bind(listener.socket_.get(), reinterpret_cast<const sockaddr *>(&address),
                             sizeof(address));
    const int bind_errno = errno;
    ::umask(old_mask);
    if (bound != 0) {
        return failure("cannot make socket " + path + ": " + errno_text(bind_errno));
    }
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0) {
        listener.device_ = status.st_dev;
        listener.inode_ = status.st_ino;
    }
    if (listener.inode_ == 0 || ::listen(listener.socket_.get(), backlog) != 0) {
        return failure("cannot listen on " + path + ": " + errno_text(errno));
    }
    return listener;
}

Listener::~Listener() {
    if (!lock_) {
        return;  // moved from, or never opened
    }
    struct stat status {};
    if (inode_ != 0 && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ &&
        status.st_ino == inode_) {
        ::unlink(path_.c_str());
    }
    ::unlink((path_ + ".lock").c_str());
}

}  // namespace vdpa::engine::rpc
