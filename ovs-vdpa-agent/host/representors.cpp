// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/representors.hpp"

#include <linux/if.h>

#include <algorithm>
#include <cerrno>

#include "ovs-vdpa-agent/host/representor_support.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

const log::Module module("representors");

FunctionPort port_of(const RepresentorSpec &spec) {
    return {spec.function,         spec.devlink,   spec.devlink_port,
            spec.has_function_mac, spec.pf_netdev, spec.pf_ifindex};
}

/* The entry of another Interface that has the netdev with that index. */
const std::pair<const std::string, OwnedRepresentor> *other_holder(const Owned &owned,
                                                                   const std::string &name,
                                                                   int ifindex) {
    const auto found = std::find_if(
        owned.representors.begin(), owned.representors.end(),
        [&](const auto &item) { return item.first != name && item.second.ifindex == ifindex; });
    return found == owned.representors.end() ? nullptr : &*found;
}

}  // namespace

std::string neutral_name(int ifindex) {
    return "ovdar" + std::to_string(ifindex);
}

Representors::Representors(Rtnl rtnl, std::unique_ptr<Switch> switch_interface, OwnedFile record)
    : rtnl_(std::move(rtnl)), switch_(std::move(switch_interface)), record_(std::move(record)) {}

Expected<Representors> Representors::open(OwnedFile record) {
    auto rtnl = Rtnl::open();
    if (!rtnl) {
        return fail(Reason::representor_failed, "rtnetlink: " + rtnl.error().detail);
    }
    return Representors(std::move(*rtnl), std::make_unique<KernelSwitch>(), std::move(record));
}

