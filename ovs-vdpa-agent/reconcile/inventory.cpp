// SPDX-License-Identifier: Apache-2.0
// What has changed on the host, and which ports that concerns.
#include <algorithm>

#include "ovs-vdpa-agent/reconcile/inventory_change.hpp"
#include "ovs-vdpa-agent/reconcile/reconciler.hpp"

namespace vdpa::agent::reconcile {

namespace {

using schema::Reason;

/* For how long a port waits before it is looked for what no notification tells of: an eswitch that
 * was switched without VFs, a management device whose module was loaded. */
constexpr std::chrono::seconds look_again_interval{5};

bool is_for_want_of_pf(const Error &error) {
    return error.reason == Reason::pf_missing || error.reason == Reason::pf_legacy ||
           error.reason == Reason::device_missing;
}

/* What of the host a row's request is about, in the words of changes_of(). */
void add_request(std::set<std::string> &things, const host::DeviceRequest &request) {
    if (const auto *dpdk = std::get_if<host::DpdkDevice>(&request.device)) {
        things.insert(device_key(dpdk->device));
        things.insert(bus_key(dpdk->device));
    } else if (const auto *kernel = std::get_if<host::KernelDevice>(&request.device)) {
        things.insert(vdpa_key(kernel->path.empty() ? kernel->name : kernel->path));
        things.insert(management_key(kernel->name));
        things.insert(kernel_vdpa_key());
    } else if (const auto *managed = std::get_if<host::ManagedDevice>(&request.device)) {
        things.insert(management_key(managed->management));
        things.insert(kernel_vdpa_key());
    }
    if (request.representor) {
        things.insert(pf_key(request.representor->pf));
        things.insert(function_key(*request.representor));
    }
}

void add_plan(std::set<std::string> &things, const Plan &plan) {
    for (const host::Handle &pf : pfs_of(plan)) {
        things.insert(pf_key(pf));
    }
    things.insert(function_key(plan.function));
    if (!plan.vdpa_name.empty()) {
        things.insert(vdpa_key(plan.vdpa_name));
    }
    if (plan.made) {
        things.insert(management_key(plan.made->management));
    }
}

}  // namespace

void Reconciler::inventory_changed(std::shared_ptr<const host::Inventory> inventory) {
    news_ = std::move(inventory);
    wake_host();
}

/* Several changes that were told since the last pass are taken as one. */
void Reconciler::take_inventory() {
    if (!news_) {
        return;
    }
    const bool is_first = !inventory_;
    const auto before = std::exchange(inventory_, std::exchange(news_, nullptr));
    functions_ = functions_by_device(*inventory_);
    env_.board.set_inventory(inventory_);
    pfs_awake_ = true;
    if (is_first) {
        wake_all();
        return;
    }
    for (const std::string &thing : changes_of(*before, *inventory_)) {
        wake_watchers(thing);
    }
}

void Reconciler::wake_watchers(const std::string &thing) {
    for (const std::string &name : watchers_.of(thing)) {
        Port &watcher = *ports_.at(name);
        const auto is = [](const std::optional<Error> &error, Reason reason) {
            return error && error->reason == reason;
        };
        // What the switch did not let go of, it may have let go of now, a name may be free, and a
        // module loaded.
        watcher.retry_due = watcher.retry_due || is(watcher.release_error, Reason::ovs_detach) ||
                            is(watcher.representor.error, Reason::name_taken) ||
                            is(watcher.vdpa.error, Reason::kernel_lacks);
        wake(name);
    }
}

void Reconciler::watch(Port &port) {
    std::set<std::string> things;
    if (port.parsed && port.parsed->config && port.parsed->config->device) {
        add_request(things, *port.parsed->config->device);
        things.insert(netdev_key(port.name));
    }
    if (port.candidate && *port.candidate) {
        add_plan(things, **port.candidate);
    }
    if (port.wanted && port.wanted->device) {
        add_request(things, *port.wanted->device);
    }
    if (port.plan) {
        add_plan(things, *port.plan);
    }
    if (!port.representor.is_absent()) {
        things.insert(netdev_key(port.name));
        if (port.representor.function) {
            things.insert(function_key(*port.representor.function));
        }
    }
    if (!port.vdpa.is_absent()) {
        things.insert(vdpa_key(port.name));
    }
    const auto open = port.engine_device();
    if (open && open->kind == schema::DeviceKind::kernel) {
        things.insert(vdpa_key(open->name));
    }
    watchers_.set(port.name, std::move(things));
}

void Reconciler::look_again_later() {
    if (std::exchange(look_again_armed_, true)) {
        return;
    }
    look_again_.expires_after(look_again_interval);
    look_again_.async_wait([this](const boost::system::error_code &cancelled) {
        look_again_armed_ = false;
        if (!cancelled) {
            look_again();
        }
    });
}

void Reconciler::look_again() {
    std::set<host::Handle> pfs;
    bool is_vdpa_awaited = false;
    for (const auto &[name, known] : ports_) {
        if (!known->plan_error || !known->wanted || !known->wanted->device) {
            continue;
        }
        const host::DeviceRequest &request = *known->wanted->device;
        if (request.representor && is_for_want_of_pf(*known->plan_error)) {
            pfs.insert(request.representor->pf);
        }
        is_vdpa_awaited = is_vdpa_awaited ||
                          std::holds_alternative<host::KernelDevice>(request.device) ||
                          std::holds_alternative<host::ManagedDevice>(request.device);
    }
    for (const host::Handle &pf : pfs) {
        env_.refresh(pf, [] {});
    }
    if (is_vdpa_awaited) {
        env_.refresh_vdpa([] {});
    }
    if (is_vdpa_awaited || !pfs.empty()) {
        look_again_later();
    }
}

/* Of which PFs the port has something that is there, and does not merely ask for it. */
std::set<host::Handle> Reconciler::pfs_used_by(const Port &port) const {
    std::set<host::Handle> used;
    const RepresentorAsset &asset = port.representor;
    if (!asset.is_absent() && asset.function) {
        // Of a netdev that went away with its NIC nothing is left to be lost. Of what the record
        // says and nobody has asked for since, it is not known what the netdev is called.
        const bool was_asked_for = asset.spec != host::RepresentorSpec{};
        const auto *function = inventory_->function(*asset.function);
        const auto *representor =
            function && function->representor ? &*function->representor : nullptr;
        if (asset.spec.keep_netdev
                ? function != nullptr
                : representor && (!was_asked_for || representor->ifindex == asset.spec.ifindex ||
                                  representor->netdev == port.name)) {
            used.insert(asset.pfs.begin(), asset.pfs.end());
        }
    }
    const auto *function =
        port.is_served() ? function_of(functions_, port.status->served->device) : nullptr;
    if (function) {
        used.insert(function->id.pf);
    }
    return used;
}

std::map<host::Handle, std::vector<std::string>> Reconciler::users_of_pfs() const {
    std::map<host::Handle, std::vector<std::string>> users;
    for (const auto &[name, known] : ports_) {
        for (const host::Handle &pf : pfs_used_by(*known)) {
            users[pf].push_back(name);
        }
    }
    return users;
}

}  // namespace vdpa::agent::reconcile
