// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/pfs.hpp"

#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::reconcile {

namespace {

using host::Handle;
using host::PfStep;
using schema::Reason;

const log::Module module("pf");
log::RateLimit limit;

std::string describe(const PfStep &step) {
    switch (step.kind) {
        case PfStep::Kind::set_num_vfs:
            return "setting the number of VFs to " + std::to_string(step.num_vfs);
        case PfStep::Kind::unbind_vf:
            return "unbinding VF " + step.vf.device + ", so that the eswitch can be changed";
        case PfStep::Kind::set_switchdev:
            return "setting the eswitch to switchdev mode";
        case PfStep::Kind::bind_vf:
            return "binding VF " + step.vf.device + " to " + step.driver + " again";
        case PfStep::Kind::set_uplink_up:
            break;
    }
    return "setting the uplink up";
}

}  // namespace

struct Pfs::Pf {
    Pf(boost::asio::io_context &io, host::PfSpec pf_spec, BackoffLimits limits)
        : spec(std::move(pf_spec)), backoff(limits), retry(io) {}

    host::PfSpec spec;
    bool is_wanted = true;        // vdpa-pfs names it
    std::optional<PfStep> acted;  // carried out last, or being carried out
    bool acting = false;
    std::optional<Error> error;  // of the step that was carried out last
    Backoff backoff;
    boost::asio::steady_timer retry;
    bool retry_armed = false;
    bool retry_due = false;
    std::optional<Error> problem;
    std::chrono::system_clock::time_point since = std::chrono::system_clock::now();

    void settle() {
        acted.reset();
        error.reset();
        backoff.reset();
        retry.cancel();
        retry_armed = retry_due = false;
    }
};

Pfs::Pfs(Environment environment) : env_(std::move(environment)) {}

Pfs::~Pfs() = default;

void Pfs::set_specs(const std::vector<host::PfSpec> &specs) {
    for (const auto &[handle, pf] : pfs_) {
        pf->is_wanted = false;
    }
    order_.clear();
    for (const host::PfSpec &spec : specs) {
        order_.push_back(spec.handle);
        auto &slot = pfs_[spec.handle];
        if (!slot) {
            slot = std::make_unique<Pf>(env_.io, spec, env_.backoff);
            slot->problem = Error{Reason::pf_preparing,
                                  "PF " + spec.handle.label() + ": has not been looked at yet"};
        } else if (slot->spec != spec) {
            slot->spec = spec;
            slot->retry_due = true;
        }
        slot->is_wanted = true;
    }
    // One that is being changed is forgotten when that is done.
    for (auto each = pfs_.begin(); each != pfs_.end();) {
        const bool is_done_with = !each->second->is_wanted && !each->second->acting;
        const Handle handle = each->first;
        each = is_done_with ? pfs_.erase(each) : std::next(each);
        if (is_done_with) {
            env_.changed(handle);
        }
    }
    env_.wake();
}

void Pfs::set_unbound(const std::map<Handle, std::string> &unbound) {
    unbound_ = unbound;
    env_.wake();
}

void Pfs::advance(const host::Inventory &inventory, const UsedBy &used_by) {
    for (const auto &[handle, pf] : pfs_) {
        if (pf->is_wanted && !pf->acting) {
            advance(*pf, host::next_step(inventory, pf->spec, used_by(handle), unbound_));
        }
    }
    bind_orphans(inventory);
}

void Pfs::advance(Pf &pf, const Expected<std::optional<PfStep>> &next) {
    if (!next || !*next) {
        pf.settle();
        set_problem(pf, next ? std::nullopt : std::optional(next.error()));
        return;
    }
    const PfStep &step = **next;
    const bool is_again = pf.acted == step;
    if (is_again && !pf.retry_due) {
        retry_later(pf);
    } else {
        if (!is_again) {
            pf.error.reset();
            pf.backoff.reset();
        }
        carry_out(pf, step);
    }
    // While it is tried again, the reason stays.
    set_problem(pf, pf.error ? pf.error
                             : Error{Reason::pf_preparing,
                                     "PF " + pf.spec.handle.label() + ": " + describe(step)});
}

