// SPDX-License-Identifier: Apache-2.0
// Representors: giving back, and what renaming takes.
#include <linux/if.h>

#include <algorithm>
#include <cerrno>

#include "ovs-vdpa-agent/host/representor_support.hpp"
#include "ovs-vdpa-agent/host/representors.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

const log::Module module("representors_release");

tl::unexpected<Error> link_failed(const Link &link, const std::string &what,
                                  const NetlinkError &error) {
    return fail(Reason::representor_failed,
                "netdev " + link.name + " cannot be " + what + ": " + error.detail);
}

tl::unexpected<Error> mac_failed(const OwnedRepresentor &entry, const std::string &what) {
    return fail(Reason::mac_failed,
                "the MAC address of " + entry.port.function.text() + " cannot be " + what);
}

}  // namespace

Expected<void> Representors::release(const std::string &name, bool row_goes_on,
                                     const Names &reserved_names) {
    if (auto loaded = record_.load_once(); !loaded) {
        return loaded;
    }
    const auto entry = record_.representor(name);
    return entry ? release_entry(name, *entry, row_goes_on, reserved_names) : Expected<void>();
}

Expected<void> Representors::release_entry(const std::string &name, const OwnedRepresentor &entry,
                                           bool row_goes_on, const Names &reserved_names) {
    if (entry.ifindex != 0) {
        const auto link = rtnl_.find(entry.ifindex);
        if (!link) {
            return representor_failed(entry.port.function, "cannot be looked for", link.error());
        }
        const auto is_ours = *link ? is_still_ours(name, entry, **link) : false;
        if (!is_ours) {
            return tl::make_unexpected(is_ours.error());
        }
        if (*is_ours) {
            if (auto done = take_name(name, entry, **link, row_goes_on, reserved_names); !done) {
                return done;
            }
        }
    }
    if (entry.mac_set) {
        if (auto done = reset_mac(entry); !done) {
            return done;
        }
    }
    return record_.change([&name](Owned &owned) { owned.representors.erase(name); });
}

Expected<bool> Representors::is_still_ours(const std::string &name, const OwnedRepresentor &entry,
                                           const Link &link) {
    if (entry.port.devlink_port) {
        const auto netdev = switch_->netdev(entry.port.devlink, *entry.port.devlink_port);
        if (!netdev) {
            return representor_failed(entry.port.function, "cannot be looked for", netdev.error());
        }
        return *netdev == link.ifindex;
    }
    return link.name == name || link.name == neutral_name(link.ifindex) ||
           link.name == entry.old_name || contains(link.altnames, entry.old_name);
}

Expected<void> Representors::take_name(const std::string &name, const OwnedRepresentor &entry,
                                       const Link &link, bool row_goes_on,
                                       const Names &reserved_names) {
    if (link.name != name && contains(reserved_names, link.name)) {
        return {};  // renamed by hand, for another row
    }
    const std::string neutral = neutral_name(link.ifindex);
    Link present = link;
    if (row_goes_on && (present.master || present.name == name)) {
        // While it has the row's name, Open vSwitch may attach it at any moment.
        if (auto done = detach(present); !done) {
            return done;
        }
        present.name = neutral;
    } else if (present.master) {
        return fail(Reason::ovs_detach, "netdev " + present.name + " of " +
                                            entry.port.function.text() + " is still attached");
    }
    if (const auto down = rtnl_.set_up(link.ifindex, false); !down && !down.error().is_gone()) {
        return link_failed(present, "set down", down.error());
    }
    if (present.name != name && present.name != neutral) {
        return {};  // the operator's choice
    }
    std::string wanted = entry.old_name;
    if (wanted != present.name && !wanted.empty()) {
        const auto other = rtnl_.find(wanted);
        if (!other) {
            return link_failed(present, "given its name back", other.error());
        }
        const bool is_taken = *other && (*other)->ifindex != link.ifindex;
        if (is_taken || contains(reserved_names, wanted) || (row_goes_on && wanted == name)) {
            wanted.clear();
        }
    }
    if (wanted.empty()) {
        wanted = neutral;
    }
    if (wanted == present.name) {
        return {};
    }
    if (contains(link.altnames, wanted)) {
        (void)rtnl_.remove_altname(link.ifindex, wanted);  // or the renaming says why not
    }
    auto done = rename(present, wanted);
    if (!done && done.error().reason == Reason::name_taken) {
        done = rename(present, neutral);  // somebody was quicker
    }
    return done;
}

