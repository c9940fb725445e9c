// SPDX-License-Identifier: Apache-2.0
// The side of LinkMonitor that keeps the MAC addresses of VFs, which have to be asked for.
#include "ovs-vdpa-agent/host/link_monitor.hpp"

#include <netlink/errno.h>

#include <map>
#include <utility>

namespace vdpa::agent::host {

void LinkMonitor::watch_vf_macs(const std::set<int> &ifindexes) {
    for (const int ifindex : ifindexes) {
        if (!vf_macs_watched_.contains(ifindex)) {
            vf_macs_wanted_.insert(ifindex);
        }
    }
    std::erase_if(links_.vf_macs,
                  [&ifindexes](const auto &entry) { return !ifindexes.contains(entry.first); });
    vf_macs_watched_ = ifindexes;
    for (const auto &[ifindex, why] : std::map(vf_macs_failed_)) {
        if (!ifindexes.contains(ifindex)) {
            forget_vf_mac_failure(ifindex);
        }
    }
    request_wanted_vf_macs();
}

void LinkMonitor::refresh_vf_macs() {
    vf_macs_wanted_ = vf_macs_watched_;
    // The kernel answers in the call that asks, so the answers are there to be read.
    request_wanted_vf_macs();
    if (!is_receiving_) {
        receive();
    }
}

/* Notifications do not carry them, so they are asked for; not while a dump is answered, because the
 * dump may tell that the netdev is gone. */
void LinkMonitor::request_wanted_vf_macs() {
    if (dumping_ != 0) {
        return;
    }
    for (const int ifindex : std::exchange(vf_macs_wanted_, {})) {
        if (vf_macs_watched_.contains(ifindex)) {
            if (const int error = request_vf_macs(socket_.get(), ifindex); error < 0) {
                refuse_vf_macs(ifindex, nl_geterror(error));
            }
        }
    }
}

void LinkMonitor::refuse_vf_macs(int ifindex, const std::string &why) {
    if (links_.find(ifindex) && vf_macs_watched_.contains(ifindex)) {
        vf_macs_failed_[ifindex] = why;
        tell_vf_mac_failures();
    }
}

void LinkMonitor::forget_vf_mac_failure(int ifindex) {
    if (vf_macs_failed_.erase(ifindex) > 0) {
        tell_vf_mac_failures();
    }
}

void LinkMonitor::tell_vf_mac_failures() {
    if (vf_macs_failed_.empty()) {
        vf_macs_.succeeded();
        return;
    }
    std::string all;
    for (const auto &[ifindex, why] : vf_macs_failed_) {
        const Link *pf = links_.find(ifindex);
        all += (all.empty() ? "" : ", ") + (pf ? pf->name : std::to_string(ifindex)) + ": " + why;
    }
    vf_macs_.failed(all);
}

void LinkMonitor::take_vf_macs(int ifindex, std::map<uint32_t, std::string> macs) {
    if (!vf_macs_watched_.contains(ifindex)) {
        return;
    }
    forget_vf_mac_failure(ifindex);
    auto &known = links_.vf_macs[ifindex];
    if (known != macs) {
        known = std::move(macs);
        device_listener_();
    }
}

}  // namespace vdpa::agent::host