void Pfs::carry_out(Pf &pf, const PfStep &step) {
    module.info(pf.spec.handle.label() + ": " + describe(step));
    pf.retry_due = false;
    pf.acting = true;
    pf.acted = step;
    env_.service.carry_out(step,
                           [this, step](const Expected<void> &result) { take(step, result); });
}

void Pfs::take(const PfStep &step, const Expected<void> &result) {
    if (!result) {
        finish(step, result);
        return;
    }
    // Of much of it nothing notifies.
    env_.refresh(step.pf, [this, step] {
        // The record says which VFs are unbound by us now.
        using Unbound = std::map<Handle, std::string>;
        env_.service.unbound_vfs([this, step](const Expected<Unbound> &unbound) {
            if (unbound) {
                unbound_ = *unbound;
            }
            finish(step, unbound ? Expected<void>() : tl::make_unexpected(unbound.error()));
        });
    });
}

void Pfs::finish(const PfStep &step, const Expected<void> &result) {
    if (step.kind == PfStep::Kind::bind_vf) {
        orphans_asked_.erase(step.vf);
    }
    const auto found = pfs_.find(step.pf);
    if (found != pfs_.end() && found->second->acted == step) {
        Pf &pf = *found->second;
        pf.acting = false;
        pf.error = result ? std::nullopt : std::optional(result.error());
        if (!pf.is_wanted) {
            pfs_.erase(found);
            env_.changed(step.pf);
        }
    } else if (!result) {
        module.warn(limit, step.pf.label() + ": " + result.error().detail);
    }
    env_.wake();
}

/* VFs that were unbound for a PF that is not to be prepared any more. */
void Pfs::bind_orphans(const host::Inventory &inventory) {
    for (const auto &[vf, driver] : unbound_) {
        for (const host::Pf &pf : inventory.pfs) {
            const bool is_its =
                std::any_of(pf.functions.begin(), pf.functions.end(),
                            [&vf = vf](const auto &each) { return each.device == vf; });
            if (!is_its || pfs_.contains(pf.handle) || !orphans_asked_.insert(vf).second) {
                continue;
            }
            PfStep step;
            step.kind = PfStep::Kind::bind_vf;
            step.pf = pf.handle;
            step.vf = vf;
            step.driver = driver;
            module.info(pf.handle.label() + ": " + describe(step));
            env_.service.carry_out(
                step, [this, step](const Expected<void> &result) { take(step, result); });
        }
    }
}

void Pfs::retry_later(Pf &pf) {
    if (pf.retry_armed) {
        return;
    }
    pf.retry_armed = true;
    pf.retry.expires_after(pf.backoff.next(env_.backoff.last));
    pf.retry.async_wait(
        [this, handle = pf.spec.handle](const boost::system::error_code &cancelled) {
            const auto found = pfs_.find(handle);
            if (!cancelled && found != pfs_.end()) {
                found->second->retry_armed = false;
                found->second->retry_due = true;
                env_.wake();
            }
        });
}

void Pfs::set_problem(Pf &pf, std::optional<Error> problem) {
    if (pf.problem == problem) {
        return;
    }
    const bool is_same_reason = pf.problem && problem && pf.problem->reason == problem->reason;
    if (!is_same_reason) {
        pf.since = std::chrono::system_clock::now();
    }
    if (!problem) {
        module.info(pf.spec.handle.label() + ": prepared");
    } else if (!is_same_reason && problem->reason != Reason::pf_preparing) {
        module.warn(limit, std::string(to_string(problem->reason)) + ": " + problem->detail);
    }
    pf.problem = std::move(problem);
    env_.changed(pf.spec.handle);
}

std::optional<Error> Pfs::problem(const Handle &pf) const {
    const auto found = pfs_.find(pf);
    return found == pfs_.end() ? std::nullopt : found->second->problem;
}

std::vector<report::PfView> Pfs::views() const {
    std::vector<report::PfView> views;
    for (const Handle &handle : order_) {
        const Pf &pf = *pfs_.at(handle);
        report::PfView view;
        view.handle = handle;
        view.num_vfs = pf.spec.num_vfs;
        view.since = pf.since;
        if (pf.problem) {
            view.reason = pf.problem->reason;
            view.detail = pf.problem->detail;
        }
        views.push_back(std::move(view));
    }
    return views;
}

}  // namespace vdpa::agent::reconcile
