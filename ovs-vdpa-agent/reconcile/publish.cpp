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
/* A guest can make its port change state as often as it likes. */
log::RateLimit limit(600, 500);

}  // namespace

void Reconciler::publish_host() {
    report::HostView view;
    view.database = connection_;
    view.has_snapshot = has_snapshot_;
    std::optional<Error> problem = owned_error_;
    if (!host_.errors.empty() && !problem) {
        problem = host_.errors.front();
        problem->detail = "Open_vSwitch other_config: " + problem->detail;
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
    if (!host_.unknown_keys.empty() && !problem) {
        problem =
            Error{Reason::unknown_key, "Open_vSwitch other_config:" + host_.unknown_keys.front() +
                                           " means nothing: check its spelling"};
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
    return has_status && !port.reported &&
           (port.engine ? unheard(engines_[*port.engine])
                        : std::any_of(engines_.begin(), engines_.end(), unheard));
}

void Reconciler::report(Port &port, const Verdict &verdict, const std::vector<Error> &notices) {
    const bool is_preliminary =
        verdict.state == State::provisioning || verdict.state == State::waiting;
    const bool is_silent = is_preliminary && may_be_served_unheard(port);
    report::PortView view;
    view.name = port.name;
    view.bridge = port.row->bridge;
    view.state = verdict.state;
    std::vector<Error> all = notices;
    if (verdict.reason) {
        all.insert(all.begin(), *verdict.reason);
    }
    for (const Error &error : all) {
        view.reason = view.reason ? view.reason : error.reason;
        view.detail += (view.detail.empty() ? "" : "; ") + error.detail;
    }
    if (port.engine) {
        view.engine = engines_[*port.engine].service->path();
    }
    if (port.wanted) {
        view.device = "tap:" + port.wanted->device.name;
        view.socket = port.wanted->socket.path;
        view.socket_mode = to_string(port.wanted->socket.mode);
        view.max_queues = port.wanted->max_queues;
    } else if (port.parsed->config) {
        view.socket = port.parsed->config->engine.socket.path;
    }
    if (port.is_served()) {
        const schema::PortSpec &served = *port.status->served;
        view.socket = served.socket.path;
        view.socket_mode = to_string(served.socket.mode);
        view.max_queues = served.max_queues;
        if (served.socket.mode == schema::SocketMode::server) {
            view.served_socket = served.socket.path;
        }
    }
    if (port.status) {
        view.queues = port.status->queues;
        view.connections = port.status->connections;
        view.features = port.status->features;
    }
    const bool same_state = port.view && port.view->state == view.state;
    view.since = same_state ? port.view->since : std::chrono::system_clock::now();
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
    const bool is_new = !port.reported && !port.parsed->served_socket;
    port.view = view;
    env_.board.set_port(view);
    if (is_silent) {
        return;
    }
    port.reported = true;
    if (is_new && view.state == State::provisioning && env_.first_report_delay.count() > 0) {
        defer(port.name, report::port_status(view));
    } else {
        deferred_.erase(port.name);
        updates_.push_back(report::port_status(view));
    }
}

void Reconciler::defer(const std::string &port, ovs::StatusUpdate update) {
    const bool is_first = deferred_.empty();
    deferred_[port] = std::move(update);
    if (!is_first) {
        return;
    }
    deferred_timer_.expires_after(env_.first_report_delay);
    deferred_timer_.async_wait([this](const boost::system::error_code &cancelled) {
        if (cancelled) {
            return;
        }
        std::vector<ovs::StatusUpdate> due;
        for (auto &[name, deferred] : std::exchange(deferred_, {})) {
            due.push_back(std::move(deferred));
        }
        if (!due.empty()) {
            env_.set_status(std::move(due));
        }
    });
}

}  // namespace vdpa::agent::reconcile
