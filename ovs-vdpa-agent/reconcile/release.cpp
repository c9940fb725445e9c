// SPDX-License-Identifier: Apache-2.0
// How a port ends: the engine lets go, then what was made or changed on the host is undone, then it
// is forgotten.
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
                    update_holds(answered);
                }
            }
            wake(name);
        });
    return false;
}

bool Reconciler::is_attached(const Port &port) const {
    const auto *function = inventory_ && port.representor.function
                               ? inventory_->function(*port.representor.function)
                               : nullptr;
    return function && function->representor && function->representor->master;
}

bool Reconciler::may_remove(Port &port, const Asset &asset) {
    if (asset.is_busy()) {
        return false;
    }
    if (!port.release_error || port.retrying) {
        return true;
    }
    if (port.release_error->reason != schema::Reason::ovs_detach || !is_attached(port)) {
        retry_later(port, *port.release_error);
    } else if (!port.retry_armed) {
        // It is told of when it is not any more. A switch may take minutes to let go of many.
        retry_after(port, env_.backoff.last);
    }
    return false;
}

std::function<void(Expected<void>)> Reconciler::removal_of(const Port &port, PickAsset pick) {
    return [this, pick, name = port.name](const Expected<void> &result) {
        Port &answered = *ports_.at(name);  // is not forgotten while something is being removed
        Asset &asset = pick(answered);
        if (result) {
            asset.state = Asset::State::absent;
            asset.error.reset();
            answered.release_error.reset();
        } else {
            if (answered.release_error != result.error()) {
                // That others have to let go first is a matter of course.
                const bool waits = state_of_error(result.error()) == schema::State::waiting;
                const std::string text = name + ": " + result.error().detail;
                waits ? module.info(limit, text) : module.warn(limit, text);
            }
            asset.state = Asset::State::unknown;
            answered.release_error = result.error();
        }
        if (answered.representor.is_absent()) {
            answered.representor = {};
        }
        if (answered.vdpa.is_absent()) {
            answered.vdpa = {};
        }
        update_holds(answered);
        wake(name);
    };
}

bool Reconciler::release_tap(Port &port) {
    if (port.tap.is_absent()) {
        return true;
    }
    if (may_remove(port, port.tap)) {
        port.tap.state = Asset::State::removing;
        env_.netdevs.remove_tap(port.name,
                                removal_of(port, [](Port &each) -> Asset & { return each.tap; }));
    }
    return false;
}

bool Reconciler::release_representor(Port &port) {
    if (port.representor.is_absent()) {
        return true;
    }
    if (may_remove(port, port.representor)) {
        port.representor.state = Asset::State::removing;
        env_.representors.release_representor(
            port.name, port.row.has_value(),
            removal_of(port, [](Port &each) -> Asset & { return each.representor; }));
    }
    return false;
}

bool Reconciler::release_vdpa(Port &port) {
    if (port.vdpa.is_absent()) {
        return true;
    }
    if (may_remove(port, port.vdpa)) {
        port.vdpa.state = Asset::State::removing;
        env_.vdpas.remove_vdpa(port.name,
                               removal_of(port, [](Port &each) -> Asset & { return each.vdpa; }));
    }
    return false;
}

bool Reconciler::release(Port &port) {
    if (port.engine && !engines_[*port.engine].ready) {
        std::string left = std::exchange(port.socket_file, "");
        if (left.empty() && port.wanted &&
            port.wanted->engine.socket.mode == schema::SocketMode::server) {
            left = port.wanted->engine.socket.path;  // of the time before this agent, perhaps
        }
        if (!left.empty()) {
            leave_socket(*port.engine, port.name, left);
        }
    }
    port.wanted.reset();
    port.wanted_things.clear();
    port.plan.reset();
    port.plan_error.reset();
    port.spec.reset();
    port.is_adopted = false;
    port.was_served = false;
    port.reattach = false;
    port.apply_error.reset();
    return release_engine(port) && release_vdpa(port) && release_representor(port) &&
           release_tap(port);
}

void Reconciler::forget(Port &port) {
    module.info(port.name + ": released");
    const std::string name = port.name;
    place_on(port, std::nullopt);
    update_holds(port);
    watchers_.set(name, {});
    env_.board.erase_port(name);
    deferred_.erase(name);
    samples_.erase(name);
    updates_.push_back(report::no_port_status(name));
    ports_.erase(name);
}

}  // namespace vdpa::agent::reconcile
