// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/inventory_builder.hpp"

#include <linux/if.h>

#include <algorithm>
#include <set>

#include "ovs-vdpa-agent/host/pf_discovery.hpp"
#include "ovs-vdpa-agent/host/port_identity.hpp"

namespace vdpa::agent::host {

namespace {

/* A port of a switch: a devlink port, a netdev that has the name of a port, or both. */
struct Port {
    std::optional<Handle> handle;  // none: only the switch is known
    PortIdentity identity;
    const DevlinkPortState *devlink = nullptr;
    const Link *link = nullptr;
};

class Builder {
  public:
    Builder(const DevlinkState &devlink, const Links &links, const SysfsSnapshot &sysfs)
        : devlink_(devlink), links_(links), sysfs_(sysfs) {}

    Inventory build() {
        for (const auto &[handle, device] : sysfs_.devices) {
            for (const int ifindex : device.ifindexes) {
                parents_by_sysfs_[ifindex] = handle;
            }
        }
        pfs_ = find_pfs(devlink_, sysfs_);
        find_ports();
        number_pfs();
        attribute_ports_by_switch();
        find_uplinks();
        find_functions_by_device();
        for (const Port &port : ports_) {
            if (port.identity.kind == PortIdentity::Kind::function && port.handle) {
                add_representor(port);
            }
        }
        for (auto &[handle, functions] : functions_) {
            for (auto &[id, function] : functions) {
                complete(pfs_.at(handle), function);
            }
        }
        return result();
    }

  private:
    /* The device that a netdev is of; none of a virtual one. */
    std::optional<Handle> parent_of(const Link &link) const {
        if (!link.parent_device.empty()) {
            return Handle{link.parent_bus, link.parent_device};
        }
        const auto found = parents_by_sysfs_.find(link.ifindex);
        return found == parents_by_sysfs_.end() ? std::nullopt : std::optional(found->second);
    }

    void find_ports() {
        for (const auto &[key, port] : devlink_.ports) {
            const Link *link = port.ifindex != 0 ? links_.find(port.ifindex) : nullptr;
            auto identity = identify(port);
            if (!identity && link) {
                identity = identify(*link);
            }
            if (identity && link) {
                port_netdevs_.insert(link->ifindex);
            }
            if (identity && pfs_.contains(port.device)) {
                ports_.push_back({port.device, *identity, &port, link});
            }
        }
        for (const auto &[ifindex, link] : links_.by_index) {
            if (link.phys_port_name.empty() || port_netdevs_.contains(ifindex)) {
                continue;
            }
            const auto identity = identify(link);
            auto parent = parent_of(link);
            if (!identity || (parent && is_vf(sysfs_, *parent))) {
                continue;
            }
            if (parent && !pfs_.contains(*parent)) {
                parent.reset();
            }
            if (parent || !link.switch_id.empty()) {
                port_netdevs_.insert(ifindex);
                ports_.push_back({parent, *identity, nullptr, &link});
            }
        }
    }

    /* A PF's own number is the one that its functions have; that of the PCI function if there is a
     * choice. */
    void number_pfs() {
        std::map<Handle, std::set<uint16_t>> numbers;
        for (const Port &port : ports_) {
            if (!port.handle) {
                continue;
            }
            Pf &pf = pfs_.at(*port.handle);
            if (port.link && !port.link->switch_id.empty()) {
                pf.switch_id = port.link->switch_id;
            }
            if (port.identity.kind == PortIdentity::Kind::function && !port.identity.controller &&
                port.identity.pf_number) {
                numbers[*port.handle].insert(*port.identity.pf_number);
            }
        }
        for (auto &[handle, pf] : pfs_) {
            const std::string &device = handle.device;
            pf.number = static_cast<uint16_t>(handle.bus == "pci" ? device.back() - '0' : 0);
            const auto &told = numbers[handle];
            if (!told.empty() && !told.contains(pf.number)) {
                pf.number = *told.begin();
            }
        }
    }

    /* Netdevs that do not say of which device they are. */
    void attribute_ports_by_switch() {
        for (Port &port : ports_) {
            if (port.handle) {
                continue;
            }
            for (const auto &[handle, pf] : pfs_) {
                if (pf.switch_id == port.link->switch_id &&
                    (!port.handle || pf.number == port.identity.pf_number)) {
                    port.handle = handle;
                }
            }
        }
    }

    void find_uplinks() {
        for (const Port &port : ports_) {
            if (port.identity.kind == PortIdentity::Kind::uplink && port.handle && port.link) {
                add_uplink(pfs_.at(*port.handle), *port.link);
            }
        }
        std::set<Handle> without;
        for (const auto &[handle, pf] : pfs_) {
            if (pf.uplinks.empty()) {
                without.insert(handle);
            }
        }
        for (const auto &[ifindex, link] : links_.by_index) {
            const auto parent = parent_of(link);
            if (!parent) {
                continue;
            }
            by_parent_[*parent].push_back(&link);
            if (without.contains(*parent) && !port_netdevs_.contains(ifindex)) {
                add_uplink(pfs_.at(*parent), link);
            }
        }
    }

    static void add_uplink(Pf &pf, const Link &link) {
        pf.uplinks.push_back({link.ifindex, link.name, (link.flags & IFF_UP) != 0});
    }

