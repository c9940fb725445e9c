// SPDX-License-Identifier: Apache-2.0
// Who may have which socket: one port at a time, whatever the rows say.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;
using schema::State;

}  // namespace

void Reconciler::claim(Port &port) {
    if (port.parsed && port.parsed->config) {
        claim_socket(port, port.parsed->config->engine.socket.path);
    } else {
        const bool stays = port.row && port.was_served && port.wanted;
        claim_socket(port, stays ? port.wanted->socket.path : "");
    }
}

void Reconciler::claim_socket(const Port &claimant, const std::string &path) {
    const std::string before = claims_.set(claimant.name, path);
    if (before == path) {
        return;
    }
    for (const std::string &thing : {before, path}) {
        for (const auto *names : {&claims_.of(thing), &holders_.of(thing)}) {
            for (const std::string &name : *names) {
                if (name != claimant.name) {
                    wake(name);
                }
            }
        }
    }
}

void Reconciler::hold_socket(const Port &holder, const std::string &path) {
    const std::string before = holders_.set(holder.name, path);
    if (before == path) {
        return;
    }
    // Whoever waits for the one to become free, and whoever competes for the other.
    for (const std::string &thing : {before, path}) {
        for (const std::string &name : claims_.of(thing)) {
            wake(name);
        }
    }
}

std::string Reconciler::winner_of(const std::string &path) const {
    // One that serves the socket and is to go on doing so is not to be disturbed.
    for (const std::string &name : holders_.of(path)) {
        if (claims_.by(name) == path) {
            return name;
        }
    }
    // Then one that was served on it when an engine could last be asked; then one whose row tells
    // so of the time before this agent.
    const auto rank = [this, &path](const std::string &name) {
        const Port &claimant = *ports_.at(name);
        if (claimant.was_served && claimant.wanted && claimant.wanted->socket.path == path) {
            return 3;
        }
        if (!claimant.parsed) {
            return 0;
        }
        if (claimant.parsed->served_socket == path) {
            return 2;
        }
        return claimant.parsed->was_valid ? 1 : 0;
    };
    const auto &names = claims_.of(path);
    const auto best = std::max_element(
        names.begin(), names.end(),
        [&rank](const std::string &a, const std::string &b) { return rank(a) < rank(b); });
    return best == names.end() ? "" : *best;
}

std::optional<std::string> Reconciler::other_holder(const std::string &path,
                                                    const Port &port) const {
    for (const std::string &name : holders_.of(path)) {
        if (name != port.name) {
            return name;
        }
    }
    return std::nullopt;
}

std::optional<Verdict> Reconciler::check_socket_free(Port &port) {
    const std::string &path = port.wanted->socket.path;
    const auto holder = other_holder(path, port);
    if (!holder) {
        return std::nullopt;
    }
    // Two ports may be waiting for each other's sockets: then both let go first.
    const std::string held = holders_.by(port.name);
    if (!held.empty() && held != path &&
        claims_.of(held).size() > claims_.of(held).count(port.name)) {
        release_engine(port);
    }
    return Verdict{
        State::provisioning,
        Error{Reason::duplicate_socket, "vdpa-socket=" + path + ": Interface " + *holder +
                                            " is being served on it and has not left it yet"}};
}

}  // namespace vdpa::agent::reconcile
