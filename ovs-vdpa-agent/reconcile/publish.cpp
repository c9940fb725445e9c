// SPDX-License-Identifier: Apache-2.0
// What is said of the host and of a port: in the database, to vdpa/show, in the log.
#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"
#include "ovs-vdpa-agent/report/status.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;
using schema::State;

const log::Module module("port");
/* For how many times the delay of a first report it is kept back at most. */
constexpr int longest_delay = 10;
/* A guest can make its port change state as often as it likes. */
log::RateLimit limit(600, 500);

const char *mode_of(schema::DeviceKind kind) {
    switch (kind) {
        case schema::DeviceKind::dpdk:
            return "hw";
        case schema::DeviceKind::kernel:
            return "kernel";
        case schema::DeviceKind::tap:
            break;
    }
    return "sw";
}

void show_device(report::PortView &view, const schema::DeviceSpec &device) {
    view.mode = mode_of(device.kind);
    view.device = (device.kind == schema::DeviceKind::tap ? "tap:" : "") + device.name;
}

/* What the row says, which may not be valid. */
bool asks_for_emulated_vf(const ovs::InterfaceRow &row) {
    const auto value = [&row](const char *key) -> std::string {
        for (const schema::StringMap *map : {&row.options, &row.external_ids}) {
            if (const auto found = map->find(key); found != map->end()) {
                return found->second;
            }
        }
        return "";
    };
    return value("vdpa-sw") == "true" && value("vdpa-accelerator-devargs").empty() &&
           value("vdpa-representor").empty() && row.type != "dpdk";
}

/* What the port is to be, and what of it is so. */
void show_settings(report::PortView &view, const Port &port) {
    if (port.wanted) {
        const schema::PortSpec &wanted = port.wanted->engine;
        if (port.spec || !port.wanted->device) {
            show_device(view, port.spec ? port.spec->device : wanted.device);
        }
        view.socket = wanted.socket.path;
        view.socket_mode = to_string(wanted.socket.mode);
        view.max_queues = wanted.max_queues;
    } else if (port.parsed->config) {
        view.socket = port.parsed->config->engine.socket.path;
    }
    if (!port.representor.is_absent() && port.representor.function) {
        view.function = port.representor.function->text();
    } else if (port.plan) {
        view.function = port.plan->function.text();
    }
    if (port.is_served()) {
        const schema::PortSpec &served = *port.status->served;
        show_device(view, served.device);
        view.socket = served.socket.path;
        view.socket_mode = to_string(served.socket.mode);
        view.max_queues = served.max_queues;
        // A promise that the port works as soon as a front-end has connected.
        if (served.socket.mode == schema::SocketMode::server && !served.netdev_awaited) {
            view.served_socket = served.socket.path;
        }
    }
    if (port.status) {
        const schema::PortStatus &status = *port.status;
        view.queues = status.queues;
        view.connections = status.connections;
        view.features = status.features;
        view.offered = status.offered;
        view.withheld = status.withheld;
        view.device_queues = status.device_queues;
        view.doorbell = status.doorbell.value_or("");
        view.device_mac = status.device_mac.value_or("");
        view.device_mtu = status.device_mtu;
        view.stall_ms = status.stall_ms;
    }
}

/* Whether nothing but the conditions differs, which are not in the row's status. */
bool is_same_status(report::PortView before, const report::PortView &now) {
    before.conditions = now.conditions;
    return before == now;
}

/* Whether a condition of the engine's part holds, whatever becomes of those before it. */
std::optional<bool> engine_says(Condition condition, const Port &port, bool engine_ready) {
    using schema::PortState;
    const PortState state = port.status ? port.status->state : PortState::removed;
    switch (condition) {
        case Condition::engine:
            return engine_ready;
        case Condition::opened:
            return port.is_served() && !port.lacks_netdev();
        case Condition::socket:
            return port.is_served();
        case Condition::front_end:
            return state == PortState::connected || state == PortState::running;
        case Condition::running:
            return state == PortState::running;
        default:
            return std::nullopt;
    }
}