Expected<std::map<std::string, FunctionId>> Representors::owned() {
    if (auto loaded = record_.load(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    std::map<std::string, FunctionId> functions;
    for (const auto &[name, entry] : record_.get().representors) {
        functions[name] = entry.port.function;
    }
    return functions;
}

Expected<RepresentorState> Representors::ensure(const std::string &name,
                                                const RepresentorSpec &spec) {
    if (auto loaded = record_.load_once(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    std::optional<Link> link;
    if (!spec.keep_netdev) {
        auto found = find(spec);
        if (!found) {
            return tl::make_unexpected(found.error());
        }
        link = std::move(*found);
        if (auto free = check_names(name, spec, *link); !free) {
            return tl::make_unexpected(free.error());
        }
    }
    if (auto done = give_back_other(name, spec); !done) {
        return tl::make_unexpected(done.error());
    }
    const auto entry = record(name, spec, link);
    if (!entry) {
        return tl::make_unexpected(entry.error());
    }
    const auto done = set_mac(*entry, spec).and_then([this, &spec] { return hold_down(spec); });
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    return link ? give_name(name, *entry, *link) : RepresentorState{spec.ifindex, false};
}

Expected<Link> Representors::find(const RepresentorSpec &spec) {
    const auto missing = [&spec](const std::string &what) {
        return fail(Reason::representor_missing,
                    "the representor of " + spec.function.text() + " " + what);
    };
    if (spec.ifindex == 0) {
        return missing("is not there");
    }
    auto link = rtnl_.find(spec.ifindex);
    if (!link) {
        return representor_failed(spec.function, "cannot be looked for", link.error());
    }
    if (!*link) {
        return missing("has gone");
    }
    if (spec.devlink_port) {
        const auto netdev = switch_->netdev(spec.devlink, *spec.devlink_port);
        if (!netdev) {
            return representor_failed(spec.function, "cannot be looked for", netdev.error());
        }
        if (*netdev != spec.ifindex) {
            return missing("was replaced");
        }
    }
    return std::move(**link);
}

Expected<void> Representors::check_names(const std::string &name, const RepresentorSpec &spec,
                                         const Link &link) {
    const Owned owned = record_.get();
    const auto *holder = other_holder(owned, name, link.ifindex);
    const auto ours = owned.representors.find(name);
    const bool is_ours = ours != owned.representors.end() && ours->second.ifindex == link.ifindex;
    // Unless it is we who gave it the other row's name.
    if (link.name != name && contains(spec.reserved_names, link.name) &&
        !(holder && holder->first == link.name) &&
        !(is_ours && ours->second.row_before == link.name)) {
        return fail(Reason::duplicate_device, "the representor of " + spec.function.text() +
                                                  " is netdev " + link.name +
                                                  ", which is the port of Interface " + link.name +
                                                  ": delete that or name another device");
    }
    const auto other = rtnl_.find(name);
    if (!other) {
        return representor_failed(spec.function, "cannot be named " + name, other.error());
    }
    if (!*other || (*other)->ifindex == link.ifindex) {
        return {};
    }
    if (ours != owned.representors.end() && ours->second.ifindex == (*other)->ifindex) {
        return {};  // it is given back
    }
    if ((*other)->name != name) {
        // An altname. One that we gave does not keep a row from its name.
        const auto *giver = other_holder(owned, name, (*other)->ifindex);
        if (giver && giver->second.old_name == name &&
            rtnl_.remove_altname((*other)->ifindex, name)) {
            return {};
        }
    }
    return name_taken(name);
}

Expected<void> Representors::give_back_other(const std::string &name, const RepresentorSpec &spec) {
    const auto entry = record_.representor(name);
    if (!entry) {
        return {};
    }
    // With another ifindex it is the same function after a reset: nothing is left of the netdev.
    const bool is_same = entry->port.function == spec.function;
    if (is_same && !(spec.keep_netdev && entry->ifindex != 0)) {
        return {};
    }
    return release_entry(name, *entry, true, spec.reserved_names);
}

Expected<OwnedRepresentor> Representors::record(const std::string &name,
                                                const RepresentorSpec &spec,
                                                const std::optional<Link> &link) {
    OwnedRepresentor entry{.port = port_of(spec), .mac_set = !spec.mac.empty()};
    const Owned owned = record_.get();
    const auto own = owned.representors.find(name);
    const OwnedRepresentor *before = own == owned.representors.end() ? nullptr : &own->second;
    const auto *holder = link ? other_holder(owned, name, link->ifindex) : nullptr;
    if (holder) {
        before = &holder->second;
    }
    entry.mac_set = entry.mac_set || (before && before->mac_set);
    if (link) {
        entry.ifindex = link->ifindex;
        const bool is_known = before && before->ifindex == link->ifindex;
        // A third name is udev's or the operator's, and newer than the one that is recorded.
        const bool is_given = link->name == name || link->name == neutral_name(link->ifindex) ||
                              contains(spec.reserved_names, link->name);
        entry.old_name = is_known && is_given ? before->old_name : link->name;
        if (holder) {
            entry.row_before = holder->first;
        } else if (is_known && before->row_before == link->name) {
            entry.row_before = before->row_before;
        }
    }
    const std::string taken_from = holder ? holder->first : "";
    return record_
        .change([&](Owned &changed) {
            changed.representors.erase(taken_from);
            changed.representors[name] = entry;
        })
        .map([&entry] { return entry; });
}

Expected<void> Representors::hold_down(const RepresentorSpec &spec) {
    for (const std::string &netdev : spec.function_netdevs) {
        const std::string what = "its netdev " + netdev + " cannot be ";
        const auto link = rtnl_.find(netdev);
        if (!link) {
            return representor_failed(spec.function, what + "looked for", link.error());
        }
        if (!*link) {
            continue;
        }
        const int ifindex = (*link)->ifindex;
        if ((*link)->master) {
            return fail(Reason::device_busy, "netdev " + netdev + " of " + spec.function.text() +
                                                 " is attached to another: ip link set " + netdev +
                                                 " nomaster");
        }
        if (((*link)->flags & IFF_UP) != 0) {
            if (const auto done = rtnl_.set_up(ifindex, false); !done && !done.error().is_gone()) {
                return representor_failed(spec.function, what + "set down", done.error());
            }
        }
        if (spec.mtu && (*link)->mtu != *spec.mtu) {
            const auto done = rtnl_.set_mtu(ifindex, *spec.mtu);
            if (!done && !done.error().is_gone()) {
                return representor_failed(
                    spec.function, what + "given MTU " + std::to_string(*spec.mtu), done.error());
            }
        }
    }
    return {};
}

Expected<RepresentorState> Representors::give_name(const std::string &name,
                                                   const OwnedRepresentor &entry,
                                                   const Link &link) {
    const bool renamed = link.name != name;
    if (renamed) {
        if (link.master) {
            if (auto done = detach(link); !done) {
                return tl::make_unexpected(done.error());
            }
        }
        if (contains(link.altnames, name)) {
            (void)rtnl_.remove_altname(link.ifindex, name);  // or the renaming says why not
        }
        if (auto done = rename(link, name); !done) {
            return tl::make_unexpected(done.error());
        }
        module.info("representor of " + entry.port.function.text() + ": " + link.name +
                    " renamed to " + name);
        if (entry.old_name != name && entry.old_name != neutral_name(link.ifindex)) {
            const auto kept = rtnl_.add_altname(link.ifindex, entry.old_name);
            if (!kept && kept.error().code != EEXIST) {
                module.debug(name + ": no altname " + entry.old_name + ": " + kept.error().detail);
            }
        }
    }
    if (renamed || (link.flags & IFF_UP) == 0) {
        if (const auto up = rtnl_.set_up(link.ifindex, true); !up) {
            return representor_failed(entry.port.function, "cannot be set up", up.error());
        }
    }
    if (auto done = cure_port(link.ifindex); !done) {
        return tl::make_unexpected(done.error());
    }
    return RepresentorState{link.ifindex, renamed};
}

}  // namespace vdpa::agent::host
