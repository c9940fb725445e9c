// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/port_status.hpp"
#include "engine/vhost/port.hpp"

namespace vdpa::engine {

class PortActor;

/* What the ports have in common on the DPDK control thread. */
struct ActorContext {
    vhost::Port::Context vhost;
    /* Who has a socket path or a device, by its name, and who would if that one had not. The second
     * is there so that ports may trade them, in whatever order their specs come. */
    std::unordered_map<std::string, PortActor *> serving;
    std::unordered_map<std::string, PortActor *> waiting;
    /* Has retry() called for the named port, soon, and not from within this call. */
    std::function<void(const std::string &name)> retry_soon;
};

/* Carries out the specs of one port. For the DPDK control thread alone. */
class PortActor {
  public:
    PortActor(ActorContext &context, std::string name, vhost::Port::Report report);
    /* Ends what is served. */
    ~PortActor();
    PortActor(const PortActor &) = delete;
    PortActor &operator=(const PortActor &) = delete;

    /* Makes the port be as `spec` says. What cannot be had leaves the port as it was. */
    Outcome apply(const schema::PortSpec &spec, uint64_t generation);
    /* The newest spec again, of which the last attempt failed. */
    Outcome retry() { return apply(wanted_, outcome_.generation); }
    /* Sees to it that a front-end still finds us: makes a socket anew that somebody removed, and
     * notices when we may not connect. Lets go of a device that has gone or was reset, and takes it
     * again when it can be had. The newest outcome, changed or not. */
    Outcome check();

    std::vector<schema::QueueStats> stats() const;
    void reset_stats();

  private:
    Expected<void> replace(const schema::PortSpec &spec);
    Expected<void> change(const schema::PortSpec &spec);
    std::vector<std::string> possessions(const schema::PortSpec &spec) const;
    Expected<void> claim(const std::string &possession, bool is_path);
    void release(const std::string &possession);
    void stop_waiting();
    void complain(const Error &error) const;
    void end();
    void lose_device(const Error &error);
    Outcome try_again();
    Outcome check_socket();

    ActorContext &context_;
    const std::string name_;
    const vhost::Port::Report report_;
    std::unique_ptr<vhost::Port> port_;
    uint64_t connections_ = 0;
    schema::PortSpec wanted_;
    Outcome outcome_;
    /* When a device that could not be had is tried again. */
    std::chrono::steady_clock::time_point again_at_{};
    std::chrono::seconds again_after_{0};
};

}  // namespace vdpa::engine