/* Leaves it with the neutral name and no master, and down where the kernel demands that. */
Expected<void> Representors::detach(const Link &link) {
    if (link.master) {
        const auto port = find_port(link);
        if (!port) {
            return tl::make_unexpected(port.error());
        }
        if (!*port) {
            return fail(Reason::representor_failed,
                        "netdev " + link.name +
                            " is attached to something else than Open vSwitch: ip link set " +
                            link.name + " nomaster");
        }
    }
    if (auto done = rename(link, neutral_name(link.ifindex)); !done) {
        return done;
    }
    // Open vSwitch may have taken or dropped it meanwhile.
    auto now = rtnl_.find(link.ifindex);
    if (now && *now && (*now)->master) {
        const auto port = find_port(**now);
        if (!port) {
            return tl::make_unexpected(port.error());
        }
        if (*port) {
            if (auto done = remove_port(**now, **port, "it goes to another row"); !done) {
                return done;
            }
        }
        now = rtnl_.find(link.ifindex);
    }
    if (!now) {
        return link_failed(link, "detached", now.error());
    }
    return *now && (*now)->master
               ? fail(Reason::ovs_detach, "netdev " + link.name + " is still attached")
               : Expected<void>();
}

Expected<void> Representors::cure_port(int ifindex) {
    const auto link = rtnl_.find(ifindex);
    if (!link || !*link || !(*link)->master) {
        return {};  // what has gone is missed at the next call
    }
    const auto found = switch_->finds_vport(*(*link)->master, (*link)->name);
    if (!found) {
        return link_failed(**link, "looked for among Open vSwitch's ports", found.error());
    }
    if (*found) {
        return {};
    }
    const auto port = find_port(**link);
    if (!port || !*port) {
        return port.map([](const auto & /*none*/) {});
    }
    return remove_port(**link, **port, "it was attached under another name");
}

/* The port that an attached netdev is; nothing if its master is no datapath. */
Expected<std::optional<uint32_t>> Representors::find_port(const Link &link) {
    auto port = switch_->find_vport(*link.master, link.ifindex);
    if (!port) {
        return link_failed(link, "looked for among Open vSwitch's ports", port.error());
    }
    return *port;
}

Expected<void> Representors::remove_port(const Link &link, uint32_t number,
                                         const std::string &why) {
    module.info("port " + std::to_string(number) + " of the datapath, netdev " + link.name +
                ", is deleted: " + why);
    const auto removed = switch_->remove_vport(*link.master, number);
    return removed ? Expected<void>()
                   : link_failed(link, "detached from Open vSwitch", removed.error());
}

Expected<void> Representors::rename(const Link &link, const std::string &name) {
    auto done = rtnl_.rename(link.ifindex, name);
    if (!done && done.error().code == EBUSY) {
        done = rtnl_.set_up(link.ifindex, false).and_then([&] {
            return rtnl_.rename(link.ifindex, name);
        });
    }
    if (done) {
        return {};
    }
    return done.error().code == EEXIST ? name_taken(name)
                                       : link_failed(link, "renamed to " + name, done.error());
}

/* A device that has to be asked by rtnetlink answers for all VFs of its PF at once, so it is not
 * asked in vain. That the inventory has the right address does not mean that it is still there. */
Expected<void> Representors::set_mac(const OwnedRepresentor &entry, const RepresentorSpec &spec) {
    const std::string &mac = spec.mac;
    if (mac.empty()) {
        return {};
    }
    const auto wanted = parse_mac(mac);
    if (!wanted) {
        return mac_failed(entry, "set to " + mac);
    }
    if (spec.known_mac.empty() || spec.known_mac == mac) {
        const auto before = switch_->mac(entry.port);
        if (before && *before == wanted) {
            return {};
        }
    }
    if (const auto set = switch_->set_mac(entry.port, *wanted); !set) {
        return mac_failed(entry, "set to " + mac + ": " + set.error().detail);
    }
    const auto after = switch_->mac(entry.port);
    if (!after) {
        return mac_failed(entry, "read back: " + after.error().detail);
    }
    if (*after && *after != wanted) {
        return mac_failed(entry, "set to " + mac + ": it is " + format_mac(**after) +
                                     " after the device has accepted it");
    }
    return {};
}

Expected<void> Representors::reset_mac(const OwnedRepresentor &entry) {
    const auto random = random_local_mac();
    if (!random) {
        return mac_failed(entry, "made: " + errno_text(errno));
    }
    const auto done = switch_->set_mac(entry.port, *random);
    // Of a device that does not take one at all, ours was never there: the record says so before it
    // is tried.
    if (done || done.error().is_gone() || done.error().code == EOPNOTSUPP) {
        return {};
    }
    // A driver's answer for a VF that it does not have any more is its own.
    const auto now = switch_->mac(entry.port);
    if (now && !*now) {
        return {};
    }
    return mac_failed(entry, "replaced by a random one: " + done.error().detail);
}

}  // namespace vdpa::agent::host
