// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/kernel/call_relay.hpp"

#include <sys/eventfd.h>

#include <cerrno>
#include <mutex>
#include <utility>

#include "engine/log.hpp"

namespace vdpa::engine::kernel {

namespace {

/* One for all devices: the kernel has room for some hundred such contexts only (aio-max-nr). */
struct SharedCaller {
    SharedCaller() {
        if (const auto opened = caller.open(); !opened) {
            VDPA_LOG(warn, "kernel_vdpa", "%s", opened.error().detail.c_str());
        }
    }

    std::mutex mutex;
    relay::Caller caller;
};

}  // namespace

bool signal_front_end(int eventfd) {
    static SharedCaller shared;
    const std::lock_guard lock(shared.mutex);
    return relay::CallDescriptor(eventfd, shared.caller).call();
}

Expected<std::shared_ptr<CallRelay>> CallRelay::create(UniqueFd socket) {
    UniqueFd eventfd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!eventfd) {
        return fail(schema::Reason::device_failed, "cannot make an eventfd: " + errno_text(errno));
    }
    return std::shared_ptr<CallRelay>(new CallRelay(std::move(socket), std::move(eventfd)));
}

CallRelay::CallRelay(UniqueFd socket, UniqueFd eventfd)
    : socket_(std::move(socket)), eventfd_(std::move(eventfd)) {}

void CallRelay::pass_on() const {
    eventfd_t count = 0;
    if (::eventfd_read(eventfd_.get(), &count) == 0) {
        call();
    }
}

void CallRelay::call() const {
    relay::CallDescriptor(socket_.get(), no_caller_).call();
}

}  // namespace vdpa::engine::kernel
