// SPDX-License-Identifier: Apache-2.0
// Who may have what only one port at a time can have, whatever the rows say: a socket, a VF or SF,
// a device.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;

Reason reason_for(const std::string &thing) {
    return is_socket(thing) ? Reason::duplicate_socket : Reason::duplicate_device;
}

}  // namespace

/* A row that cannot be read claims nothing, but its port keeps what it is served with. */
void Reconciler::claim(Port &port) {
    Claims::Names things;
    if (port.parsed && port.parsed->config) {
        const auto &found = port.candidate;
        things = wanted_things(*port.parsed->config, found && *found ? &**found : nullptr);
    } else if (port.row && port.was_served && port.wanted) {
        things = port.wanted_things;
    }
    for (const std::string &thing : claims_.set(port.name, std::move(things))) {
        for (const auto *names : {&claims_.of(thing), &holders_.of(thing)}) {
            for (const std::string &name : *names) {
                if (name != port.name) {
                    wake(name);
                }
            }
        }
    }
}

void Reconciler::update_holds(const Port &port) {
    Claims::Names things;
    if (port.is_served()) {
        things.insert(socket_thing(port.status->served->socket.path));
        if (const std::string device = device_thing(port.status->served->device); !device.empty()) {
            things.insert(device);
        }
    }
    if (!port.representor.is_absent() && port.representor.function) {
        things.insert(function_thing(port.representor.function->text()));
    }
    const auto differ = holders_.set(port.name, std::move(things));
    pfs_awake_ = pfs_awake_ || !differ.empty();
    // Whoever waits for the one to become free, and whoever competes for the other.
    for (const std::string &thing : differ) {
        for (const std::string &name : claims_.of(thing)) {
            wake(name);
        }
    }
}

std::string Reconciler::winner_of(const std::string &thing) const {
    // One that has it and is to go on having it is not to be disturbed.
    for (const std::string &name : holders_.of(thing)) {
        if (claims_.by(name).contains(thing)) {
            return name;
        }
    }
    // Then one that had it when an engine could last be asked; then one whose row tells so of the
    // time before this agent.
    const auto rank = [this, &thing](const std::string &name) {
        const Port &claimant = *ports_.at(name);
        if (claimant.was_served && claimant.wanted && claimant.wanted_things.contains(thing)) {
            return 3;
        }
        if (!claimant.parsed) {
            return 0;
        }
        const auto &parsed = *claimant.parsed;
        if ((parsed.served_socket && socket_thing(*parsed.served_socket) == thing) ||
            (parsed.function && function_thing(*parsed.function) == thing)) {
            return 2;
        }
        return parsed.was_valid ? 1 : 0;
    };
    const auto &names = claims_.of(thing);
    const auto best = std::max_element(
        names.begin(), names.end(),
        [&rank](const std::string &a, const std::string &b) { return rank(a) < rank(b); });
    return best == names.end() ? "" : *best;
}

std::optional<std::string> Reconciler::other_holder(const std::string &thing,
                                                    const Port &port) const {
    for (const std::string &name : holders_.of(thing)) {
        if (name != port.name) {
            return name;
        }
    }
    return std::nullopt;
}

/* Another port that gets something which this one claims, too. */
std::optional<Error> Reconciler::lost_to(const Port &port) const {
    for (const std::string &thing : claims_.by(port.name)) {
        const std::string winner = winner_of(thing);
        if (winner != port.name) {
            return Error{reason_for(thing), describe(thing) + ": is that of Interface " + winner +
                                                ": give one of them another"};
        }
    }
    return std::nullopt;
}

/* A port that does not get something because this one has it. */
std::optional<Error> Reconciler::rival_of(const Port &port) const {
    for (const std::string &thing : port.wanted_things) {
        for (const std::string &other : claims_.of(thing)) {
            if (other != port.name) {
                return Error{reason_for(thing), "Interface " + other + " asks for the same, " +
                                                    describe(thing) +
                                                    ", and is not served: give one of them "
                                                    "another"};
            }
        }
    }
    return std::nullopt;
}

std::optional<Verdict> Reconciler::check_devices_free(Port &port) {
    for (const std::string &thing : port.wanted_things) {
        const auto holder = is_socket(thing) ? std::nullopt : other_holder(thing, port);
        if (holder) {
            return Verdict{
                schema::State::provisioning,
                Error{Reason::duplicate_device, describe(thing) + ": Interface " + *holder +
                                                    " has it and has not let go of it yet"},
                Condition::config};
        }
    }
    return std::nullopt;
}

std::optional<Verdict> Reconciler::check_socket_free(Port &port) {
    const std::string thing = socket_thing(port.wanted->engine.socket.path);
    const auto holder = other_holder(thing, port);
    if (!holder) {
        return std::nullopt;
    }
    // Two ports may be waiting for each other's sockets: then both let go first.
    const auto is_waited_for = [this, &port, &thing](const std::string &held) {
        return is_socket(held) && held != thing &&
               claims_.of(held).size() > claims_.of(held).count(port.name);
    };
    const auto &held = holders_.by(port.name);
    if (std::any_of(held.begin(), held.end(), is_waited_for)) {
        release_engine(port);
    }
    return Verdict{
        schema::State::provisioning,
        Error{Reason::duplicate_socket, describe(thing) + ": Interface " + *holder +
                                            " is being served on it and has not left it yet"},
        Condition::socket};
}

}  // namespace vdpa::agent::reconcile
