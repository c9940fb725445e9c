// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/switch.hpp"

#include <unistd.h>

#include <cerrno>
#include <vector>

#include "ovs-vdpa-agent/host/folders.hpp"
#include "ovs-vdpa-agent/host/port_name.hpp"

namespace vdpa::agent::host {

namespace {

/* The socket in `slot`, opened if need be. */
template <typename T>
NetResult<T *> opened(std::optional<T> &slot) {
    if (!slot) {
        auto made = T::open();
        if (!made) {
            return tl::make_unexpected(made.error());
        }
        slot.emplace(std::move(*made));
    }
    return &*slot;
}

/* Of the ways to the MAC address, which the driver has. */
bool by_devlink(const FunctionPort &port) {
    return port.has_function_mac && port.devlink_port;
}
bool by_pf_netdev(const FunctionPort &port) {
    return !port.pf_netdev.empty() && port.function.flavour == Flavour::vf;
}

/* Names change hands. Functions are named by any PF of their adapter, that is of the PCI slot. A
 * netdev that tells no device (virtual ones, and all before Linux 5.14) may be it if it is of no
 * kind that is made by hand. */
bool may_be_of(const Link &link, const Handle &pf) {
    if (link.parent_device.empty()) {
        return link.kind.empty();
    }
    const auto slot = [&pf](const std::string &device) {
        return pf.bus == "pci" ? device.substr(0, device.rfind('.')) : device;
    };
    return link.parent_bus == pf.bus && slot(link.parent_device) == slot(pf.device);
}

/* PFs of a PCI slot are numbered by their PCI functions. */
Handle pf_device(const FunctionId &function) {
    Handle pf = function.pf;
    const size_t dot = pf.device.rfind('.');
    if (function.pf_number && pf.bus == "pci" && dot != std::string::npos) {
        pf.device.replace(dot + 1, std::string::npos, std::to_string(*function.pf_number));
    }
    return pf;
}

/* And no representor of one of its functions. */
bool may_be_uplink(const Link &link) {
    if (link.phys_port_name.empty()) {
        return true;
    }
    const auto port = parse_port_name(link.phys_port_name);
    return port && port->kind == PortIdentity::Kind::uplink;
}

}  // namespace

NetResult<DevlinkRequests *> KernelSwitch::devlink() {
    return opened(devlink_);
}

NetResult<Rtnl *> KernelSwitch::rtnl() {
    return opened(rtnl_);
}

NetResult<OvsVports *> KernelSwitch::vports() {
    if (!vports_) {
        auto made = OvsVports::open();
        if (!made) {
            return tl::make_unexpected(made.error());
        }
        // It may be loaded later.
        vports_ = std::move(*made);
    }
    return vports_ ? &*vports_ : nullptr;
}

NetResult<int> KernelSwitch::pf_index(const FunctionPort &port) {
    const auto socket = rtnl();
    if (!socket) {
        return tl::make_unexpected(socket.error());
    }
    if (port.pf_ifindex != 0) {
        const auto link = (*socket)->find(port.pf_ifindex);
        if (!link) {
            return tl::make_unexpected(link.error());
        }
        if (*link && may_be_of(**link, port.function.pf)) {
            return (*link)->ifindex;
        }
    }
    // One that was made anew, as when the PF's driver was loaded again, most often has its name.
    const auto link = (*socket)->find(port.pf_netdev);
    if (!link) {
        return tl::make_unexpected(link.error());
    }
    if (*link && may_be_of(**link, port.function.pf)) {
        return (*link)->ifindex;
    }
    return pf_index_by_device(**socket, port);
}

NetResult<int> KernelSwitch::pf_index_by_device(Rtnl &socket, const FunctionPort &port) {
    const Handle pf = pf_device(port.function);
    const auto folder = [this](const Handle &device) {
        return sysfs_ + "/bus/" + device.bus + "/devices/" + device.device;
    };
    const auto is_there = [&folder](const Handle &device) {
        return ::access(folder(device).c_str(), F_OK) == 0 || errno != ENOENT;
    };
    if (!is_there(pf) && !is_there(port.function.pf)) {
        return tl::make_unexpected(NetlinkError{ENODEV, "there is no PF " + pf.label()});
    }
    std::vector<int> found;
    // Its folder has the representors, too.
    for (const std::string &name : entries(folder(pf) + "/net")) {
        const auto link = socket.find(name);
        if (!link) {
            return tl::make_unexpected(link.error());
        }
        if (*link && may_be_of(**link, pf) && may_be_uplink(**link)) {
            found.push_back((*link)->ifindex);
        }
    }
    if (found.size() != 1) {
        return tl::make_unexpected(NetlinkError{
            EAGAIN, "neither " + port.pf_netdev + " nor " +
                        (found.empty() ? "any other netdev" : "exactly one other netdev") +
                        " is that of PF " + pf.label() +
                        ": have its driver bound and the netdev in the network namespace of the "
                        "agent, and named " +
                        port.pf_netdev});
    }
    return found.front();
}

NetResult<std::optional<int>> KernelSwitch::netdev(const Handle &device, uint32_t devlink_port) {
    return devlink()
        .and_then([&](DevlinkRequests *requests) { return requests->port(device, devlink_port); })
        .map([](const std::optional<DevlinkPort> &port) {
            return port ? port->ifindex : std::nullopt;
        });
}

NetResult<std::optional<Mac>> KernelSwitch::mac(const FunctionPort &port) {
    if (by_devlink(port)) {
        const auto found = devlink().and_then([&port](DevlinkRequests *requests) {
            return requests->port(port.devlink, *port.devlink_port);
        });
        if (!found) {
            return tl::make_unexpected(found.error());
        }
        if (*found && (*found)->function_mac) {
            return (*found)->function_mac;
        }
    }
    if (!by_pf_netdev(port)) {
        return std::nullopt;
    }
    const auto pf = pf_index(port);
    if (!pf) {
        return tl::make_unexpected(pf.error());
    }
    return rtnl_->vf_mac(*pf, port.function.number);
}

NetResult<void> KernelSwitch::set_mac(const FunctionPort &port, const Mac &mac) {
    if (by_devlink(port)) {
        auto done = devlink().and_then([&](DevlinkRequests *requests) {
            return requests->set_function_mac(port.devlink, *port.devlink_port, mac);
        });
        if (done || done.error().code != EOPNOTSUPP || !by_pf_netdev(port)) {
            return done;
        }
    }
    if (!by_pf_netdev(port)) {
        return tl::make_unexpected(NetlinkError{
            EOPNOTSUPP, "neither devlink nor a netdev of its PF takes a MAC address for it"});
    }
    const auto pf = pf_index(port);
    if (!pf) {
        return tl::make_unexpected(pf.error());
    }
    return rtnl_->set_vf_mac(*pf, port.function.number, mac);
}

NetResult<std::optional<uint32_t>> KernelSwitch::find_vport(int datapath, int ifindex) {
    return vports().and_then([&](OvsVports *ports) -> NetResult<std::optional<uint32_t>> {
        return ports ? ports->find(datapath, ifindex) : std::nullopt;
    });
}

NetResult<bool> KernelSwitch::finds_vport(int datapath, const std::string &name) {
    return vports().and_then([&](OvsVports *ports) -> NetResult<bool> {
        return ports ? ports->finds(datapath, name) : false;
    });
}

NetResult<void> KernelSwitch::remove_vport(int datapath, uint32_t number) {
    return vports().and_then([&](OvsVports *ports) {
        return ports ? ports->remove(datapath, number) : NetResult<void>();
    });
}

}  // namespace vdpa::agent::host
