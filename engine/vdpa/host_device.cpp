// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/host_device.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <utility>
#include <vector>

namespace vdpa::engine::device {

namespace {

/* "12:3456", device and inode; empty when there is no such file. An entry of sysfs has the same
 * inode for as long as it is there, and no later one gets it. */
std::string inode_of(const std::string &path) {
    struct stat file {};
    if (::lstat(path.c_str(), &file) != 0) {
        return "";
    }
    return std::to_string(file.st_dev) + ":" + std::to_string(file.st_ino);
}

}  // namespace

HostDevice::HostDevice(DeviceAddress address, std::string sysfs)
    : address_(std::move(address)), sysfs_(std::move(sysfs)) {}

std::string HostDevice::folder() const {
    const char *bus = address_.bus == DeviceAddress::Bus::pci ? "pci" : "auxiliary";
    return sysfs_ + "/bus/" + bus + "/devices/" + address_.name;
}

std::string HostDevice::read_id(const char *attribute) const {
    std::string id;
    std::ifstream(folder() + "/" + attribute) >> id;
    return id;
}

std::string HostDevice::bound_to() const {
    std::error_code error;
    return std::filesystem::read_symlink(folder() + "/driver", error).filename().string();
}

std::string HostDevice::identity() const {
    if (!in_sysfs()) {
        return "present";
    }
    std::string identity = inode_of(folder() + "/uevent");
    if (identity.empty()) {
        return "";
    }
    identity += " " + inode_of(folder() + "/driver");
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(folder() + "/infiniband", error)) {
        identity += " " + inode_of(entry.path().string());
    }
    return identity;
}

/* DPDK 22.11, drivers/vdpa: mlx5 (drivers/common/mlx5, which takes its class from the arguments),
 * ifc/ifcvf_vdpa.c (pci_id_ifcvf_map), sfc/sfc_vdpa.c (pci_id_sfc_vdpa_efx_map). */
std::optional<HostDevice::Driver> HostDevice::driver() const {
    if (address_.bus == DeviceAddress::Bus::auxiliary) {
        if (address_.name.starts_with("mlx5_core.")) {
            return Driver{"mlx5", "mlx5_core.sf", "class=vdpa"};
        }
        return std::nullopt;
    }
    if (address_.bus != DeviceAddress::Bus::pci) {
        return std::nullopt;
    }
    const std::string vendor = read_id("vendor");
    if (vendor == "0x15b3") {
        return Driver{"mlx5", "mlx5_core", "class=vdpa"};
    }
    if (vendor == "0x1af4" && read_id("subsystem_vendor") == "0x8086") {
        return Driver{"ifc", "vfio-pci", "vdpa=1"};
    }
    if (vendor == "0x10ee" && read_id("device") == "0x1100") {
        return Driver{"sfc", "vfio-pci", "class=vdpa"};
    }
    return std::nullopt;
}

Expected<void> HostDevice::check() const {
    if (!in_sysfs()) {
        return {};
    }
    const std::string &name = address_.name;
    if (inode_of(folder() + "/uevent").empty()) {
        return fail(
            schema::Reason::device_missing,
            "there is no device " + name + " on this host: " + folder() + " does not exist");
    }
    const auto wanted = driver();
    const std::string bound = bound_to();
    if (!wanted || bound == wanted->kernel_driver) {
        return {};
    }
    const std::string bus = address_.bus == DeviceAddress::Bus::pci ? "pci" : "auxiliary";
    const std::string is =
        bound.empty() ? "is bound to no driver" : "is bound to the driver " + bound;
    const std::string how =
        wanted->kernel_driver == "vfio-pci"
            ? "driverctl set-override " + name + " vfio-pci"
            : "echo " + name + " > /sys/bus/" + bus + "/drivers/" + wanted->kernel_driver + "/bind";
    return fail(schema::Reason::driver_mismatch, name + " " + is + ", and DPDK's driver " +
                                                     wanted->name + " works with " +
                                                     wanted->kernel_driver + " alone: " + how);
}

std::string HostDevice::devargs() const {
    std::string text = address_.identifier;
    const auto wanted = driver();
    // Who gives the class of device himself knows why.
    if (wanted && !address_.has_argument("class") && !address_.has_argument("vdpa")) {
        text += "," + wanted->argument;
    }
    return address_.arguments.empty() ? text : text + "," + address_.arguments;
}

}  // namespace vdpa::engine::device