/* Whether it has been found out which PF the port is to be on, and that this one is as it has to
 * be. A device that is not there does not tell its PF. */
bool knows_pf(const Port &port, const host::Inventory *inventory) {
    if (port.plan) {
        return true;
    }
    if (!inventory || !port.wanted || !port.wanted->device || !port.wanted->device->representor) {
        return false;
    }
    const host::Pf *pf = inventory->pf(port.wanted->device->representor->pf);
    return pf != nullptr && pf->eswitch == host::Pf::Eswitch::switchdev;
}

void show_conditions(report::PortView &view, const Port &port, const Verdict &verdict,
                     bool engine_ready, bool pf_known, std::chrono::system_clock::time_point now) {
    for (size_t i = 0; i < report::n_conditions; i++) {
        const auto condition = static_cast<Condition>(i);
        report::ConditionView &shown = view.conditions[i];
        if (condition == Condition::pf && verdict.unmet == Condition::function && !pf_known) {
            shown.holds = std::nullopt;
        } else if (!verdict.unmet || condition < *verdict.unmet) {
            shown.holds = true;
        } else if (condition == *verdict.unmet) {
            shown.holds = false;
        } else {
            shown.holds = engine_says(condition, port, engine_ready);
        }
        const bool is_as_before = port.view && port.view->conditions[i].holds == shown.holds;
        shown.since = is_as_before ? port.view->conditions[i].since : now;
    }
}

}  // namespace

void Reconciler::publish_host() {
    report::HostView view;
    view.database = connection_;
    view.has_snapshot = has_snapshot_;
    view.pfs = pfs_.views();
    std::optional<Error> problem = owned_error_;
    if (!host_.errors.empty() && !problem) {
        problem = host_.errors.front();
        problem->detail = "Open_vSwitch other_config:" + problem->detail;
    }
    for (const Engine &engine : engines_) {
        report::EngineView shown;
        shown.path = engine.service->path();
        shown.usable = engine.ready;
        if (engine.ready) {
            shown.pid = engine.info.pid;
            shown.version = engine.info.version;
            shown.ports = engine.ports.size();
        } else {
            shown.problem = engine.down.detail;
            problem = problem ? problem : engine.down;
        }
        if (engine.restart_pending) {
            shown.problem =
                "other_config was changed after DPDK started: restart the engine for "
                "it to take effect";
            problem =
                problem ? problem
                        : Error{Reason::engine_restart_pending, shown.path + ": " + shown.problem};
        }
        view.engines.push_back(std::move(shown));
    }
    for (const report::PfView &pf : view.pfs) {
        // That one is being prepared is no fault.
        if (pf.reason && pf.reason != Reason::pf_preparing && !problem) {
            problem = Error{*pf.reason, pf.detail};
        }
    }
    if (inventory_ && !inventory_->problems.empty() && !problem) {
        problem = Error{Reason::host_unread, inventory_->problems.front()};
    }
    if (!host_.unknown_keys.empty() && !problem) {
        problem = Error{Reason::unknown_key,
                        "Open_vSwitch other_config:" + host_.unknown_keys.front().substr(0, 64) +
                            " means nothing and is ignored: check its spelling"};
    }
    if (problem) {
        view.reason = problem->reason;
        view.detail = problem->detail;
    }
    const bool changed = view != host_view_;
    if (may_report() && (changed || !host_reported_)) {
        host_reported_ = true;
        updates_.push_back(report::host_status(view));
    }
    if (changed) {
        host_view_ = view;
        env_.board.set_host(std::move(view));
    }
}

/* Whether the port's row, which an earlier agent wrote, may say more than we know yet. */
bool Reconciler::may_be_served_unheard(const Port &port) const {
    const auto unheard = [](const Engine &engine) { return !engine.heard; };
    const bool has_status = port.parsed && (port.parsed->served_socket || port.parsed->was_valid);
    const bool waits_for_host = port.parsed->config && port.parsed->config->device && !inventory_;
    return has_status && !port.reported &&
           (waits_for_host ||
            (port.engine ? unheard(engines_[*port.engine])
                         : std::any_of(engines_.begin(), engines_.end(), unheard)));
}

