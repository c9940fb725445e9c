// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/reconcile/fake_engine.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;
using schema::PortStatus;
using schema::Reason;

const Error lost{Reason::engine_down, "the connection was lost"};

}  // namespace

void FakeEngine::attach(engine::EngineListener &listener, size_t index) {
    detach();
    listener_ = &listener;
    index_ = index;
}

void FakeEngine::detach() {
    listener_ = nullptr;
    connected_ = false;
    connection_++;
    open_.clear();
    held_answers_.clear();
}

void FakeEngine::connect() {
    connected_ = true;
    connection_++;
    list_again();
}

void FakeEngine::list_again() {
    std::vector<PortStatus> list;
    for (const auto &[name, port] : ports_) {
        list.push_back(port.status);
    }
    deliver([this, list] { listener_->engine_ready(index_, info, list); });
}

void FakeEngine::disconnect() {
    if (!connected_) {
        return;
    }
    connected_ = false;
    connection_++;
    held_answers_.clear();
    const auto open = std::exchange(open_, {});
    boost::asio::post(io_, [this, open] {
        for (const auto &[id, end] : open) {
            end();
        }
        if (listener_) {
            listener_->engine_down(index_, lost);
        }
    });
}

void FakeEngine::die() {
    ports_.clear();
    held_outcomes_.clear();
    disconnect();
}

/* What is on its way to an agent is lost with the connection. */
void FakeEngine::deliver(std::function<void()> to_agent) {
    boost::asio::post(io_, [this, connection = connection_, to_agent = std::move(to_agent)] {
        if (connected_ && listener_ && connection == connection_) {
            to_agent();
        }
    });
}

template <typename T>
void FakeEngine::answer(Reply<T> done, Expected<T> result) {
    const uint64_t id = next_request_++;
    open_[id] = [done] { done(tl::make_unexpected(lost)); };
    auto act = [this, id, done, result] {
        if (open_.erase(id) != 0) {
            done(result);
        }
    };
    if (holding_answers_) {
        held_answers_.push_back(act);
    } else {
        deliver(act);
    }
}

void FakeEngine::let_answers_go() {
    holding_answers_ = false;
    for (auto &act : std::exchange(held_answers_, {})) {
        deliver(act);
    }
}

void FakeEngine::outcome(std::function<void()> act) {
    if (holding_outcomes_) {
        held_outcomes_.push_back(std::move(act));
    } else if (outcome_before_answer) {
        act();
    } else {
        boost::asio::post(io_, std::move(act));
    }
}

void FakeEngine::let_outcomes_go() {
    holding_outcomes_ = false;
    for (auto &act : std::exchange(held_outcomes_, {})) {
        boost::asio::post(io_, act);
    }
}

void FakeEngine::apply(const schema::PortSpec &spec, Reply<schema::PortApplyResult> done) {
    calls.push_back((spec.netdev_awaited ? "ahead " : "apply ") + spec.name + " " +
                    spec.socket.path);
    if (const auto error = no_accept ? no_accept(spec) : std::nullopt) {
        answer<schema::PortApplyResult>(done, tl::make_unexpected(*error));
        return;
    }
    for (const auto &[name, other] : ports_) {
        if (name != spec.name && socket_of(name) == spec.socket.path) {
            faults.push_back(spec.name + " is to be served on " + spec.socket.path + " while " +
                             name + " is");
        }
        if (name == spec.name && spec.netdev_awaited && !other.accepted.netdev_awaited) {
            faults.push_back(spec.name + " is to await the netdev that it has");
        }
        if ((name == spec.name) != (other.accepted.device == spec.device)) {
            faults.push_back(spec.name + " is to have " + spec.device.name + " while " + name +
                             " has " + other.accepted.device.name);
        }
    }
    const bool is_new = !ports_.contains(spec.name);
    Ported &port = ports_[spec.name];
    const bool has_failed =
        port.status.generation == port.generation && port.status.reason.has_value();
    if (!is_new && port.accepted == spec && !has_failed) {
        answer<schema::PortApplyResult>(done, {{port.generation, false}});
        return;
    }
    port.generation = ++generation_;
    port.accepted = spec;
    if (is_new) {
        port.status.name = spec.name;
        port.status.state = PortState::pending;
    }
    port.status.spec = spec;
    if (distort) {
        distort(port.status.spec);
    }
    const auto carry = [this, name = spec.name, generation = port.generation] {
        carry_out(name, generation);
    };
    const schema::PortApplyResult result{port.generation, true};
    if (outcome_before_answer) {
        outcome(carry);
        answer<schema::PortApplyResult>(done, result);
    } else {
        answer<schema::PortApplyResult>(done, result);
        outcome(carry);
    }
}

