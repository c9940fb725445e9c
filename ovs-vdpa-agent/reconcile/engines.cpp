// SPDX-License-Identifier: Apache-2.0
// What is heard from engines, which ports are on which, and what is cleared away there.
#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::PortState;

const log::Module module("reconcile");
log::RateLimit limit;

}  // namespace

void Reconciler::set_engines(std::vector<engine::EngineService *> engines) {
    for (auto *service : engines) {
        Engine engine;
        engine.service = service;
        engine.down.detail = "no answer yet from the engine at " + service->path();
        engines_.push_back(std::move(engine));
    }
}

void Reconciler::engine_ready(size_t index, const schema::EngineInfo &info,
                              std::vector<schema::PortStatus> statuses) {
    Engine &engine = engines_[index];
    engine.heard = engine.ready = true;
    engine.info = info;
    // Whatever was known of its ports is replaced by what it says now.
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.forget_engine_state();
        update_holds(known);
        wake(name);
    }
    for (const auto &status : statuses) {
        Port &listed = port(status.name);
        // What runs counts more than where the port was going to be placed.
        const bool is_new_elsewhere = !listed.status && !listed.applying;
        if (!listed.engine || (listed.engine != index && !listed.is_served() &&
                               (status.served || is_new_elsewhere))) {
            if (listed.engine && !is_new_elsewhere) {
                strays_.emplace(*listed.engine, listed.name);
            }
            place_on(listed, index);
        }
        take_status(index, listed, status);
    }
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        const std::string left = known.status ? "" : std::exchange(known.socket_file, "");
        if (!left.empty()) {
            leave_socket(index, name, left);
        }
    }
    wake_unplaced();
    wake_host();
}

void Reconciler::engine_down(size_t index, const Error &why) {
    Engine &engine = engines_[index];
    engine.heard = true;
    engine.ready = false;
    engine.down = why;
    for (auto &[name, left] : engine.left_sockets) {
        left.is_busy = false;
        left.backoff.reset();
        left.retry.cancel();
    }
    for (const std::string &name : engine.ports) {
        Port &known = port(name);
        known.forget_engine_state();
        update_holds(known);
        wake(name);
    }
    wake_unplaced();
    wake_host();
}

void Reconciler::port_changed(size_t index, const schema::PortStatus &status) {
    const auto found = ports_.find(status.name);
    if (found == ports_.end()) {
        if (status.state == PortState::removed) {
            return;
        }
        place_on(port(status.name), index);
    }
    take_status(index, port(status.name), status);
}

void Reconciler::take_status(size_t index, Port &changed, const schema::PortStatus &status) {
    if (changed.engine != index) {
        // The port is on two engines, which nobody wants: this one is to let go. It holds nothing
        // that the port needs, or the other could not serve it.
        if (status.state != PortState::removed) {
            module.warn(limit, changed.name + ": also on " + engines_[index].service->path() +
                                   ", where it is removed");
            strays_.emplace(index, changed.name);
            wake_host();
        }
        return;
    }
    if (status.state == PortState::removed) {
        if (!changed.removing && status.generation < changed.awaited) {
            return;  // an earlier agent had it removed, and it is there again
        }
        changed.status.reset();
        changed.socket_file.clear();
        changed.told.reset();
        changed.accepted.reset();
        changed.removing = false;
        changed.awaited = 0;
    } else {
        changed.status = status;
        if (status.generation >= changed.awaited && status.state != PortState::pending) {
            changed.awaited = 0;
        }
        if (changed.is_served() && !changed.removing) {
            changed.was_served = changed.was_served || !changed.lacks_netdev();
            if (!changed.wanted) {
                adopt(changed);
            }
        }
    }
    const std::string held = changed.is_served() ? status.served->socket.path : "";
    const bool has_file = !held.empty() && status.served->socket.mode == schema::SocketMode::server;
    changed.socket_file = has_file ? held : "";
    update_holds(changed);
    wake(changed.name);
    wake_host();
}

/* The row may be bad, or not read yet: what is served is what is wanted until it says otherwise. */
void Reconciler::adopt(Port &port) {
    port.is_adopted = true;
    port.wanted.emplace();
    port.wanted->name = port.name;
    port.wanted->engine = *port.status->served;
    port.wanted->engine.netdev_awaited = false;
    port.wanted_things = {socket_thing(port.wanted->engine.socket.path)};
    if (const auto device = device_thing(port.wanted->engine.device); !device.empty()) {
        port.wanted_things.insert(device);
    }
}

void Reconciler::restart_pending(size_t index, bool pending) {
    Engine &engine = engines_[index];
    if (pending && !engine.restart_pending) {
        module.info(engine.service->path() +
                    ": other_config was changed after DPDK started: restart the "
                    "engine for it to take effect");
    }
    engine.restart_pending = pending;
    wake_host();
}

