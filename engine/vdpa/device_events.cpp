// SPDX-License-Identifier: Apache-2.0
#define ALLOW_EXPERIMENTAL_API  // the events of rte_dev.h have been that since 18.05
#include "engine/vdpa/device_events.hpp"

#include <rte_dev.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "engine/log.hpp"

namespace vdpa::engine::device {

namespace {

void on_event(const char *name, rte_dev_event_type type, void *handler) {
    (*static_cast<DeviceEvents::Handler *>(handler))(name, type == RTE_DEV_EVENT_REMOVE);
}

}  // namespace

DeviceEvents::DeviceEvents(Handler handler) : handler_(std::move(handler)) {
    if (const int result = rte_dev_event_callback_register(nullptr, on_event, &handler_);
        result != 0) {
        VDPA_LOG(warn, "vdpa",
                 "DPDK does not tell of devices that go (%d): they cannot be taken away while a "
                 "port has them",
                 result);
    }
}

DeviceEvents::~DeviceEvents() {
    while (rte_dev_event_callback_unregister(nullptr, on_event, &handler_) == -EAGAIN) {
        std::this_thread::yield();
    }
}

}  // namespace vdpa::engine::device
