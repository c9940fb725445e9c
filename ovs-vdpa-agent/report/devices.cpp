// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/devices.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "ovs-vdpa-agent/host/pf_service.hpp"
#include "ovs-vdpa-agent/host/usable.hpp"

namespace vdpa::agent::report {

namespace {

using nlohmann::json;
using schema::Reason;
using Problem = std::optional<Error>;

/* Ports by what they use: a function, a vDPA device. One whose row cannot be served uses no vDPA
 * device, and a function only if none else does: it may have been given the representor already.
 */
std::map<std::string, const PortView *> users_of(const Board::Ports &ports) {
    std::map<std::string, const PortView *> users;
    for (const auto &[name, port] : ports) {
        if (port->state != schema::State::invalid) {
            users.emplace(port->function, port.get());
            users.emplace(port->device, port.get());
        }
    }
    for (const auto &[name, port] : ports) {
        users.emplace(port->function, port.get());
    }
    users.erase("");
    return users;
}

const PortView *find(const std::map<std::string, const PortView *> &users,
                     const std::string &what) {
    const auto found = users.find(what);
    return found == users.end() ? nullptr : found->second;
}

/* Why the PF's functions cannot be used, or not all of them. */
Problem pf_problem(const host::Inventory &inventory, const HostView &host, const host::Pf &pf) {
    for (const PfView &view : host.pfs) {
        if (view.handle == pf.handle) {
            return view.reason ? Problem(Error{*view.reason, view.detail}) : std::nullopt;
        }
    }
    if (pf.eswitch == host::Pf::Eswitch::switchdev) {
        return std::nullopt;
    }
    if (auto unread = host::eswitch_problem(pf)) {
        return unread;
    }
    // What would be in the way of having it prepared.
    const auto next = host::next_step(inventory, {pf.handle, std::nullopt}, {}, {});
    if (!next) {
        return next.error();
    }
    return Error{Reason::pf_legacy, "PF " + pf.handle.label() +
                                        ": its eswitch is in legacy mode, so there are no "
                                        "representors: name the PF in Open_vSwitch "
                                        "other_config:vdpa-pfs"};
}

/* Why the function cannot be used by a port. */
Problem function_problem(const host::Pf &pf, const host::Function &function) {
    const std::string name = function.id.text();
    if (function.id.controller) {
        return Error{Reason::external_controller, name + ": belongs to external controller " +
                                                      std::to_string(*function.id.controller) +
                                                      ", so it is another host's: use it there"};
    }
    if (!function.active) {
        return Error{Reason::sf_inactive, name + ": is not activated: devlink port function set " +
                                              pf.handle.label() + "/PORT state active"};
    }
    if (!function.representor) {
        if (auto unread = host::eswitch_problem(pf)) {
            return unread;
        }
        return Error{pf.eswitch == host::Pf::Eswitch::switchdev ? Reason::representor_missing
                                                                : Reason::pf_legacy,
                     name + ": has no representor"};
    }
    if (auto busy = host::busy_problem(function)) {
        return busy;
    }
    return host::dpdk_problem(pf, function);
}

const char *to_text(host::Pf::Eswitch mode) {
    switch (mode) {
        case host::Pf::Eswitch::legacy:
            return "legacy";
        case host::Pf::Eswitch::switchdev:
            return "switchdev";
        case host::Pf::Eswitch::unread:
            return "unread";
        case host::Pf::Eswitch::unsupported:
            break;
    }
    return "none";
}

/* Everything there is to say, in the form in which programs get it. */
class Devices {
  public:
    Devices(const host::Inventory &inventory, const HostView &host, const Board::Ports &ports)
        : inventory_(inventory), host_(host), users_(users_of(ports)) {}