void Reconciler::report(Port &port, const Verdict &verdict, const std::vector<Error> &notices) {
    const bool is_preliminary =
        verdict.state == State::provisioning || verdict.state == State::waiting;
    const bool is_silent = is_preliminary && may_be_served_unheard(port);
    report::PortView view;
    view.name = port.name;
    view.bridge = port.row->bridge;
    view.is_emulated = asks_for_emulated_vf(*port.row);
    view.state = verdict.state;
    std::vector<Error> all = notices;
    if (verdict.reason) {
        all.insert(all.begin(), *verdict.reason);
    }
    for (const Error &error : all) {
        view.reason = view.reason ? view.reason : error.reason;
        view.detail += (view.detail.empty() ? "" : "; ") + error.detail;
    }
    show_settings(view, port);
    if (port.engine) {
        view.engine = engines_[*port.engine].service->path();
    }
    const bool same_state = port.view && port.view->state == view.state;
    const auto now = std::chrono::system_clock::now();
    view.since = same_state ? port.view->since : now;
    const bool engine_ready =
        port.engine ? engines_[*port.engine].ready : std::ranges::any_of(engines_, &Engine::ready);
    show_conditions(view, port, verdict, engine_ready, knows_pf(port, inventory_.get()), now);
    if (view == port.view && (port.reported || is_silent)) {
        return;
    }
    if (!same_state || port.view->reason != view.reason) {
        const std::string text =
            port.name + ": " + to_string(view.state) +
            (view.reason ? std::string(" (") + to_string(*view.reason) + ")" : "") +
            (view.detail.empty() ? "" : ": " + view.detail);
        const bool bad = view.state == State::invalid || view.state == State::failed ||
                         view.reason == Reason::config_rejected;
        bad ? module.warn(limit, text) : module.info(limit, text);
    }
    const bool is_new =
        (!port.reported && !port.parsed->served_socket) || deferred_.contains(port.name);
    const bool same_status = port.reported && port.view && is_same_status(*port.view, view);
    port.view = view;
    env_.board.set_port(view);
    if (is_silent || same_status) {
        return;
    }
    port.reported = true;
    if (is_new && view.state == State::provisioning && env_.first_report_delay.count() > 0) {
        defer(port.name, report::port_status(view));
    } else {
        overtaken_ += deferred_.erase(port.name);
        updates_.push_back(report::port_status(view));
    }
}

/* A row that is gone has no status, but whoever asks is told what is being waited for. */
void Reconciler::report_release(Port &port) {
    if (!port.view || !port.release_error || port.view->reason == port.release_error->reason) {
        return;
    }
    port.view->state = state_of_error(*port.release_error);
    port.view->reason = port.release_error->reason;
    port.view->detail = "the port is being removed: " + port.release_error->detail;
    port.view->served_socket.reset();
    port.view->since = std::chrono::system_clock::now();
    env_.board.set_port(*port.view);
}

void Reconciler::defer(const std::string &port, ovs::StatusUpdate update) {
    const bool is_first = deferred_.empty();
    deferred_[port] = std::move(update);
    if (is_first) {
        overtaken_ = 0;
        deferred_until_ =
            std::chrono::steady_clock::now() + longest_delay * env_.first_report_delay;
        wait_for_deferred();
    }
}

void Reconciler::wait_for_deferred() {
    deferred_timer_.expires_after(env_.first_report_delay);
    deferred_timer_.async_wait([this](const boost::system::error_code &cancelled) {
        if (cancelled || deferred_.empty()) {
            return;
        }
        // Ports come by the hundred, too, and while some become ready the others only wait for
        // their turn.
        const bool goes_on = std::exchange(overtaken_, 0) > 0;
        if (goes_on && std::chrono::steady_clock::now() < deferred_until_) {
            wait_for_deferred();
            return;
        }
        std::vector<ovs::StatusUpdate> due;
        for (auto &[name, deferred] : std::exchange(deferred_, {})) {
            due.push_back(std::move(deferred));
        }
        env_.set_status(std::move(due));
    });
}

}  // namespace vdpa::agent::reconcile
