// SPDX-License-Identifier: Apache-2.0
// What a port is to be: the row's settings with what they come to on this host, or the last good
// ones.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;
using schema::State;

Condition condition_of(const Error &error) {
    switch (error.reason) {
        case Reason::pf_missing:
        case Reason::pf_legacy:
        case Reason::eswitch_unread:
        case Reason::pf_preparing:
        case Reason::pf_needs_drain:
        case Reason::pf_failed:
        case Reason::not_a_pf:
        case Reason::sriov_unsupported:
        case Reason::eswitch_unsupported:
            return Condition::pf;
        case Reason::representor_missing:
            return Condition::netdev;
        case Reason::no_device:
        case Reason::device_mismatch:
        case Reason::no_representor:
            return Condition::config;
        default:
            return Condition::function;
    }
}

/* Whether that may be for want of what a PF's preparation brings. */
bool may_come_with_pf(const Error &error) {
    return error.reason == Reason::pf_missing || error.reason == Reason::pf_legacy ||
           error.reason == Reason::eswitch_unread || error.reason == Reason::device_missing ||
           error.reason == Reason::representor_missing;
}

/* Whether the VF's address may be one of the PF's: VFs mostly lie on their PF's bus (PCI Express,
 * section 9.2.1.2), and a guess is enough to tell what may be waited for. */
bool is_on_same_bus(const host::Handle &vf, const host::Handle &pf) {
    const auto bus = [](const host::Handle &handle) {
        return handle.device.substr(0, handle.device.rfind(':'));
    };
    return vf.bus == pf.bus && bus(vf) == bus(pf);
}

/* The settings of a row that can be served. While the owner of the socket is not known, one that is
 * there already keeps the owner it has; none: it is another socket, and nobody may connect to it
 * before it has its owner. */
std::optional<config::PortConfig> settings_of(const Port &port, bool goes_on) {
    config::PortConfig settings = *port.parsed->config;
    if (!port.parsed->unresolved) {
        return settings;
    }
    if (!goes_on) {
        return std::nullopt;
    }
    const schema::SocketSpec &present = port.wanted->engine.socket;
    settings.engine.socket.uid = present.uid;
    settings.engine.socket.gid = present.gid;
    return settings.engine.socket == present ? std::optional(settings) : std::nullopt;
}

}  // namespace

Expected<Plan> Reconciler::find(const config::PortConfig &config) const {
    return make_plan(*inventory_, config, [this](const std::string &name) {
        const auto found = ports_.find(name);
        return found != ports_.end() && found->second->row.has_value();
    });
}

void Reconciler::examine(Port &port) {
    port.candidate.reset();
    const bool has_device = port.parsed && port.parsed->config && port.parsed->config->device;
    if (has_device && inventory_) {
        port.candidate = find(*port.parsed->config);
    }
    claim(port);
    watch(port);
}

/* What goes on is looked for anew, too. */
void Reconciler::replan(Port &port) {
    port.plan.reset();
    port.plan_error.reset();
    if (!port.wanted || !port.wanted->device || !inventory_) {
        return;
    }
    auto plan = find(*port.wanted);
    if (plan) {
        port.plan = std::move(*plan);
    } else {
        port.plan_error = plan.error();
    }
}

std::optional<Error> Reconciler::accept(Port &port) {
    look_up_again(port);
    const auto &config = port.parsed->config;
    const bool goes_on = port.was_served && port.wanted;
    std::optional<Error> problem;
    if (!config) {
        problem = config.error();
    } else if (port.candidate && !*port.candidate) {
        // What is missing may come, and what has served may come back; but a guest is not cut off
        // for something else that is not there.
        const bool is_same =
            port.wanted &&
            (port.is_adopted ? may_ask_for(config->device, port.wanted->engine.device)
                             : port.wanted->device == config->device);
        const Error &error = port.candidate->error();
        if (goes_on ? !is_same : state_of_error(error) == State::invalid) {
            problem = error;
        }
    }
    problem = problem ? problem : lost_to(port);
    std::optional<config::PortConfig> settings;
    if (!problem) {
        settings = settings_of(port, goes_on);
        problem = settings ? problem : port.parsed->unresolved;
    }
    if (problem) {
        replan(port);
        return problem;
    }
    port.wanted = std::move(*settings);
    port.is_adopted = false;
    port.wanted_things = claims_.by(port.name);
    port.plan.reset();
    port.plan_error.reset();
    if (port.candidate && *port.candidate) {
        port.plan = **port.candidate;
    } else if (port.candidate) {
        port.plan_error = port.candidate->error();
    }
    return std::nullopt;
}

std::optional<Verdict> Reconciler::check_plan(Port &port) {
    if (!port.plan_error) {
        return std::nullopt;
    }
    drop_stale(port);
    look_again_later();
    const auto of_pf = pf_problem(port, *port.plan_error);
    const Error &error = of_pf ? *of_pf : *port.plan_error;
    return unmet(condition_of(error), error);
}

/* What is missing may be what the preparation of a PF is to bring. */
std::optional<Error> Reconciler::pf_problem(const Port &port, const Error &error) const {
    if (!may_come_with_pf(error)) {
        return std::nullopt;
    }
    const host::DeviceRequest &request = *port.wanted->device;
    if (request.representor) {
        return pfs_.problem(request.representor->pf);
    }
    std::optional<host::Handle> device;
    if (const auto *dpdk = std::get_if<host::DpdkDevice>(&request.device)) {
        device = dpdk->device;
    } else if (const auto *managed = std::get_if<host::ManagedDevice>(&request.device)) {
        device = host::parse_pf(managed->management).value_or(host::Handle());
    }
    for (const host::PfSpec &spec : host_.pfs) {
        if (device && is_on_same_bus(*device, spec.handle)) {
            if (auto problem = pfs_.problem(spec.handle)) {
                return problem;
            }
        }
    }
    return std::nullopt;
}

}  // namespace vdpa::agent::reconcile