void Reconciler::place_on(Port &placed, std::optional<size_t> engine) {
    if (placed.engine) {
        Engine &left = engines_[*placed.engine];
        const bool was_full = left.ports.size() >= left.info.max_ports;
        left.ports.erase(placed.name);
        placed.forget_engine_state();
        if (was_full) {
            wake_unplaced();
        }
    }
    placed.engine = engine;
    wake_host();
    if (engine) {
        engines_[*engine].ports.insert(placed.name);
    }
}

void Reconciler::choose_engine(Port &port) {
    if (port.engine) {
        return;
    }
    // Where the row says it was served, it may still be served.
    const auto &hint = port.parsed->engine;
    for (size_t i = 0; hint && i < engines_.size(); i++) {
        if (engines_[i].service->path() == *hint) {
            place_on(port, i);
            return;
        }
    }
    std::optional<size_t> best;
    for (size_t i = 0; i < engines_.size(); i++) {
        const Engine &engine = engines_[i];
        if (engine.ready && engine.ports.size() < engine.info.max_ports &&
            (!best || engine.ports.size() < engines_[*best].ports.size())) {
            best = i;
        }
    }
    if (best) {
        place_on(port, best);
    }
}

/* There may be room, or hope, on an engine now. */
void Reconciler::wake_unplaced() {
    for (const auto &[name, known] : ports_) {
        if (!known->engine) {
            wake(name);
        }
    }
}

void Reconciler::leave_socket(size_t index, const std::string &name, const std::string &path) {
    auto &left = engines_[index].left_sockets;
    const auto known = left.find(name);
    if (known == left.end() || known->second.path != path) {
        left.erase(name);
        left.try_emplace(name, env_.io, path, env_.backoff);
    }
}

/* An engine that died could not remove its socket files; the one that is there now can. */
void Reconciler::remove_left_sockets() {
    for (size_t index = 0; index < engines_.size(); index++) {
        auto &left = engines_[index].left_sockets;
        if (!engines_[index].ready || left.empty()) {
            continue;
        }
        // One that a port wants is replaced when that port is served.
        std::erase_if(left, [this](const auto &entry) {
            return !claims_.of(socket_thing(entry.second.path)).empty();
        });
        for (auto &[name, socket] : left) {
            // The engine would remove a port of that name with it.
            const auto found = ports_.find(name);
            const bool may_be_there =
                found != ports_.end() &&
                (found->second->status || found->second->applying || found->second->awaited != 0);
            if (!socket.is_busy && !may_be_there) {
                socket.is_busy = true;
                remove_left_socket(index, name);
            }
        }
    }
}

void Reconciler::remove_left_socket(size_t index, const std::string &name) {
    const std::string path = engines_[index].left_sockets.at(name).path;
    engines_[index].service->remove_dead_socket(
        name, path, [this, index, name, path](const Expected<schema::PortRemoveResult> &result) {
            left_socket_removed(index, name, path, result);
        });
}

void Reconciler::left_socket_removed(size_t index, const std::string &name, const std::string &path,
                                     const Expected<schema::PortRemoveResult> &result) {
    Engine &engine = engines_[index];
    const auto found = engine.left_sockets.find(name);
    if (found == engine.left_sockets.end() || found->second.path != path) {
        return;  // wanted again, or another has been left since
    }
    if (result) {
        engine.left_sockets.erase(found);
        return;
    }
    LeftSocket &socket = found->second;
    if (!engine.ready) {
        socket.is_busy = false;  // the next one is asked when it is there
        return;
    }
    if (!std::exchange(socket.was_told, true)) {
        module.warn(limit, path + ": left by an engine that died when it served " + name +
                               ", cannot be removed by the one at " + engine.service->path() +
                               ": " + result.error().detail +
                               "; it is tried again: let the engine's user write to the folder, "
                               "or remove the socket by hand");
    }
    socket.retry.expires_after(socket.backoff.next(env_.backoff.last));
    socket.retry.async_wait([this, index, name](const boost::system::error_code &cancelled) {
        const auto left = engines_[index].left_sockets.find(name);
        if (!cancelled && left != engines_[index].left_sockets.end()) {
            left->second.is_busy = false;
            wake_host();
        }
    });
}

void Reconciler::remove_strays() {
    for (const auto &[index, name] : std::exchange(strays_, {})) {
        // An engine that is away tells of the port when it is back.
        if (engines_[index].ready) {
            engines_[index].service->remove(name,
                                            [](const Expected<schema::PortRemoveResult> &) {});
        }
    }
}

}  // namespace vdpa::agent::reconcile
