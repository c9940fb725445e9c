// SPDX-License-Identifier: Apache-2.0
#include "engine/port_actor.hpp"

#include <algorithm>
#include <utility>

#include "engine/log.hpp"
#include "engine/port_plan.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "ports";

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

void PortActor::release_path(const std::string &path) {
    context_.serving.erase(path);
    if (const auto next = context_.waiting.find(path); next != context_.waiting.end()) {
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
    if (outcome_.served) {
        release_path(outcome_.served->socket.path);
        outcome_.served.reset();
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
    if (error.reason == schema::Reason::duplicate_socket) {
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
    // A port that was made to stand as before by an error may differ from `served` in its offer.
    if (auto done = port_->set_offer(vhost::offer_of(spec)); !done) {
        return done;
    }
    if (steps.attributes) {
        if (auto done = port_->set_attributes(spec.socket); !done) {
            return done;
        }
    }
    outcome_.served = spec;
    return {};
}

Expected<void> PortActor::claim_path(const std::string &path) {
    const auto found = context_.serving.find(path);
    if (found == context_.serving.end() || found->second == this) {
        return {};
    }
    PortActor &holder = *found->second;
    const auto is_holder = [&holder](const auto &item) { return item.second == &holder; };
    if (std::any_of(context_.waiting.begin(), context_.waiting.end(), is_holder)) {
        // It wants another path itself, and has this one only until it gets that: if we want to
        // have it before, somebody must begin.
        holder.end();
        return {};
    }
    context_.waiting.emplace(path, this);
    return fail(schema::Reason::duplicate_socket,
                "port " + holder.name_ + " of this engine has the socket " + path);
}

Expected<void> PortActor::replace(const schema::PortSpec &spec) {
    if (auto free = claim_path(spec.socket.path); !free) {
        return free;
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
    context_.serving[spec.socket.path] = this;
    if (before && !same_path) {
        release_path(before->socket.path);
    }
    return {};
}

Outcome PortActor::check() {
    if (!port_ || !outcome_.served) {
        return outcome_;
    }
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
