// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/sysfs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <vector>

#include "ovs-vdpa-agent/host/folders.hpp"
#include "ovs-vdpa-agent/host/inventory.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::agent::host {

namespace {

constexpr uint32_t network_class = 0x02;

/* An attribute's number, in decimal or with 0x. */
std::optional<uint32_t> read_number(const std::string &path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char buffer[32];
    const ssize_t size = file.get() < 0 ? -1 : ::read(file.get(), buffer, sizeof buffer);
    if (size <= 0) {
        return std::nullopt;
    }
    std::string_view text(buffer, static_cast<size_t>(size));
    const bool is_hex = text.starts_with("0x");
    text.remove_prefix(is_hex ? 2 : 0);
    uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), value, is_hex ? 16 : 10);
    return error == std::errc{} ? std::optional(value) : std::nullopt;
}

/* The device above an auxiliary device: what its link's target lies in. */
std::optional<Handle> parent_of(const std::string &path) {
    const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
    if (!real) {
        return std::nullopt;
    }
    std::string parent(real.get());
    parent.erase(parent.rfind('/'));
    const auto bus = link_name(parent + "/subsystem");
    return bus ? std::optional(Handle{*bus, parent.substr(parent.rfind('/') + 1)}) : std::nullopt;
}

void read_vfs(const std::string &path, SysfsDevice &device) {
    constexpr std::string_view prefix = "virtfn";
    for (const std::string &link : entries(path, "virtfn")) {
        uint32_t number = 0;
        const char *const end = link.data() + link.size();
        if (const auto [stop, error] = std::from_chars(link.data() + prefix.size(), end, number);
            error != std::errc{} || stop != end) {
            continue;
        }
        if (auto name = link_name(path + "/" + link)) {
            device.vfs.emplace(number, std::move(*name));
        }
    }
    device.num_vfs = static_cast<uint32_t>(device.vfs.size());
}

std::set<int> read_netdevs(const std::string &path) {
    std::set<int> ifindexes;
    for (const std::string &name : entries(path + "/net")) {
        if (const auto ifindex = read_number(path + "/net/" + name + "/ifindex")) {
            ifindexes.insert(static_cast<int>(*ifindex));
        }
    }
    return ifindexes;
}

/* None if the agent has nothing to do with it. */
std::optional<SysfsDevice> read_pci(const std::string &path) {
    SysfsDevice device;
    device.pci_class = read_number(path + "/class").value_or(0);
    device.total_vfs = read_number(path + "/sriov_totalvfs");
    device.pf = link_name(path + "/physfn");
    if (device.pci_class >> 16U != network_class && !device.total_vfs && !device.pf) {
        return std::nullopt;
    }
    device.driver = link_name(path + "/driver").value_or("");
    if (device.total_vfs) {
        read_vfs(path, device);
    }
    return device;
}

/* None if it is no SF. The attribute is mlx5's (sfnum_show() in drivers/net/ethernet/mellanox/mlx5/
 * core/sf/dev/dev.c). */
std::optional<SysfsDevice> read_auxiliary(const std::string &path) {
    SysfsDevice device;
    device.sf_number = read_number(path + "/sfnum");
    if (!device.sf_number) {
        return std::nullopt;
    }
    device.driver = link_name(path + "/driver").value_or("");
    device.parent = parent_of(path);
    return device;
}

std::optional<SysfsDevice> read_other(const std::string &path) {
    if (::access(path.c_str(), F_OK) != 0) {
        return std::nullopt;
    }
    SysfsDevice device;
    device.driver = link_name(path + "/driver").value_or("");
    device.total_vfs = read_number(path + "/sriov_totalvfs");
    if (const auto num_vfs = read_number(path + "/sriov_numvfs")) {
        device.num_vfs = *num_vfs;
        device.total_vfs = device.total_vfs.value_or(unlimited_vfs);
    }
    return device;
}

}  // namespace

SysfsSnapshot read_sysfs(const std::string &root, const std::set<Handle> &wanted,
                         bool with_netdevs) {
    SysfsSnapshot snapshot;
    const auto take = [&](const Handle &handle, auto *read) {
        const std::string path = root + "/bus/" + handle.bus + "/devices/" + handle.device;
        if (std::optional<SysfsDevice> device = read(path)) {
            if (with_netdevs) {
                device->ifindexes = read_netdevs(path);
            }
            snapshot.devices.emplace(handle, std::move(*device));
        }
    };
    for (const std::string &name : entries(root + "/bus/pci/devices")) {
        take({"pci", name}, read_pci);
    }
    for (const std::string &name : entries(root + "/bus/auxiliary/devices")) {
        take({"auxiliary", name}, read_auxiliary);
    }
    for (const Handle &handle : wanted) {
        take(handle, read_other);
    }
    return snapshot;
}

}  // namespace vdpa::agent::host
