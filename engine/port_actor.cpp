// SPDX-License-Identifier: Apache-2.0
#include "engine/port_actor.hpp"

#include <algorithm>
#include <utility>

#include "engine/log.hpp"
#include "engine/port_plan.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "ports";

/* Of attempts to open a device that could not be opened. One that is not there costs nothing to
 * look for, and is looked for at every check. */
constexpr std::chrono::seconds first_again{2};
constexpr std::chrono::seconds last_again{30};

bool may_pass(schema::Reason reason) {
    return reason == schema::Reason::device_missing || reason == schema::Reason::device_busy ||
           reason == schema::Reason::device_failed || reason == schema::Reason::driver_mismatch;
}

}  // namespace

PortActor::PortActor(ActorContext &context, std::string name, vhost::Port::Report report)
    : context_(context), name_(std::move(name)), report_(std::move(report)) {}

PortActor::~PortActor() {
    stop_waiting();
    end();
}

void PortActor::stop_waiting() {
    std::erase_if(context_.waiting, [this](const auto &item) { return item.second == this; });
}

void PortActor::release(const std::string &possession) {
    context_.serving.erase(possession);
    if (const auto next = context_.waiting.find(possession); next != context_.waiting.end()) {
        context_.retry_soon(next->second->name_);
    }
}

void PortActor::end() {
    if (!port_) {
        return;
    }
    port_->stop();
    connections_ = port_->connections();
    port_.reset();
    if (const auto served = std::exchange(outcome_.served, std::nullopt)) {
        for (const std::string &possession : possessions(*served)) {
            release(possession);
        }
    }
}

Outcome PortActor::apply(const schema::PortSpec &spec, uint64_t generation) {
    stop_waiting();
    wanted_ = spec;
    outcome_.generation = generation;
    const auto done = change(spec);
    if (!done) {
        complain(done.error());
        outcome_.error = done.error();
        return outcome_;
    }
    outcome_.error.reset();
    return check();
}

void PortActor::complain(const Error &error) const {
    if (outcome_.error == error) {
        return;  // tried again, with the same result
    }
    const char *consequence = outcome_.served ? "; the port goes on as before" : "";
    if (error.reason == schema::Reason::duplicate_socket ||
        error.reason == schema::Reason::duplicate_device) {
        VDPA_LOG(info, module, "%s: %s%s", name_.c_str(), error.detail.c_str(), consequence);
    } else {
        VDPA_LOG(warn, module, "%s: %s%s", name_.c_str(), error.detail.c_str(), consequence);
    }
}

Expected<void> PortActor::change(const schema::PortSpec &spec) {
    if (!port_ || !outcome_.served) {
        return replace(spec);
    }
    const Plan steps = plan(*outcome_.served, spec);
    if (steps.replace) {
        return replace(spec);
    }
    if (steps.netdev) {
        if (auto done = port_->open_netdev(); !done) {
            return done;
        }
        outcome_.served->netdev_awaited = false;
    }
    // A port that was made to stand as before by an error may differ from `served` in its offer.
    if (auto done = port_->set_offer(vhost::offer_of(spec)); !done) {
        return done;
    }
    port_->retry();
    if (steps.attributes) {
        if (auto done = port_->set_attributes(spec.socket); !done) {
            return done;
        }
    }
    outcome_.served = spec;
    return {};
}

/* What of a spec only one port can have at a time. */
std::vector<std::string> PortActor::possessions(const schema::PortSpec &spec) const {
    std::vector<std::string> all = {spec.socket.path};
    if (std::string device = context_.vhost.datapaths.exclusive_device(spec.device);
        !device.empty()) {
        all.push_back(std::move(device));
    }
    return all;
}

Expected<void> PortActor::claim(const std::string &possession, bool is_path) {
    const auto found = context_.serving.find(possession);
    if (found == context_.serving.end() || found->second == this) {
        return {};
    }
    PortActor &holder = *found->second;
    const auto is_holder = [&holder](const auto &item) { return item.second == &holder; };
    if (std::any_of(context_.waiting.begin(), context_.waiting.end(), is_holder)) {
        // It wants another one itself, and has this one only until it gets that: if we want to have
        // it before, somebody must begin.
        holder.end();
        return {};
    }
    context_.waiting.emplace(possession, this);
    return fail(is_path ? schema::Reason::duplicate_socket : schema::Reason::duplicate_device,
                "port " + holder.name_ + " of this engine has the " +
                    (is_path ? "socket " : "device ") + possession);
}

