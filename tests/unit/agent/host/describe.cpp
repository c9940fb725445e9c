// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/host/describe.hpp"

namespace vdpa::agent::host {

namespace {

std::string describe(const Pf &pf) {
    static const char *const modes[] = {"unsupported", "legacy", "switchdev", "unread"};
    std::string text = "PF " + pf.handle.label() + " number " + std::to_string(pf.number) +
                       " eswitch " + modes[static_cast<int>(pf.eswitch)];
    text += pf.eswitch_error.empty() ? "" : " (" + pf.eswitch_error + ")";
    text += pf.driver.empty() ? "" : " driver " + pf.driver;
    text += " vfs " + std::to_string(pf.num_vfs) + "/" +
            (pf.total_vfs ? std::to_string(*pf.total_vfs) : "none");
    text += pf.switch_id.empty() ? "" : " switch " + pf.switch_id;
    for (const Pf::Uplink &uplink : pf.uplinks) {
        text += " uplink " + std::to_string(uplink.ifindex) + ":" + uplink.netdev +
                (uplink.up ? " up" : "");
    }
    return text;
}

std::string describe(const VdpaDevice &device) {
    return "vdpa " + device.name + " of " + device.management + " at " +
           device.path.value_or("nowhere") + " mac " + device.mac + " vqs " +
           std::to_string(device.max_virtqueues) +
           (device.max_pairs ? " pairs " + std::to_string(*device.max_pairs) : "") +
           (device.mtu ? " mtu " + std::to_string(*device.mtu) : "");
}

}  // namespace

std::string describe(const Function &function) {
    std::string text = "  " + function.id.text();
    text += function.device ? " device " + function.device->label() : "";
    text += function.driver.empty() ? "" : " driver " + function.driver;
    text += function.active ? "" : " inactive";
    text += function.mac.empty() ? "" : " mac " + function.mac;
    for (const std::string &netdev : function.netdevs) {
        text += " netdev " + netdev;
    }
    text += function.netdev_up ? " up" : "";
    text += function.netdev_claimed ? " claimed" : "";
    text += function.netdev_in_use == (function.netdev_up || function.netdev_claimed) ? "" : " ?";
    if (const auto &representor = function.representor) {
        text += " representor " + std::to_string(representor->ifindex) + ":" + representor->netdev +
                (representor->up ? " up" : "");
        text += representor->master ? " master " + std::to_string(*representor->master) : "";
        text += representor->devlink_port ? " port " + representor->devlink.label() + "/" +
                                                std::to_string(*representor->devlink_port)
                                          : " of " + representor->devlink.label();
        text += representor->has_function_mac ? " sets-mac" : "";
    }
    return text;
}

std::vector<std::string> describe(const Inventory &inventory) {
    std::vector<std::string> lines;
    for (const Pf &pf : inventory.pfs) {
        lines.push_back(describe(pf));
        for (const Function &function : pf.functions) {
            lines.push_back(describe(function));
        }
    }
    for (const Handle &other : inventory.others) {
        lines.push_back("other " + other.label());
    }
    for (const VdpaManagement &management : inventory.vdpa_managements) {
        lines.push_back("vdpa management " + management.name + (management.has_net ? " net" : "") +
                        " vqs " + std::to_string(management.max_virtqueues));
    }
    for (const VdpaDevice &device : inventory.vdpa_devices) {
        lines.push_back(describe(device));
    }
    return lines;
}

std::string describe(const Target &target) {
    std::string text = target.function ? target.function->id.text() : "nothing";
    if (target.function && target.function->representor) {
        text += " by " + target.function->representor->netdev;
    }
    if (target.function && (!target.pf || target.pf->handle != target.function->id.pf)) {
        text += " of another PF";
    }
    text += target.management ? " managed by " + target.management->name : "";
    text += target.vdpa ? " vdpa " + target.vdpa->name : "";
    return text;
}

}  // namespace vdpa::agent::host