    json all() const {
        json out = {{"pfs", json::array()},
                    {"vdpa_devices", json::array()},
                    {"vdpa_managements", json::array()},
                    {"others", json::array()},
                    {"kernel_has_vdpa", inventory_.has_vdpa},
                    {"problems", inventory_.problems}};
        for (const host::Pf &pf : inventory_.pfs) {
            out["pfs"].push_back(describe(pf));
        }
        for (const PfView &view : host_.pfs) {
            if (!inventory_.pf(view.handle)) {
                out["pfs"].push_back(missing(view));
            }
        }
        for (const host::VdpaDevice &device : inventory_.vdpa_devices) {
            out["vdpa_devices"].push_back(describe(device));
        }
        for (const host::VdpaManagement &management : inventory_.vdpa_managements) {
            out["vdpa_managements"].push_back({{"name", management.name},
                                               {"net", management.has_net},
                                               {"max_virtqueues", management.max_virtqueues}});
        }
        for (const host::Handle &other : inventory_.others) {
            out["others"].push_back(other.label());
        }
        return out;
    }

  private:
    static void add_problem(json &out, const Problem &problem) {
        out["reason"] = problem ? json(to_string(problem->reason)) : json(nullptr);
        out["detail"] = problem ? problem->detail : "";
    }

    void add_user(json &out, const PortView *user) const {
        out["user"] = user ? json(user->name) : json(nullptr);
        out["state"] = user ? json(to_string(user->state)) : json(nullptr);
    }

    static json missing(const PfView &view) {
        json out = {{"pf", view.handle.label()}, {"functions", json::array()}};
        add_problem(out, view.reason ? Problem(Error{*view.reason, view.detail}) : std::nullopt);
        return out;
    }

    json describe(const host::Pf &pf) const {
        json out = {{"pf", pf.handle.label()},
                    {"number", pf.number},
                    {"driver", pf.driver},
                    {"eswitch", to_text(pf.eswitch)},
                    {"eswitch_error", pf.eswitch_error},
                    {"switch_id", pf.switch_id},
                    {"num_vfs", pf.num_vfs},
                    {"total_vfs", pf.total_vfs ? json(*pf.total_vfs) : json(nullptr)},
                    {"uplinks", json::array()},
                    {"functions", json::array()}};
        for (const host::Pf::Uplink &uplink : pf.uplinks) {
            out["uplinks"].push_back({{"netdev", uplink.netdev}, {"up", uplink.up}});
        }
        for (const host::Function &function : pf.functions) {
            out["functions"].push_back(describe(pf, function));
        }
        add_problem(out, pf_problem(inventory_, host_, pf));
        return out;
    }

    json describe(const host::Pf &pf, const host::Function &function) const {
        json out = {{"function", function.id.text()},
                    {"flavour", function.id.flavour == host::Flavour::vf ? "vf" : "sf"},
                    {"number", function.id.number},
                    {"device", function.device ? json(function.device->label()) : json(nullptr)},
                    {"driver", function.driver},
                    {"netdevs", function.netdevs},
                    {"mac", function.mac},
                    {"representor", nullptr}};
        if (function.representor) {
            out["representor"] = {{"netdev", function.representor->netdev},
                                  {"ifindex", function.representor->ifindex},
                                  {"up", function.representor->up},
                                  {"attached", function.representor->master.has_value()}};
        }
        const PortView *user = find(users_, function.id.text());
        add_user(out, user);
        // What is wrong for a port says the port.
        add_problem(out, user ? std::nullopt : function_problem(pf, function));
        return out;
    }

    json describe(const host::VdpaDevice &device) const {
        json out = {{"name", device.name},
                    {"management", device.management},
                    {"path", device.path ? json(*device.path) : json(nullptr)},
                    {"mac", device.mac},
                    {"mtu", device.mtu ? json(*device.mtu) : json(nullptr)},
                    {"max_pairs", device.max_pairs ? json(*device.max_pairs) : json(nullptr)},
                    {"max_virtqueues", device.max_virtqueues}};
        add_user(out, device.path ? find(users_, *device.path) : nullptr);
        add_problem(out, host::vdpa_problem(inventory_, device));
        return out;
    }

