// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/ovs/rows.hpp"
#include "schema/status.hpp"

namespace vdpa::agent::report {

/* What has to hold for a port to run, in this order. */
enum class Condition {
    config,     // the row is valid, and no other is in its way
    pf,         // the PF is there, in switchdev mode
    function,   // the VF or SF is there
    netdev,     // the representor, or the TAP, is there as it has to be, the function's MAC is set
    device,     // the device can serve queues
    engine,     // an engine can be used
    opened,     // the engine has taken the settings over and opened the device
    socket,     // the socket is served
    front_end,  // a front-end is connected
    running     // the guest's queues are served
};
inline constexpr size_t n_conditions = 10;

struct ConditionView {
    std::optional<bool> holds;  // none: not known, for one before it does not hold
    std::chrono::system_clock::time_point since;

    bool operator==(const ConditionView &) const = default;
};

/* What is said of a port, wherever it is said: in the row, in vdpa/show, in the log. */
struct PortView {
    std::string name;
    std::string bridge;
    schema::State state = schema::State::provisioning;
    std::optional<schema::Reason> reason;
    std::string detail;
    std::string mode;          // hw, kernel or sw; empty: not known
    bool is_emulated = false;  // the row asks for an emulated VF, whatever else is wrong with it
    std::string device;        // that serves the queues
    std::string function;      // FunctionId::text(); empty: none
    std::string engine;
    std::string socket;  // wanted, or served if that differs
    std::string socket_mode;
    /* Set while a connection to the socket is accepted. */
    std::optional<std::string> served_socket;
    uint32_t queues = 0;
    uint32_t max_queues = 0;
    uint64_t connections = 0;
    std::vector<std::string> features;
    std::vector<std::string> offered;
    std::vector<std::string> withheld;
    uint32_t device_queues = 0;  // 0: not known
    std::string doorbell;
    std::string device_mac;
    uint32_t device_mtu = 0;  // 0: none
    uint32_t stall_ms = 0;
    /* Of the state. */
    std::chrono::system_clock::time_point since;
    std::array<ConditionView, n_conditions> conditions{};

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

/* A PF that is to be prepared. */
struct PfView {
    host::Handle handle;
    std::optional<uint32_t> num_vfs;  // that are asked for
    /* none: it is as it is asked for. */
    std::optional<schema::Reason> reason;
    std::string detail;
    std::chrono::system_clock::time_point since;

    bool operator==(const PfView &) const = default;
};

struct HostView {
    ovs::ConnectionState database;
    bool has_snapshot = false;
    std::vector<EngineView> engines;
    std::vector<PfView> pfs;
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
    void set_inventory(std::shared_ptr<const host::Inventory> inventory);

    Ports ports() const;
    std::shared_ptr<const PortView> port(const std::string &name) const;
    HostView host() const;
    /* Null until the host has been looked at. */
    std::shared_ptr<const host::Inventory> inventory() const;

  private:
    mutable std::mutex mutex_;
    Ports ports_;
    HostView host_;
    std::shared_ptr<const host::Inventory> inventory_;
};

}  // namespace vdpa::agent::report
