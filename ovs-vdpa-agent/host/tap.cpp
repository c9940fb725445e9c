// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/tap.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "ovs-vdpa-agent/host/representor_support.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

using schema::Reason;

#ifndef IFF_NO_CARRIER
#define IFF_NO_CARRIER 0x0040  // Linux 6.1; older kernels take no notice of it
#endif

constexpr int tap_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
constexpr unsigned wanted_flags = IFF_UP | IFF_NOARP;
constexpr const char *mark = "ovs-vdpa-agent";
/* What a netdev's name begins with until it is ready; eight hexadecimal digits follow. */
constexpr std::string_view prefix_in_the_making = "ovda";
constexpr size_t digits_in_the_making = 8;

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

/* A random one: to have the kernel number names costs it a look at every netdev. */
Expected<std::string> name_in_the_making() {
    unsigned number = 0;
    if (::getrandom(&number, sizeof number, 0) != sizeof number) {
        return fail(Reason::tap_failed, "getrandom: " + errno_text(errno));
    }
    std::array<char, digits_in_the_making + 1> digits{};
    std::snprintf(digits.data(), digits.size(), "%08x", number);
    return std::string(prefix_in_the_making) + digits.data();
}

bool is_in_the_making(const std::string &name) {
    return name.size() == prefix_in_the_making.size() + digits_in_the_making &&
           name.starts_with(prefix_in_the_making) &&
           name.find_first_not_of("0123456789abcdef", prefix_in_the_making.size()) ==
               std::string::npos;
}

/* A queue of the TAP of that name, which is made if there is none; `more` flags, IFF_*. */
Expected<UniqueFd> open_queue(const std::string &name, int more) {
    UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!fd) {
        return tap_failed(name, "/dev/net/tun", errno);
    }
    ifreq request = request_for(name);
    request.ifr_flags = static_cast<short>(tap_flags | more);
    if (::ioctl(fd.get(), TUNSETIFF, &request) != 0) {
        return tap_failed(name, "TUNSETIFF", errno);
    }
    return fd;
}

/* Takes the carrier from a TAP that was made with IFF_NO_CARRIER, where the kernel did not. */
Expected<void> see_to_no_carrier(int queue, const std::string &name) {
    unsigned features = 0;
    unsigned no_carrier = 0;
    if (::ioctl(queue, TUNGETFEATURES, &features) == 0 && (features & IFF_NO_CARRIER) != 0) {
        return {};
    }
    return ::ioctl(queue, TUNSETCARRIER, &no_carrier) == 0
               ? Expected<void>()
               : tap_failed(name, "TUNSETCARRIER", errno);
}

int queues_flag(bool multi_queue) {
    return multi_queue ? IFF_MULTI_QUEUE : 0;
}

/* Of the netdev of that name or altname; none: there is none. Without the rtnl lock. */
Expected<std::optional<int>> index_of(int socket, const std::string &name) {
    ifreq request = request_for(name);
    if (::ioctl(socket, SIOCGIFINDEX, &request) == 0) {
        return request.ifr_ifindex;
    }
    return errno == ENODEV ? Expected<std::optional<int>>(std::nullopt)
                           : tap_failed(name, "SIOCGIFINDEX", errno);
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
    UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket) {
        return fail(Reason::tap_failed, "no socket for netdevs: " + errno_text(errno));
    }
    return Taps(std::move(*rtnl), std::move(socket), std::move(record));
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
        *link && (*link)->is_emulated_vf &&
        ((*link)->alias == mark || (*link)->name == name || is_in_the_making((*link)->name));
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
    const auto other = index_of(socket_.get(), name);
    if (!other) {
        return tl::make_unexpected(other.error());
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
    const std::string &present_name = found.name;
    if (present_name != name) {
        // ovs-vswitchd may not have noticed yet that it has lost the name, and would wedge.
        if (found.master) {
            return fail(Reason::ovs_detach, "netdev " + name + " was renamed to " + present_name +
                                                " and is attached: rename it back, or detach it");
        }
        const auto other = index_of(socket_.get(), name);
        if (!other) {
            return tl::make_unexpected(other.error());
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
        // Kernels before 6.2 rename none that is up.
        const bool is_new = is_in_the_making(present_name);
        done = change_flags(socket_.get(), present_name, 0, IFF_UP).and_then([&] {
            return name_and_set_up(found.ifindex, name, is_new);
        });
        if (!done && !is_new) {
            (void)bring_up(socket_.get(), present_name);
        }
    } else if (!is_set_up(found)) {
        done = bring_up(socket_.get(), name);
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

/* The last step, after which ovs-vswitchd opens the netdev. By one request: each change alone would
 * wait for the rtnl lock, and wake ovs-vswitchd, which looks at all of its ports whenever it hears
 * of a netdev. */
Expected<void> Taps::name_and_set_up(int ifindex, const std::string &name, bool is_new) {
    LinkSetup setup{.name = name, .alias = mark, .address = {}, .flags = wanted_flags};
    if (is_new) {
        // Of our own choosing: udev replaces the kernel's by one that it derives from the name,
        // which until now is not the netdev's own.
        setup.address = random_local_mac();
        if (!setup.address) {
            return tap_failed(name, "getrandom", errno);
        }
    }
    const auto done = rtnl_.set_up_as(ifindex, setup);
    if (!done && done.error().code == EEXIST) {
        return name_taken(name);
    }
    return done ? Expected<void>() : tap_failed(name, done.error());
}

Expected<TapState> Taps::create(const std::string &name, const TapSpec &spec) {
    // It gets its name last. ovs-vswitchd opens a netdev as soon as there is one of that name, and
    // if that went away with us, the userspace datapath would never notice.
    const auto first_name = name_in_the_making();
    if (!first_name) {
        return tl::make_unexpected(first_name.error());
    }
    auto queue =
        open_queue(*first_name, IFF_TUN_EXCL | IFF_NO_CARRIER | queues_flag(spec.multi_queue));
    if (!queue) {
        return tl::make_unexpected(queue.error());
    }
    const auto found = index_of(socket_.get(), *first_name);
    if (!found || !*found) {
        return found ? fail(Reason::tap_failed, "netdev " + name + " was deleted meanwhile")
                     : tl::make_unexpected(found.error());
    }
    const int ifindex = **found;
    // Until TUNSETPERSIST the netdev ends with this process, so a crash before that leaves nothing,
    // and a crash after it leaves what the record names.
    if (auto recorded = record_.begin_tap(name, ifindex); !recorded) {
        return tl::make_unexpected(recorded.error());
    }
    if (auto done = see_to_no_carrier(queue->get(), name).and_then([&] {
            return disable_ipv6(*first_name);
        });
        !done) {
        return tl::make_unexpected(done.error());
    }
    if (spec.owner &&
        ::ioctl(queue->get(), TUNSETOWNER, static_cast<unsigned long>(*spec.owner)) != 0) {
        return tap_failed(name, "TUNSETOWNER", errno);
    }
    if (::ioctl(queue->get(), TUNSETPERSIST, 1UL) != 0) {
        return tap_failed(name, "TUNSETPERSIST", errno);
    }
    if (const auto done = name_and_set_up(ifindex, name, true); !done) {
        *queue = UniqueFd();
        (void)remove(name);  // what is left is recorded, and removed or used the next time
        return tl::make_unexpected(done.error());
    }
    (void)record_.set_tap(name, ifindex);  // or the next call says that it is ready
    return TapState{
        .ifindex = ifindex, .created = true, .replaced = false, .multi_queue = spec.multi_queue};
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
