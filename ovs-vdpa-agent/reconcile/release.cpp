// SPDX-License-Identifier: Apache-2.0
// How a port ends: the engine lets go, then the netdev is deleted, then it is forgotten.
#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/report/status.hpp"

namespace vdpa::agent::reconcile {

namespace {

const log::Module module("port");
log::RateLimit limit;

}  // namespace

bool Reconciler::may_be_served(const Port &port) const {
    if (port.engine) {
        return !engines_[*port.engine].ready;
    }
    return std::any_of(engines_.begin(), engines_.end(),
                       [](const Engine &engine) { return !engine.ready; });
}

bool Reconciler::release_engine(Port &port) {
    if (!port.engine || !engines_[*port.engine].ready) {
        return true;  // an engine that comes back with the port is told then
    }
    if (port.applying || port.removing) {
        return false;
    }
    if (!port.status && port.awaited == 0) {
        return true;
    }
    if (port.release_error && !port.retrying) {
        retry_later(port, *port.release_error);
        return false;
    }
    port.removing = true;
    engines_[*port.engine].service->remove(
        port.name, [this, name = port.name,
                    engine = *port.engine](const Expected<schema::PortRemoveResult> &result) {
            const auto found = ports_.find(name);
            if (found == ports_.end() || found->second->engine != engine) {
                return;
            }
            Port &answered = *found->second;
            if (!result) {
                answered.removing = false;
                answered.release_error = result.error();
            } else {
                answered.release_error.reset();
                if (!result->existed) {
                    answered.forget_engine_state();
                    hold_socket(answered, "");
                }
            }
            wake(name);
        });
    return false;
}

bool Reconciler::release_netdev(Port &port) {
    if (port.netdev == Port::Netdev::absent) {
        return true;
    }
    if (port.netdev == Port::Netdev::asked || port.netdev == Port::Netdev::removing) {
        return false;
    }
    if (port.release_error && !port.retrying) {
        retry_later(port, *port.release_error);
        return false;
    }
    port.netdev = Port::Netdev::removing;
    env_.netdevs.remove_tap(port.name, [this, name = port.name](const Expected<void> &result) {
        Port &answered = *ports_.at(name);  // is not forgotten while it is being removed
        if (result) {
            answered.netdev = Port::Netdev::absent;
            answered.netdev_error.reset();
            answered.release_error.reset();
        } else {
            module.error(limit, name + ": " + result.error().detail);
            answered.netdev = Port::Netdev::unknown;
            answered.release_error = result.error();
        }
        wake(name);
    });
    return false;
}

bool Reconciler::release(Port &port) {
    if (port.engine && !engines_[*port.engine].ready) {
        std::string left = std::exchange(port.socket_file, "");
        if (left.empty() && port.wanted && port.wanted->socket.mode == schema::SocketMode::server) {
            left = port.wanted->socket.path;  // of the time before this agent, perhaps
        }
        if (!left.empty()) {
            engines_[*port.engine].left_sockets[port.name] = left;
        }
    }
    port.wanted.reset();
    port.was_served = false;
    port.reattach = false;
    port.apply_error.reset();
    return release_engine(port) && release_netdev(port);
}

void Reconciler::forget(Port &port) {
    module.info(port.name + ": released");
    const std::string name = port.name;
    place_on(port, std::nullopt);
    hold_socket(port, "");
    env_.board.erase_port(name);
    deferred_.erase(name);
    updates_.push_back(report::no_port_status(name));
    ports_.erase(name);
}

}  // namespace vdpa::agent::reconcile