    const host::Inventory &inventory_;
    const HostView &host_;
    std::map<std::string, const PortView *> users_;
};

std::string text_of(const json &value) {
    return value.is_string() ? value.get_ref<const std::string &>() : value.dump();
}

/* ", used by vm1 (running)", ", free", or ", not usable (driver-mismatch)" and the line that says
 * why. */
void write_end(std::ostream &out, const json &device, const char *indent) {
    const bool has_user = device.contains("user") && !device["user"].is_null();
    const bool has_problem = !device["reason"].is_null();
    if (has_user) {
        out << ", used by " << text_of(device["user"]) << " (" << text_of(device["state"]) << ")";
    } else if (device.contains("user") && !has_problem) {
        out << ", free";
    }
    if (has_problem) {
        out << ", " << text_of(device["reason"]) << "\n" << indent << text_of(device["detail"]);
    }
    out << "\n";
}

void write_pf(std::ostream &out, const json &pf) {
    out << "PF " << text_of(pf["pf"]);
    if (pf.contains("eswitch")) {
        const std::string driver = text_of(pf["driver"]);
        out << ": " << (driver.empty() ? "no driver" : driver) << ", eswitch "
            << text_of(pf["eswitch"]);
        if (const std::string error = text_of(pf["eswitch_error"]); !error.empty()) {
            out << " (cannot be read now: " << error << ")";
        }
        if (pf["total_vfs"].is_null()) {
            out << ", no SR-IOV";
        } else {
            const bool is_limited = pf["total_vfs"] != host::unlimited_vfs;
            out << ", " << text_of(pf["num_vfs"])
                << (is_limited ? " of " + text_of(pf["total_vfs"]) : "") << " VFs";
        }
        for (const json &uplink : pf["uplinks"]) {
            out << ", uplink " << text_of(uplink["netdev"])
                << (uplink["up"] == true ? " (up)" : " (down)");
        }
    }
    write_end(out, pf, "    ");
    for (const json &function : pf["functions"]) {
        out << "    " << text_of(function["flavour"]) << text_of(function["number"]) << " ("
            << text_of(function["function"]) << "):";
        if (!function["device"].is_null()) {
            const std::string driver = text_of(function["driver"]);
            out << " " << text_of(function["device"]) << " "
                << (driver.empty() ? "without driver" : driver);
        } else {
            out << " no device here";
        }
        if (const std::string mac = text_of(function["mac"]); !mac.empty()) {
            out << ", MAC address " << mac;
        }
        if (const json &representor = function["representor"]; !representor.is_null()) {
            out << ", representor " << text_of(representor["netdev"])
                << (representor["up"] == true ? " (up)" : " (down)");
        }
        write_end(out, function, "        ");
    }
}

void write_vdpa(std::ostream &out, const json &device) {
    out << "vDPA device " << text_of(device["name"]) << ": of " << text_of(device["management"])
        << (device["path"].is_null() ? "" : ", " + text_of(device["path"]));
    if (const std::string mac = text_of(device["mac"]); !mac.empty()) {
        out << ", MAC address " << mac;
    }
    if (!device["mtu"].is_null()) {
        out << ", MTU " << text_of(device["mtu"]);
    }
    if (!device["max_pairs"].is_null()) {
        out << ", " << text_of(device["max_pairs"]) << " queue pairs";
    }
    write_end(out, device, "    ");
}

}  // namespace

std::string devices_text(const host::Inventory &inventory, const HostView &host,
                         const Board::Ports &ports) {
    const json all = Devices(inventory, host, ports).all();
    std::ostringstream out;
    for (const json &pf : all["pfs"]) {
        write_pf(out, pf);
    }
    for (const json &device : all["vdpa_devices"]) {
        write_vdpa(out, device);
    }
    for (const json &management : all["vdpa_managements"]) {
        out << "vDPA management device " << text_of(management["name"]) << ": "
            << (management["net"] == true
                    ? "makes network devices of up to " + text_of(management["max_virtqueues"]) +
                          " virtqueues"
                    : "makes no network devices")
            << "\n";
    }
    for (const json &other : all["others"]) {
        out << "device " << text_of(other) << ": neither a PF nor a VF or SF of one\n";
    }
    for (const json &problem : all["problems"]) {
        out << "problem: " << text_of(problem) << "\n";
    }
    if (all["kernel_has_vdpa"] == false) {
        out << "the kernel has no vDPA: vdpa: devices need the modules vdpa and vhost_vdpa\n";
    }
    return out.str();
}

std::string devices_json(const host::Inventory &inventory, const HostView &host,
                         const Board::Ports &ports) {
    return Devices(inventory, host, ports)
               .all()
               .dump(2, ' ', false, json::error_handler_t::replace) +
           "\n";
}

}  // namespace vdpa::agent::report
