// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "schema/status.hpp"

namespace vdpa::agent::report {

/* What is said of a port, wherever it is said: in the row, in vdpa/show, in the log. */
struct PortView {
    std::string name;
    std::string bridge;
    schema::State state = schema::State::provisioning;
    std::optional<schema::Reason> reason;
    std::string detail;
    std::string device;
    std::string engine;
    std::string socket;  // wanted, or served if that differs
    std::string socket_mode;
    /* Set while a connection to the socket is accepted. */
    std::optional<std::string> served_socket;
    uint32_t queues = 0;
    uint32_t max_queues = 0;
    uint64_t connections = 0;
    std::vector<std::string> features;
    /* Of the state. */
    std::chrono::system_clock::time_point since;

    bool operator==(const PortView &) const = default;
};

struct EngineView {
    std::string path;
    bool usable = false;
    uint32_t pid = 0;
    std::string version;
    size_t ports = 0;
    std::string problem;  // why it is not usable, or what has to be known of it

    bool operator==(const EngineView &) const = default;
};

struct HostView {
    ovs::ConnectionState database;
    bool has_snapshot = false;
    std::vector<EngineView> engines;
    std::optional<schema::Reason> reason;
    std::string detail;

    bool operator==(const HostView &) const = default;
};

/* The last published views. Written by the control thread, one port at a time, and read by the OVS
 * thread, so that unixctl commands are answered whatever the control thread is doing. */
class Board {
  public:
    using Ports = std::map<std::string, std::shared_ptr<const PortView>>;

    void set_port(PortView view);
    void erase_port(const std::string &name);
    void set_host(HostView view);

    Ports ports() const;
    std::shared_ptr<const PortView> port(const std::string &name) const;
    HostView host() const;

  private:
    mutable std::mutex mutex_;
    Ports ports_;
    HostView host_;
};

}  // namespace vdpa::agent::report
