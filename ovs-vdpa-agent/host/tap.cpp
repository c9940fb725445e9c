// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/tap.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ovs-vdpa-agent/host/representor_support.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

constexpr int tap_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
constexpr unsigned wanted_flags = IFF_UP | IFF_NOARP;
/* What a netdev is called until it is ready; the kernel puts a number to it. */
constexpr const char *name_in_the_making = "ovda%d";
constexpr const char *mark = "ovs-vdpa-agent";

#ifndef IFF_NO_CARRIER
#define IFF_NO_CARRIER 0x0040  // Linux 6.1; older kernels take no notice of it
#endif

tl::unexpected<Error> tap_failed(const std::string &name, const char *what, int error) {
    return fail(Reason::tap_failed, "netdev " + name + ": " + what + ": " + errno_text(error));
}

tl::unexpected<Error> tap_failed(const std::string &name, const NetlinkError &error) {
    return fail(Reason::tap_failed, "netdev " + name + ": " + error.detail);
}

ifreq request_for(const std::string &name) {
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    return request;
}

/* A queue of the TAP of that name, which is made if there is none; `more` flags, IFF_*. A name with
 * %d is replaced by the one that the kernel makes of it. */
Expected<UniqueFd> open_queue(std::string &name, int more) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd) {
        return tap_failed(name, "/dev/net/tun", errno);
    }
    ifreq request = request_for(name);
    request.ifr_flags = static_cast<short>(tap_flags | more);
    if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
        return tap_failed(name, "TUNSETIFF", errno);
    }
    name = request.ifr_name;
    return fd;
}

/* A random address of our own choosing. udev replaces the kernel's by one that it derives from the
 * name, which at that time is not the netdev's own. */
Expected<void> set_address(int socket, const std::string &name) {
    ifreq request = request_for(name);
    const auto address = random_local_mac();
    if (!address) {
        return tap_failed(name, "getrandom", errno);
    }
    std::copy(address->begin(), address->end(), request.ifr_hwaddr.sa_data);
    request.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    if (::ioctl(socket, SIOCSIFHWADDR, &request) != 0) {
        return tap_failed(name, "SIOCSIFHWADDR", errno);
    }
    return {};
}

int queues_flag(bool multi_queue) {
    return multi_queue ? IFF_MULTI_QUEUE : 0;
}

Expected<int> index_of(int socket, const std::string &name) {
    ifreq request = request_for(name);
    if (::ioctl(socket, SIOCGIFINDEX, &request) != 0) {
        return tap_failed(name, "SIOCGIFINDEX", errno);
    }
    return request.ifr_ifindex;
}

/* Sets and clears IFF_ flags. */
Expected<void> change_flags(int socket, const std::string &name, unsigned set, unsigned clear) {
    ifreq request = request_for(name);
    if (::ioctl(socket, SIOCGIFFLAGS, &request) != 0) {
        return tap_failed(name, "SIOCGIFFLAGS", errno);
    }
    const unsigned flags = static_cast<unsigned short>(request.ifr_flags);
    request.ifr_flags = static_cast<short>((flags | set) & ~clear);
    if (::ioctl(socket, SIOCSIFFLAGS, &request) != 0) {
        return tap_failed(name, "cannot be set up: SIOCSIFFLAGS", errno);
    }
    return {};
}

Expected<void> bring_up(int socket, const std::string &name) {
    return change_flags(socket, name, wanted_flags, 0);
}

/* The netdev must be down. */
Expected<void> rename_netdev(int socket, const std::string &from, const std::string &to) {
    ifreq request = request_for(from);
    to.copy(request.ifr_newname, IFNAMSIZ - 1);
    if (::ioctl(socket, SIOCSIFNAME, &request) == 0) {
        return {};
    }
    return errno == EEXIST ? name_taken(to)
                           : tap_failed(from, ("cannot be renamed to " + to).c_str(), errno);
}

/* Before the netdev is up, or it gets a link-local address. */
Expected<void> disable_ipv6(const std::string &name) {
    const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) {
        return {};  // a kernel without IPv6
    }
    if (!fd || ::write(fd.get(), "1", 1) != 1) {
        return tap_failed(name, path.c_str(), errno);
    }
    return {};
}

}  // namespace

bool is_set_up(const Link &link) {
    return (link.flags & wanted_flags) == wanted_flags;
}

Expected<Taps> Taps::open(OwnedFile record) {
    auto rtnl = Rtnl::open();
    if (!rtnl) {
        return fail(Reason::tap_failed, "rtnetlink: " + rtnl.error().detail);
    }
    return Taps(std::move(*rtnl), std::move(record));
}