Expected<void> PortActor::replace(const schema::PortSpec &spec) {
    const std::vector<std::string> wanted = possessions(spec);
    for (const std::string &possession : wanted) {
        if (auto free = claim(possession, possession == spec.socket.path); !free) {
            return free;
        }
    }
    const bool same_path = outcome_.served && outcome_.served->socket.path == spec.socket.path;
    const bool is_server = spec.socket.mode == schema::SocketMode::server;
    const bool was_server =
        outcome_.served && outcome_.served->socket.mode == schema::SocketMode::server;
    // Looked at first of all, for the plainest message; publishing looks again. Our own socket is
    // no obstacle.
    if (is_server && !(same_path && was_server)) {
        if (auto free = vhost::check_server_path(spec.socket.path); !free) {
            return free;
        }
    }
    if (const std::string device = context_.vhost.datapaths.exclusive_device(spec.device);
        outcome_.served && !device.empty() && spec.device != outcome_.served->device &&
        device == context_.vhost.datapaths.exclusive_device(outcome_.served->device)) {
        end();  // a device cannot be open with two sets of arguments
    }
    auto port = vhost::Port::create(context_.vhost, spec, connections_, report_, port_ != nullptr);
    if (!port) {
        return tl::make_unexpected(port.error());
    }
    if (auto started = (*port)->start(port_.get()); !started) {
        if (!is_server) {
            end();  // in client mode, what was before is ended first
        }
        return started;
    }
    const auto before = std::exchange(outcome_.served, spec);
    port_ = std::move(*port);
    for (const std::string &possession : wanted) {
        context_.serving[possession] = this;
    }
    if (before) {
        for (const std::string &possession : possessions(*before)) {
            if (std::find(wanted.begin(), wanted.end(), possession) == wanted.end()) {
                release(possession);
            }
        }
    }
    return {};
}

Outcome PortActor::check() {
    if (!port_ || !outcome_.served) {
        return try_again();
    }
    if (const auto there = port_->check_device(); !there) {
        lose_device(there.error());
        return outcome_;
    }
    return check_socket();
}

void PortActor::lose_device(const Error &error) {
    VDPA_LOG_LIMITED(warn, module, "%s: %s", name_.c_str(), error.detail.c_str());
    // The device must not be in use when DPDK is to let go of it, and a front-end would go on
    // using it: so the front-end has to connect again.
    end();
    outcome_.error = error;
    again_at_ = {};
    again_after_ = std::chrono::seconds{0};
}

Outcome PortActor::try_again() {
    const auto now = std::chrono::steady_clock::now();
    if (!outcome_.error || !may_pass(outcome_.error->reason) || now < again_at_) {
        return outcome_;
    }
    const bool cheap = outcome_.error->reason == schema::Reason::device_missing;
    again_after_ =
        cheap ? std::chrono::seconds{0} : std::clamp(2 * again_after_, first_again, last_again);
    again_at_ = now + again_after_;
    return retry();
}

Outcome PortActor::check_socket() {
    const auto reachable = port_->check();
    const bool as_wanted = outcome_.served == wanted_;
    if (reachable) {
        if (as_wanted) {
            outcome_.error.reset();
        }
        return outcome_;
    }
    if (outcome_.served->socket.mode == schema::SocketMode::client) {
        if (as_wanted && outcome_.error != reachable.error()) {
            VDPA_LOG_LIMITED(warn, module, "%s: %s", name_.c_str(),
                             reachable.error().detail.c_str());
            outcome_.error = reachable.error();
        }
        return outcome_;
    }
    if (port_->connected()) {
        return outcome_;  // its front-end does not need the file; it is made again afterwards
    }
    VDPA_LOG_LIMITED(warn, module, "%s: %s: making it again", name_.c_str(),
                     reachable.error().detail.c_str());
    const schema::PortSpec spec = *outcome_.served;
    end();
    if (auto again = replace(spec); !again) {
        outcome_.error = again.error();
    } else if (as_wanted) {
        outcome_.error.reset();
    }
    return outcome_;
}

void PortActor::reset_stats() {
    if (port_) {
        port_->reset_stats();
    }
}

std::vector<schema::QueueStats> PortActor::stats() const {
    return port_ ? port_->stats() : std::vector<schema::QueueStats>{};
}

}  // namespace vdpa::engine
