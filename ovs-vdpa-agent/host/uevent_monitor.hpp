// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* What the kernel says of a device in sysfs. */
struct Uevent {
    std::string action;     // add, remove, change, bind, unbind, ...
    std::string subsystem;  // the bus or class: pci, vdpa, module
    std::string path;       // below /sys

    /* Whether there is no device behind it, as with TAPs and bridges (get_device_parent() in the
     * kernel's drivers/base/core.c). */
    bool is_virtual() const { return path.starts_with("/devices/virtual/"); }

    bool operator==(const Uevent &) const = default;
};

/* Reads a message of the kernel's (uevent_net_broadcast() in lib/kobject_uevent.c): "ACTION@PATH",
 * then KEY=VALUE strings, each with a NUL behind it. Nothing if it is something else. */
std::optional<Uevent> parse_uevent(std::string_view message);

/* Listens to the kernel's uevents, which are what tells that a VF without a netdev, an SF or a vDPA
 * device came, went or changed its driver. Lives on the control thread and never blocks it. */
class UeventMonitor {
  public:
    /* None: some were lost. */
    using Listener = std::function<void(const std::optional<Uevent> &event)>;

    UeventMonitor(boost::asio::io_context &io, Listener listener);

    /* Error: kernel-lacks, with the answer of the kernel. `buffer_size` in bytes; 0 stands for 4
     * MiB. */
    Expected<void> start(int buffer_size = 0);

  private:
    void wait();
    void receive();

    Listener listener_;
    boost::asio::posix::stream_descriptor descriptor_;
};

}  // namespace vdpa::agent::host