Expected<std::vector<std::string>> Taps::owned() {
    if (auto loaded = record_.load(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    std::vector<std::string> names;
    for (const auto &[name, ifindex] : record_.taps()) {
        names.push_back(name);
    }
    return names;
}

Expected<std::optional<Link>> Taps::find_ours(const std::string &name) {
    // By index, for it may have been renamed; and by a mark, for the index may have come with a
    // netdev from another network namespace.
    const auto ifindex = record_.tap(name);
    if (!ifindex) {
        return std::nullopt;
    }
    const auto link = rtnl_.find(*ifindex);
    if (!link) {
        return tap_failed(name, link.error());
    }
    const bool is_ours =
        *link && (*link)->is_emulated_vf && ((*link)->alias == mark || (*link)->name == name);
    return is_ours ? *link : std::nullopt;
}

Expected<TapState> Taps::ensure(const std::string &name, const TapSpec &spec) {
    if (auto loaded = record_.load_once(); !loaded) {
        return tl::make_unexpected(loaded.error());
    }
    const auto ours = find_ours(name);
    if (!ours) {
        return tl::make_unexpected(ours.error());
    }
    if (*ours) {
        return adopt(**ours, name, spec);
    }
    const auto other = rtnl_.find(name);
    if (!other) {
        return tap_failed(name, other.error());
    }
    if (*other) {
        return name_taken(name);
    }
    const bool replaced = record_.has_finished_tap(name);
    return create(name, spec).map([replaced](TapState made) {
        made.replaced = replaced;
        return made;
    });
}

Expected<TapState> Taps::adopt(const Link &found, const std::string &name, const TapSpec &spec) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::string present_name = found.name;
    if (present_name != name) {
        // ovs-vswitchd may not have noticed yet that it has lost the name, and would wedge.
        if (found.master) {
            return fail(Reason::ovs_detach, "netdev " + name + " was renamed to " + present_name +
                                                " and is attached: rename it back, or detach it");
        }
        const auto other = rtnl_.find(name);
        if (!other) {
            return tap_failed(name, other.error());
        }
        if (*other) {
            return name_taken(name);
        }
    }
    if (spec.owner && found.tap_owner != *spec.owner) {
        const auto queue =
            open_queue(present_name, IFF_NO_CARRIER | queues_flag(found.tap_multi_queue));
        if (!queue) {
            return tl::make_unexpected(queue.error());
        }
        ifreq opened{};
        if (::ioctl(queue->get(), TUNGETIFF, &opened) != 0 ||
            (opened.ifr_flags & IFF_PERSIST) == 0) {
            return fail(Reason::tap_failed, "netdev " + name + " was deleted meanwhile");
        }
        if (::ioctl(queue->get(), TUNSETOWNER, static_cast<unsigned long>(*spec.owner)) != 0) {
            return tap_failed(present_name, "TUNSETOWNER", errno);
        }
    }
    Expected<void> done;
    if (present_name != name) {
        done = change_flags(socket.get(), present_name, 0, IFF_UP)
                   .and_then([&] { return rename_netdev(socket.get(), present_name, name); })
                   .and_then([&] { return bring_up(socket.get(), name); });
        if (!done) {
            (void)bring_up(socket.get(), present_name);
        }
    } else if (!is_set_up(found)) {
        done = bring_up(socket.get(), name);
    }
    if (!done) {
        return tl::make_unexpected(done.error());
    }
    (void)record_.set_tap(name, found.ifindex);  // or the next call says that it is ready
    return TapState{.ifindex = found.ifindex,
                    .created = false,
                    .replaced = false,
                    .multi_queue = found.tap_multi_queue};
}

Expected<TapState> Taps::create(const std::string &name, const TapSpec &spec) {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // It gets its name last. ovs-vswitchd opens a netdev as soon as there is one of that name, and
    // if that went away with us, the userspace datapath would never notice.
    std::string present_name = name_in_the_making;
    auto queue = open_queue(present_name, IFF_TUN_EXCL | queues_flag(spec.multi_queue));
    if (!queue) {
        return tl::make_unexpected(queue.error());
    }
    const auto ifindex = index_of(socket.get(), present_name);
    if (!ifindex) {
        return tl::make_unexpected(ifindex.error());
    }
    // Until TUNSETPERSIST the netdev ends with this process, so a crash before that leaves nothing,
    // and a crash after it leaves what the record names.
    if (auto recorded = record_.begin_tap(name, *ifindex); !recorded) {
        return tl::make_unexpected(recorded.error());
    }
    unsigned no_carrier = 0;
    if (::ioctl(queue->get(), TUNSETCARRIER, &no_carrier) != 0) {
        return tap_failed(name, "TUNSETCARRIER", errno);
    }
    if (spec.owner &&
        ::ioctl(queue->get(), TUNSETOWNER, static_cast<unsigned long>(*spec.owner)) != 0) {
        return tap_failed(name, "TUNSETOWNER", errno);
    }
    if (auto done = disable_ipv6(present_name).and_then([&] {
            return set_address(socket.get(), present_name);
        });
        !done) {
        return tl::make_unexpected(done.error());
    }
    if (const auto marked = rtnl_.set_alias(*ifindex, mark); !marked) {
        return tap_failed(name, marked.error());
    }
    if (::ioctl(queue->get(), TUNSETPERSIST, 1UL) != 0) {
        return tap_failed(name, "TUNSETPERSIST", errno);
    }
    const auto done = rename_netdev(socket.get(), present_name, name).and_then([&] {
        return bring_up(socket.get(), name);
    });
    if (!done) {
        *queue = UniqueFd();
        (void)remove(name);  // what is left is recorded, and removed or used the next time
        return tl::make_unexpected(done.error());
    }
    (void)record_.set_tap(name, *ifindex);  // or the next call says that it is ready
    return TapState{
        .ifindex = *ifindex, .created = true, .replaced = false, .multi_queue = spec.multi_queue};
}

Expected<void> Taps::remove(const std::string &name) {
    if (auto loaded = record_.load_once(); !loaded) {
        return loaded;
    }
    const auto ours = find_ours(name);
    if (!ours) {
        return tl::make_unexpected(ours.error());
    }
    if (*ours) {
        if (const auto removed = rtnl_.remove((*ours)->ifindex); !removed) {
            return tap_failed(name, removed.error());
        }
    }
    return record_.forget_tap(name);
}

}  // namespace vdpa::agent::host
