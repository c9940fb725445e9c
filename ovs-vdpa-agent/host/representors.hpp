// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/representor_service.hpp"
#include "ovs-vdpa-agent/host/rtnl.hpp"
#include "ovs-vdpa-agent/host/switch.hpp"

namespace vdpa::agent::host {

/* What a representor is called while it belongs to no row. */
std::string neutral_name(int ifindex);

/* The netdevs that stand for VFs and SFs on the switch side: made to carry the names of Interfaces,
 * and given back.
 *
 * A netdev that is attached to kernel Open vSwitch cannot just be renamed. Its port is kept where
 * the name belongs that it had when it was attached and compared by the name that it has now
 * (net/openvswitch/vport.c), so that after a renaming ovs-vswitchd finds it by neither, can neither
 * use nor delete it, and cannot add another netdev of that name. Hence the detour of detach():
 *
 *     attached as vm1 --rename--> neutral name --delete the port by its number--> no master
 *                     --rename--> vm2, or its old name
 *
 * The neutral name comes first, or ovs-vswitchd would add the port again at once. A netdev is known
 * by its devlink port and ifindex and never by its name, which udev may change at any moment.
 *
 * Every call is idempotent, may be repeated after a crash at any point of the one before, and
 * blocks for as long as the kernel takes. Not thread-safe. */
class Representors {
  public:
    Representors(Rtnl rtnl, std::unique_ptr<Switch> switch_, OwnedFile record);
    /* With the kernel's switch. Error: representor-failed. */
    static Expected<Representors> open(OwnedFile record);

    /* See RepresentorService::ensure_representor(). A representor that the record has for that
     * Interface is given back first if it is another one. */
    Expected<RepresentorState> ensure(const std::string &name, const RepresentorSpec &spec);
    /* See RepresentorService::release_representor(). Its old name is not given back if it is one of
     * `reserved_names`, or Open vSwitch would take it for that row's. */
    Expected<void> release(const std::string &name, bool row_goes_on,
                           const std::vector<std::string> &reserved_names);
    /* See RepresentorService::owned_representors(). */
    Expected<std::map<std::string, FunctionId>> owned();

  private:
    using Names = std::vector<std::string>;

    Expected<Link> find(const RepresentorSpec &spec);
    Expected<void> check_names(const std::string &name, const RepresentorSpec &spec,
                               const Link &link);
    Expected<void> give_back_other(const std::string &name, const RepresentorSpec &spec);
    Expected<OwnedRepresentor> record(const std::string &name, const RepresentorSpec &spec,
                                      const std::optional<Link> &link);
    Expected<void> set_mac(const OwnedRepresentor &entry, const RepresentorSpec &spec);
    Expected<void> reset_mac(const OwnedRepresentor &entry);
    Expected<void> hold_down(const RepresentorSpec &spec);
    Expected<RepresentorState> give_name(const std::string &name, const OwnedRepresentor &entry,
                                         const Link &link);
    /* Deletes the port of a netdev that has its right name and does not work, because it was
     * attached under another name; ovs-vswitchd adds it again. */
    Expected<void> cure_port(int ifindex);

    Expected<void> release_entry(const std::string &name, const OwnedRepresentor &entry,
                                 bool row_goes_on, const Names &reserved_names);
    Expected<void> take_name(const std::string &name, const OwnedRepresentor &entry,
                             const Link &link, bool row_goes_on, const Names &reserved_names);
    Expected<bool> is_still_ours(const std::string &name, const OwnedRepresentor &entry,
                                 const Link &link);
    Expected<void> detach(const Link &link);
    Expected<std::optional<uint32_t>> find_port(const Link &link);
    Expected<void> remove_port(const Link &link, uint32_t number, const std::string &why);
    Expected<void> rename(const Link &link, const std::string &name);

    Rtnl rtnl_;
    std::unique_ptr<Switch> switch_;
    OwnedFile record_;
};

}  // namespace vdpa::agent::host
