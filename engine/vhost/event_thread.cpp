// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/event_thread.hpp"

#include <rte_vhost.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>

namespace vdpa::engine::vhost {

namespace {

/* The library wants some, and asks before each call. */
const rte_vhost_device_ops no_callbacks{};

/* Header of VHOST_USER_SET_OWNER, protocol version 1, no payload. */
constexpr std::array<uint32_t, 3> set_owner = {3, 1, 0};

tl::unexpected<Error> failure(const std::string &what) {
    return fail(schema::Reason::engine_error,
                "cannot make a connection to the vhost library: " + what);
}

/* A folder and a socket in it, both gone when this is. */
class TemporaryListener {
  public:
    explicit TemporaryListener(const std::string &parent) : folder_(parent + "/.wake.XXXXXX") {
        if (!::mkdtemp(folder_.data())) {
            return;
        }
        path_ = folder_ + "/s";
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        if (path_.size() >= sizeof(address.sun_path)) {
            errno = ENAMETOOLONG;
            return;
        }
        std::copy(path_.begin(), path_.end(), address.sun_path);
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) == 0 &&
            ::listen(fd.get(), 1) == 0) {
            fd_ = std::move(fd);
        }
    }
    ~TemporaryListener() {
        ::unlink(path_.c_str());
        ::rmdir(folder_.c_str());
    }
    TemporaryListener(const TemporaryListener &) = delete;
    TemporaryListener &operator=(const TemporaryListener &) = delete;

    int fd() const { return fd_.get(); }
    const std::string &path() const { return path_; }

  private:
    std::string folder_;
    std::string path_;
    UniqueFd fd_;
};

}  // namespace

Expected<std::unique_ptr<EventThread>> EventThread::start(const std::string &folder) {
    const TemporaryListener listener(folder);
    if (listener.fd() < 0) {
        return failure("a socket in " + folder + ": " + errno_text(errno));
    }
    std::unique_ptr<EventThread> thread(new EventThread);
    const char *path = listener.path().c_str();
    if (rte_vhost_driver_register(path, RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT) != 0) {
        return failure("rte_vhost_driver_register failed");
    }
    thread->library_path_ = listener.path();
    // The library connects at once, and adds connections, other than listeners, with a wake-up.
    if (rte_vhost_driver_callback_register(path, &no_callbacks) != 0 ||
        rte_vhost_driver_start(path) != 0) {
        return failure("rte_vhost_driver_start failed");
    }
    thread->connection_.reset(::accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!thread->connection_) {
        return failure(errno_text(errno));
    }
    return thread;
}

EventThread::~EventThread() {
    if (!library_path_.empty()) {
        rte_vhost_driver_unregister(library_path_.c_str());
    }
}

void EventThread::wake() const {
    // When the socket is full, the thread has enough to wake up for.
    [[maybe_unused]] const ssize_t sent =
        ::send(connection_.get(), set_owner.data(), sizeof(set_owner), MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace vdpa::engine::vhost
