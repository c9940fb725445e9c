// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/inventory.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* What a port's representor and the function behind it are to be. */
struct RepresentorSpec {
    FunctionId function;
    int ifindex = 0;
    Handle devlink;
    std::optional<uint32_t> devlink_port;
    bool has_function_mac = false;
    std::string pf_netdev;  // takes VF MACs by rtnetlink; empty: none
    int pf_ifindex = 0;     // of it
    std::string mac;        // of the function; empty: stays as it is
    /* What it was when the inventory was read; empty: not known. Where it is another one, the
     * device is not asked before it is set. */
    std::string known_mac;
    std::optional<uint32_t> mtu;                // of the function's own netdevs
    std::vector<std::string> function_netdevs;  // to be held down
    /* type=dpdk: the netdev, if there is one, is left alone; only the MAC is set. */
    bool keep_netdev = false;
    /* Names that rows have: a netdev of one of them is never renamed to another. */
    std::vector<std::string> reserved_names;

    bool operator==(const RepresentorSpec &) const = default;
};

struct RepresentorState {
    int ifindex = 0;
    bool renamed = false;  // just now
};

/* Representors as the reconciler uses them: requests are answered later, each once, on the control
 * thread. Requests about one name are carried out in the order in which they are made, and block no
 * other. Idempotent; what is done is in the record of what we own before it is done. */
class RepresentorService {
  public:
    virtual ~RepresentorService() = default;

    /* Makes the representor carry the Interface's name (its own name is kept as an altname), be up,
     * and its function have MAC and MTU. A netdev that is attached is never renamed: where it
     * carries another name and is attached to kernel Open vSwitch, it gets a neutral name, its
     * vport is deleted by number, and the new name follows when it has no master. A representor of
     * another function that the record has for that Interface is given back first. Errors:
     * name-taken, when another netdev has the name that is not to be moved out of the way;
     * duplicate-device, when the netdev has the name of another row and is that row's port;
     * device-busy, when a netdev of the function itself has a master; ovs-detach, while Open
     * vSwitch holds what has to be renamed; representor-missing, when the ifindex is gone or is of
     * another devlink port; mac-failed, when the device does not take the MAC address, or takes it
     * and has another; representor-failed; record-failed. */
    virtual void ensure_representor(const std::string &name, const RepresentorSpec &spec,
                                    std::function<void(Expected<RepresentorState>)> done) = 0;

    /* Gives the representor of that Interface back, if the record has one: old name, down, a random
     * local MAC, nothing else. That it is gone already is no error. Where the row goes on existing,
     * with another device, Open vSwitch would never let go by itself: then the netdev gets a
     * neutral name and its vport is deleted by number. Errors: ovs-detach, while it still has a
     * master; name-taken, when somebody has the neutral name; mac-failed, when the device does not
     * take the random MAC address; representor-failed; record-failed. */
    virtual void release_representor(const std::string &name, bool row_goes_on,
                                     std::function<void(Expected<void>)> done) = 0;

    /* Interfaces whose representors the record lists, which is read anew, with the functions behind
     * them. Error: record-failed. */
    virtual void owned_representors(
        std::function<void(Expected<std::map<std::string, FunctionId>>)> done) = 0;
};

}  // namespace vdpa::agent::host
