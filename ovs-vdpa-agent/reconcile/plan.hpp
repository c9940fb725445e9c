// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "ovs-vdpa-agent/config/port_config.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "ovs-vdpa-agent/host/representor_service.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"

namespace vdpa::agent::reconcile {

/* What of a representor and the function behind it the inventory tells, as far as a port changes
 * it. */
struct Observed {
    int ifindex = 0;
    std::string netdev;
    bool up = false;
    bool attached = false;  // it has a master
    std::string mac;        // of the function; empty: not known
    bool function_netdev_up = false;

    bool operator==(const Observed &) const = default;
};

/* What the device that a row asks for comes to on this host, as values: nothing here points into an
 * inventory. */
struct Plan {
    host::FunctionId function;
    std::optional<host::Handle> function_device;

    host::RepresentorSpec representor;
    Observed observed;
    bool is_set_up = false;  // by what is observed nothing is left to be done

    /* What the engine is told; none: the device is `made`, or there is a problem. */
    std::optional<schema::DeviceSpec> device;
    /* A kernel vDPA device to be made, and the path of it where it is there already. */
    std::optional<host::VdpaSpec> made;
    std::optional<std::string> made_path;
    std::string vdpa_name;  // of a kernel vDPA device; empty: none
    /* Why the device cannot serve at present, although it is there: driver-mismatch, device-busy,
     * device-missing, kernel-lacks, no-device. */
    std::optional<Error> problem;

    bool operator==(const Plan &) const = default;
};

/* Finds what the row asks for. `is_row`: whether an Interface has that name. Errors: those of
 * host::resolve(). */
Expected<Plan> make_plan(const host::Inventory &inventory, const config::PortConfig &config,
                         const std::function<bool(const std::string &)> &is_row);

/* PFs that the function has to do with: in VF-LAG its representor hangs off another than its own.
 */
std::set<host::Handle> pfs_of(const Plan &plan);

/* Things that one port at a time may have: its socket, the function, the device. Each begins with a
 * word that says what it is. `plan`: null while what the row asks for is not found. */
std::set<std::string> wanted_things(const config::PortConfig &config, const Plan *plan);

std::string socket_thing(const std::string &path);
std::string function_thing(const std::string &function);  // FunctionId::text()
/* Of what an engine has open; empty: nothing that another port could want. */
std::string device_thing(const schema::DeviceSpec &device);
bool is_socket(const std::string &thing);
/* "VF or SF pci/0000:43:00.0,pf0vf2" and the like. */
std::string describe(const std::string &thing);

/* Whether what an engine has open is there. */
bool is_there(const host::Inventory &inventory, const schema::DeviceSpec &device);
/* The function that an engine's device is; null: none. */
const host::Function *function_of(const host::Inventory &inventory,
                                  const schema::DeviceSpec &device);

/* An inventory's functions by their devices, for who asks of every port. Points into it. */
using FunctionsByDevice = std::map<host::Handle, const host::Function *>;
FunctionsByDevice functions_by_device(const host::Inventory &inventory);
/* The same as of the inventory that it was made of. */
const host::Function *function_of(const FunctionsByDevice &functions,
                                  const schema::DeviceSpec &device);

/* Whether a row that asks for `request` may have come to be served by `device`. */
bool may_ask_for(const std::optional<host::DeviceRequest> &request,
                 const schema::DeviceSpec &device);

}  // namespace vdpa::agent::reconcile
