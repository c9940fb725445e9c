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
        case PfStep::Kind::forget_vf:
            return "noting that VF " + step.vf.device + ", which was unbound, has gone";
        case PfStep::Kind::set_uplink_up:
            return "setting the uplink up";
        case PfStep::Kind::end:
            break;
    }
    return "noting that its VFs are anybody's to use";
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
    const std::vector<Handle> before = std::exchange(order_, {});
    for (const host::PfSpec &spec : specs) {
        order_.push_back(spec.handle);
        auto &slot = pfs_[spec.handle];
        if (!slot) {
            slot = std::make_unique<Pf>(env_.io, spec, env_.backoff);
        } else if (slot->spec != spec) {
            slot->spec = spec;
            slot->retry_due = true;
        }
        const bool is_new = std::find(before.begin(), before.end(), spec.handle) == before.end();
        if (is_new && !slot->problem) {
            slot->problem = Error{Reason::pf_preparing,
                                  "PF " + spec.handle.label() + ": has not been looked at yet"};
        }
        slot->is_wanted = true;
    }
    // What is being done for one, or left to be done, is looked at by advance().
    for (const auto &[handle, pf] : pfs_) {
        if (!pf->is_wanted && !pf->acting && pf->problem) {
            pf->problem.reset();
            env_.changed(handle);
        }
    }
    env_.wake();
}

void Pfs::set_record(const host::PfRecord &record) {
    record_ = record;
    env_.wake();
}

void Pfs::advance(const host::Inventory &inventory, const UsedBy &used_by) {
    take_in_left_behind(inventory);
    for (auto each = pfs_.begin(); each != pfs_.end();) {
        const Handle handle = each->first;
        Pf &pf = *each++->second;
        if (pf.acting) {
            continue;
        }
        if (pf.is_wanted) {
            advance(pf, host::next_step(inventory, pf.spec, used_by(handle), record_));
        } else if (const auto step = host::step_back(inventory, handle, record_)) {
            advance(pf, step);
        } else {
            pfs_.erase(handle);
            env_.changed(handle);
        }
    }
}

/* PFs whose preparation an agent before this one has left in the middle, and that are not to be
 * prepared any more. */
void Pfs::take_in_left_behind(const host::Inventory &inventory) {
    if (record_ == host::PfRecord{}) {
        return;
    }
    for (const host::Pf &pf : inventory.pfs) {
        if (!pfs_.contains(pf.handle) && host::step_back(inventory, pf.handle, record_)) {
            auto &slot = pfs_[pf.handle];
            slot = std::make_unique<Pf>(env_.io, host::PfSpec{pf.handle, {}}, env_.backoff);
            slot->is_wanted = false;
        }
    }
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
    // The timer may be needed for the record, which would have a retry that waits forgotten.
    pf.retry.cancel();
    pf.retry_armed = pf.retry_due = false;
    pf.acting = true;
    pf.acted = step;
    env_.service.carry_out(step,
                           [this, step](const Expected<void> &result) { take(step, result); });
}

void Pfs::take(const PfStep &step, const Expected<void> &result) {
    if (!result) {
        set_problem(*pfs_.at(step.pf), result.error());
        env_.wake();
    }
    // Of much of it nothing notifies, and what failed may have been done in part.
    env_.refresh(step.pf, [this, step, result] { read_record(step, result); });
}

/* The record says which VFs are unbound by us now. Until it is read the step is not done with, or
 * they might be forgotten. */
void Pfs::read_record(const PfStep &step, const Expected<void> &result) {
    env_.service.read_record([this, step, result](const Expected<host::PfRecord> &record) {
        if (record) {
            record_ = *record;
            finish(step, result);
            return;
        }
        Pf &pf = *pfs_.at(step.pf);  // is not forgotten while it is acted on
        set_problem(pf, record.error());
        env_.wake();
        pf.retry.expires_after(pf.backoff.next(env_.backoff.last));
        pf.retry.async_wait([this, step, result](const boost::system::error_code &cancelled) {
            if (!cancelled) {
                read_record(step, result);
            }
        });
    });
}

void Pfs::finish(const PfStep &step, const Expected<void> &result) {
    Pf &pf = *pfs_.at(step.pf);
    pf.acting = false;
    pf.error = result ? std::nullopt : std::optional(result.error());
    env_.wake();
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
    std::vector<Handle> handles = order_;
    for (const auto &[handle, pf] : pfs_) {
        if (!pf->is_wanted && pf->problem) {
            handles.push_back(handle);
        }
    }
    std::vector<report::PfView> views;
    for (const Handle &handle : handles) {
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
