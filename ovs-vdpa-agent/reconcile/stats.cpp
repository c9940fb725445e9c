// SPDX-License-Identifier: Apache-2.0
// Counters of a port: those of its engine, and for a kernel vDPA device those of the kernel.
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using report::PortCounters;
using schema::Reason;

PortCounters counters_of(const schema::PortStats &stats) {
    PortCounters counters;
    for (const schema::QueueStats &queue : stats.queues) {
        counters[queue.index].insert(queue.counters.begin(), queue.counters.end());
    }
    return counters;
}

/* Under their own names; the engine's come first where there are two of a name. */
void merge(PortCounters &counters, const PortCounters &kernel) {
    for (const auto &[queue, more] : kernel) {
        counters[queue].insert(more.begin(), more.end());
    }
}

/* What has come in since `zero`. */
void subtract(PortCounters &counters, const PortCounters &zero) {
    for (const auto &[queue, offsets] : zero) {
        for (const auto &[name, offset] : offsets) {
            uint64_t &value = counters[queue][name];
            value -= std::min(value, offset);
        }
    }
}

}  // namespace

void Reconciler::stats(const std::string &name, bool reset, StatsReply done) {
    if (reset) {
        done = [this, name, done = std::move(done)](const Expected<report::StatsView> &view) {
            if (view) {
                reset_stats(name, *view, done);
            } else {
                done(view);
            }
        };
    }
    const auto found = ports_.find(name);
    if (found == ports_.end()) {
        done(fail(Reason::engine_error,
                  name + ": there is no such vDPA port; is options:vdpa-socket set?"));
        return;
    }
    const Port &asked = *found->second;
    if (!asked.engine || !asked.status) {
        done(fail(Reason::engine_error, name + ": no engine serves the port; see vdpa/show"));
        return;
    }
    engines_[*asked.engine].service->stats(
        name, [this, name, done = std::move(done)](const Expected<schema::PortStats> &stats) {
            if (!stats) {
                done(tl::make_unexpected(stats.error()));
            } else {
                add_kernel_stats(name, counters_of(*stats), done);
            }
        });
}

void Reconciler::add_kernel_stats(const std::string &name, PortCounters counters,
                                  const StatsReply &done) {
    const std::string device = vdpa_device_of(name);
    if (device.empty()) {
        done(compared(name, std::move(counters)));
        return;
    }
    const uint32_t queues = counters.empty() ? 0 : counters.rbegin()->first + 1;
    env_.vdpas.vdpa_stats(
        device, queues,
        [this, name, done,
         counters](const Expected<std::map<uint32_t, host::VdpaCounters>> &kernel) mutable {
            // A port that has gone meanwhile would leave a sample that nobody drops.
            if (kernel && ports_.contains(name)) {
                Sample &sample = samples_[name];
                sample.kernel = *kernel;
                subtract(sample.kernel, sample.zero);
                merge(counters, sample.kernel);
            }
            report::StatsView view = compared(name, std::move(counters));
            view.note = kernel ? "" : kernel.error().detail;
            done(view);
        });
}

/* The kernel's counters cannot be reset, so they are counted from where they stand. */
void Reconciler::reset_stats(const std::string &name, const report::StatsView &view,
                             const StatsReply &done) {
    const auto found = ports_.find(name);
    if (found == ports_.end() || !found->second->engine) {
        done(view);
        return;
    }
    engines_[*found->second->engine].service->reset_stats(
        name, [this, name, view, done](const Expected<schema::Empty> &result) {
            if (!result) {
                done(tl::make_unexpected(result.error()));
                return;
            }
            if (!ports_.contains(name)) {
                done(view);
                return;
            }
            Sample &sample = samples_[name];
            for (const auto &[queue, counters] : sample.kernel) {
                for (const auto &[counter, value] : counters) {
                    sample.zero[queue][counter] += value;
                }
            }
            sample.kernel.clear();
            sample.counters.clear();
            done(view);
        });
}

/* Name of the kernel vDPA device that serves the port; empty: none does. */
std::string Reconciler::vdpa_device_of(const std::string &name) const {
    const auto found = ports_.find(name);
    if (found == ports_.end() || !found->second->is_served() || !inventory_) {
        return "";
    }
    const schema::DeviceSpec &served = found->second->status->served->device;
    for (const host::VdpaDevice &device : inventory_->vdpa_devices) {
        if (served.kind == schema::DeviceKind::kernel && device.path == served.name) {
            return device.name;
        }
    }
    return "";
}

/* With what was asked for before, which this replaces. */
report::StatsView Reconciler::compared(const std::string &name, PortCounters counters) {
    report::StatsView view;
    if (!ports_.contains(name)) {
        view.now = std::move(counters);
        return view;
    }
    Sample &sample = samples_[name];
    const auto now = std::chrono::steady_clock::now();
    if (sample.time) {
        view.interval = now - *sample.time;
    }
    view.before = std::exchange(sample.counters, counters);
    sample.time = now;
    view.now = std::move(counters);
    return view;
}

}  // namespace vdpa::agent::reconcile