void FakeEngine::carry_out(const std::string &name, uint64_t generation) {
    const auto found = ports_.find(name);
    if (found == ports_.end() || found->second.generation != generation) {
        return;
    }
    PortStatus &status = found->second.status;
    status.generation = generation;
    const auto error = refuse ? refuse(found->second.accepted) : std::nullopt;
    if (error) {
        status.reason = to_string(error->reason);
        status.detail = error->detail;
        status.state = status.served ? status.state : PortState::failed;
    } else {
        const auto mode = found->second.accepted.socket.mode;
        status.reason.reset();
        status.detail.reset();
        // A front-end stays where the socket does.
        const bool stays =
            (status.state == PortState::connected || status.state == PortState::running) &&
            status.served && status.served->socket == status.spec.socket;
        status.served = status.spec;
        if (!stays) {
            status.state =
                mode == schema::SocketMode::server ? PortState::listening : PortState::connecting;
        }
    }
    tell(status);
}

void FakeEngine::remove_dead_socket(const std::string &port, const std::string &path,
                                    Reply<schema::PortRemoveResult> done) {
    dead_sockets.push_back(path);
    Expected<schema::PortRemoveResult> result;
    if (sockets_to_keep > 0) {
        sockets_to_keep--;
        result = fail(schema::Reason::socket_failed, "cannot remove " + path);
    }
    answer<schema::PortRemoveResult>(done, result);
    if (ports_.contains(port)) {
        faults.push_back(port + " is there, and its socket " + path + " is said to be dead");
    }
}

void FakeEngine::remove(const std::string &name, Reply<schema::PortRemoveResult> done) {
    calls.push_back("remove " + name);
    if (const auto error = no_remove ? no_remove() : std::nullopt) {
        answer<schema::PortRemoveResult>(done, tl::make_unexpected(*error));
        return;
    }
    const auto found = ports_.find(name);
    answer<schema::PortRemoveResult>(done, schema::PortRemoveResult{found != ports_.end(), {}});
    if (found != ports_.end()) {
        PortStatus status = found->second.status;
        status.generation = found->second.generation;
        status.state = PortState::removed;
        status.served.reset();
        ports_.erase(found);
        outcome([this, status] { tell(status); });
    }
}

void FakeEngine::stats(const std::string &port, Reply<schema::PortStats> done) {
    answer<schema::PortStats>(done, schema::PortStats{port, {{0, {{"packets", 3}}}}});
}

void FakeEngine::reset_stats(const std::string &port, Reply<schema::Empty> done) {
    calls.push_back("reset_stats " + port);
    answer<schema::Empty>(done, schema::Empty{});
}

void FakeEngine::tell(const PortStatus &status) {
    deliver([this, status] { listener_->port_changed(index_, status); });
}

void FakeEngine::change(const std::string &port, const std::function<void(PortStatus &)> &how) {
    PortStatus &status = ports_.at(port).status;
    how(status);
    tell(status);
}

bool FakeEngine::serves(const std::string &port) const {
    return !socket_of(port).empty();
}

std::string FakeEngine::socket_of(const std::string &port) const {
    const auto found = ports_.find(port);
    return found != ports_.end() && found->second.status.served
               ? found->second.status.served->socket.path
               : "";
}

bool FakeEngine::is_ahead(const std::string &port) const {
    const auto found = ports_.find(port);
    return found != ports_.end() && found->second.status.served &&
           found->second.status.served->netdev_awaited;
}

std::string FakeEngine::device_of(const std::string &port) const {
    const auto found = ports_.find(port);
    return found != ports_.end() && found->second.status.served
               ? found->second.status.served->device.name
               : "";
}

bool FakeEngine::has_open(const std::string &device) const {
    return std::any_of(ports_.begin(), ports_.end(), [&device](const auto &each) {
        return each.second.accepted.device.name == device;
    });
}

size_t FakeEngine::count(const std::string &call) const {
    return static_cast<size_t>(std::count_if(
        calls.begin(), calls.end(), [&call](const auto &made) { return made.starts_with(call); }));
}

}  // namespace vdpa::agent::reconcile