    Function &function(const FunctionId &id) {
        Function &function = functions_[id.pf][id];
        function.id = id;
        return function;
    }

    /* VFs and SFs by what they are on this host, whether they have a representor or not. */
    void find_functions_by_device() {
        for (const auto &[handle, device] : sysfs_.devices) {
            if (device.sf_number && device.parent && pfs_.contains(*device.parent)) {
                const uint16_t pf_number = pfs_.at(*device.parent).number;
                Function &sf =
                    function({*device.parent, {}, pf_number, Flavour::sf, *device.sf_number});
                sf.device = handle;
                sf.driver = device.driver;
            }
            if (!pfs_.contains(handle)) {
                continue;
            }
            const uint16_t pf_number = pfs_.at(handle).number;
            for (const auto &[number, name] : device.vfs) {
                Function &vf = function({handle, {}, pf_number, Flavour::vf, number});
                vf.device = Handle{"pci", name};
                const auto found = sysfs_.devices.find(*vf.device);
                vf.driver = found == sysfs_.devices.end() ? "" : found->second.driver;
            }
            // VFs that are no devices, such as netdevsim's.
            for (uint32_t number = 0; device.vfs.empty() && number < device.num_vfs; number++) {
                function({handle, {}, pf_number, Flavour::vf, number});
            }
        }
    }

    FunctionId id_of(const Port &port) const {
        const PortIdentity &identity = port.identity;
        const Pf &named = pfs_.at(*port.handle);
        FunctionId id{*port.handle, identity.controller, identity.pf_number.value_or(named.number),
                      identity.flavour, identity.number};
        if (id.controller || *id.pf_number == named.number) {
            return id;
        }
        for (const auto &[handle, pf] : pfs_) {
            if (pf.number == *id.pf_number && are_siblings(pf, named)) {
                id.pf = handle;
                break;
            }
        }
        return id;
    }

    void add_representor(const Port &port) {
        Function &function = this->function(id_of(port));
        Representor representor;
        representor.devlink = *port.handle;
        if (const DevlinkPortState *devlink = port.devlink) {
            representor.devlink_port = devlink->index;
            representor.has_function_mac = devlink->mac.has_value();
            function.mac = devlink->mac.value_or("");
            function.active = devlink->active.value_or(true);
        }
        if (port.link) {
            representor.ifindex = port.link->ifindex;
            representor.netdev = port.link->name;
            representor.up = (port.link->flags & IFF_UP) != 0;
            representor.master = port.link->master;
            function.representor = std::move(representor);
        }
    }

    void complete(const Pf &pf, Function &function) const {
        if (function.device) {
            if (const auto own = by_parent_.find(*function.device); own != by_parent_.end()) {
                for (const Link *link : own->second) {
                    add_netdev(*link, function);
                }
            }
        }
        const bool is_local_vf = function.id.flavour == Flavour::vf && !function.id.controller;
        for (const Pf::Uplink &uplink : pf.uplinks) {
            const auto macs = links_.vf_macs.find(uplink.ifindex);
            if (!function.mac.empty() || !is_local_vf || macs == links_.vf_macs.end()) {
                continue;
            }
            if (const auto mac = macs->second.find(function.id.number); mac != macs->second.end()) {
                function.mac = mac->second;
            }
        }
        if (function.mac == no_mac) {
            function.mac.clear();
            function.mac_is_unset = true;
        }
    }

    void add_netdev(const Link &link, Function &function) const {
        function.netdevs.push_back(link.name);
        function.netdev_up = function.netdev_up || (link.flags & IFF_UP) != 0;
        function.netdev_claimed =
            function.netdev_claimed || link.master || links_.has_address(link.ifindex);
        function.netdev_in_use = function.netdev_up || function.netdev_claimed;
    }

    Inventory result() {
        Inventory inventory;
        std::set<Handle> functions;
        for (auto &[handle, pf] : pfs_) {
            for (auto &[id, function] : functions_[handle]) {
                if (function.device) {
                    functions.insert(*function.device);
                }
                pf.functions.push_back(std::move(function));
            }
            inventory.pfs.push_back(std::move(pf));
        }
        for (const auto &[handle, device] : sysfs_.devices) {
            if (is_network(device) && !pfs_.contains(handle) && !functions.contains(handle)) {
                inventory.others.push_back(handle);
            }
        }
        return inventory;
    }

    const DevlinkState &devlink_;
    const Links &links_;
    const SysfsSnapshot &sysfs_;
    std::map<int, Handle> parents_by_sysfs_;
    std::map<Handle, Pf> pfs_;
    std::vector<Port> ports_;
    std::set<int> port_netdevs_;  // of which it is known what they stand for
    std::map<Handle, std::vector<const Link *>> by_parent_;
    std::map<Handle, std::map<FunctionId, Function>> functions_;
};

}  // namespace

Inventory build_inventory(const DevlinkState &devlink, const Links &links,
                          const SysfsSnapshot &sysfs, const VdpaState &vdpa) {
    Inventory inventory = Builder(devlink, links, sysfs).build();
    inventory.vdpa_devices = vdpa.devices;
    inventory.vdpa_managements = vdpa.managements;
    inventory.has_vdpa = vdpa.has_family;
    inventory.has_vhost_vdpa = vdpa.has_vhost_driver;
    return inventory;
}

}  // namespace vdpa::agent::host
