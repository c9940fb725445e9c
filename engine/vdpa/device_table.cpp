// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/device_table.hpp"

namespace vdpa::engine::device {

Expected<std::shared_ptr<Device>> DeviceTable::open_hardware(const std::string &text) {
    auto address = parse_device_address(text);
    if (!address) {
        return tl::make_unexpected(address.error());
    }
    Entry &entry = hardware_[address->name];
    if (auto open = entry.device.lock()) {
        if (entry.address == *address) {
            return open;
        }
        return fail(schema::Reason::device_busy, address->name + " is open with the arguments \"" +
                                                     entry.address.arguments +
                                                     "\", which have to be given up first");
    }
    auto opened = HardwareDevice::open(HostDevice(*address, sysfs_));
    if (!opened) {
        hardware_.erase(address->name);
        return tl::make_unexpected(opened.error());
    }
    const std::shared_ptr<HardwareDevice> device = std::move(*opened);
    entry = {.address = std::move(*address), .device = device};
    return device;
}

Expected<std::shared_ptr<Device>> DeviceTable::open_kernel(const std::string &path) {
    std::weak_ptr<KernelPortDevice> &entry = kernel_[path];
    if (auto open = entry.lock()) {
        return open;
    }
    auto opened = KernelPortDevice::open(path);
    if (!opened) {
        kernel_.erase(path);
        return tl::make_unexpected(opened.error());
    }
    const std::shared_ptr<KernelPortDevice> device = std::move(*opened);
    entry = device;
    return device;
}

void DeviceTable::on_removed(const std::string &name) {
    if (const auto found = hardware_.find(name); found != hardware_.end()) {
        if (const auto device = found->second.device.lock()) {
            device->on_removed();
        }
    }
}

}  // namespace vdpa::engine::device
