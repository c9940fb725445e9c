// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/event_thread.hpp"

#include <rte_vhost.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include "engine/log.hpp"
#include "engine/vhost/socket_file.hpp"

namespace vdpa::engine::vhost {

namespace {

/* The callbacks have no argument that would tell whose they are. */
std::atomic<EventThread *> instance{nullptr};
std::atomic<uint64_t> beats{0};

/* Header of VHOST_USER_SET_OWNER, protocol version 1, no payload. */
constexpr std::array<uint32_t, 3> set_owner = {3, 1, 0};

tl::unexpected<Error> failure(std::string what) {
    return fail(schema::Reason::engine_error, std::move(what));
}

Expected<UniqueFd> listen_at(const std::string &path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address.sun_path)) {
        return failure(path + ": " + errno_text(ENAMETOOLONG));
    }
    std::copy(path.begin(), path.end(), address.sun_path);
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd ||
        ::bind(fd.get(), reinterpret_cast<const sockaddr *>(&address), sizeof(address)) != 0 ||
        ::listen(fd.get(), 1) != 0) {
        return failure("cannot listen on " + path + ": " + errno_text(errno));
    }
    return fd;
}

}  // namespace

EventThread::EventThread(const std::string &path) {
    if (const auto connected = connect(path); !connected) {
        VDPA_LOG(warn, "vhost",
                 "no connection to the vhost library's event thread (%s): a new socket may take up "
                 "to a second to answer its front-end, a removed one to disconnect it",
                 connected.error().detail.c_str());
    }
}

Expected<void> EventThread::connect(const std::string &path) {
    const auto workshop = SocketWorkshop::open(path);
    if (!workshop) {
        return tl::make_unexpected(workshop.error());
    }
    const auto listener = listen_at(workshop->bind_path());
    if (!listener) {
        return tl::make_unexpected(listener.error());
    }
    const char *const library_path = workshop->bind_path().c_str();
    if (rte_vhost_driver_register(library_path,
                                  RTE_VHOST_USER_CLIENT | RTE_VHOST_USER_NO_RECONNECT) != 0) {
        return failure("rte_vhost_driver_register failed");
    }
    library_path_ = workshop->bind_path();
    static const rte_vhost_device_ops callbacks = [] {
        rte_vhost_device_ops ops{};
        ops.new_connection = on_connected;
        return ops;
    }();
    instance = this;
    // The library connects at once, and adds connections, other than listeners, with a wake-up.
    if (rte_vhost_driver_callback_register(library_path, &callbacks) != 0 ||
        rte_vhost_driver_start(library_path) != 0) {
        return failure("rte_vhost_driver_start failed");
    }
    connection_.reset(::accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection_) {
        return failure("cannot accept the vhost library's connection: " + errno_text(errno));
    }
    return {};
}

EventThread::~EventThread() {
    if (!library_path_.empty()) {
        rte_vhost_driver_unregister(library_path_.c_str());  // waits for on_message()
        instance = nullptr;
    }
    // By a lock that ThreadSanitizer sees, unlike the library's.
    const std::lock_guard lock(mutex_);
    posted_.clear();
}

int EventThread::on_connected(int vid) {
    static const rte_vhost_user_extern_ops handlers = {.pre_msg_handle = on_message,
                                                       .post_msg_handle = nullptr};
    return rte_vhost_extern_callback_register(vid, &handlers, nullptr);
}

rte_vhost_msg_result EventThread::on_message(int /*vid*/, void * /*message*/) {
    if (EventThread *self = instance) {
        self->run_posted();
    }
    return RTE_VHOST_MSG_RESULT_NOT_HANDLED;
}

void EventThread::run_posted() {
    std::vector<std::function<void()>> work;
    {
        const std::lock_guard lock(mutex_);
        work.swap(posted_);
    }
    for (const auto &item : work) {
        item();
    }
}

bool EventThread::post(std::function<void()> work) {
    if (!connection_) {
        return false;
    }
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(work));
    }
    wake();
    return true;
}

std::optional<Pulse> EventThread::pulse() {
    if (!connection_) {
        return std::nullopt;
    }
    return Pulse{.thread = "vhost-events",
                 .patience = std::chrono::seconds(60),
                 .ask = [this] { post(beat); },
                 .beats = [] { return beats.load(); }};
}

void EventThread::beat() {
    ++beats;
}

void EventThread::wake() const {
    if (connection_) {
        // When the socket is full, messages wait that will do as well.
        [[maybe_unused]] const ssize_t sent = ::send(
            connection_.get(), set_owner.data(), sizeof(set_owner), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

}  // namespace vdpa::engine::vhost
