// SPDX-License-Identifier: Apache-2.0
#include "engine/memory_watch.hpp"

#include <unistd.h>

#include "engine/vhost/memory_guard.hpp"
#include "engine/vhost/port.hpp"
#include "engine/vhost/registry.hpp"

namespace vdpa::engine {

MemoryWatch::MemoryWatch(boost::asio::io_context &context)
    : event_(std::make_shared<Descriptor>(context)) {}

MemoryWatch::~MemoryWatch() {
    stop();
}

Expected<void> MemoryWatch::start() {
    auto &guard = vhost::MemoryGuard::instance();
    if (auto installed = guard.install(); !installed) {
        return installed;
    }
    boost::system::error_code error;
    event_->assign(::dup(guard.fd()), error);
    if (error) {
        return fail(schema::Reason::engine_error,
                    "cannot watch for memory that front-ends take away: " + error.message());
    }
    wait(event_);
    return {};
}

void MemoryWatch::stop() {
    boost::system::error_code ignored;
    event_->close(ignored);
}

void MemoryWatch::wait(const std::shared_ptr<Descriptor> &event) {
    event->async_wait(Descriptor::wait_read, [event](const boost::system::error_code &error) {
        if (error || !event->is_open()) {
            return;
        }
        for (const int vid : vhost::MemoryGuard::instance().lost()) {
            // Ports end on this thread, so the one that is found stays.
            if (vhost::Port *port = vhost::Registry::instance().connection(vid)) {
                port->on_memory_lost(vid);
            }
        }
        wait(event);
    });
}

}  // namespace vdpa::engine
