// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/hardware_device.hpp"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_vdpa.h>

#include <cerrno>

#include "engine/dpdk_errors.hpp"
#include "engine/log.hpp"

namespace vdpa::engine::device {

namespace {

constexpr const char *module = "vdpa";

/* Takes a device out of DPDK. */
void unplug(const std::string &name, rte_device &device) {
    if (const int result = rte_dev_remove(&device); result != 0) {
        VDPA_LOG(err, module, "%s: DPDK cannot let go of it: %s", name.c_str(),
                 errno_text(-result).c_str());
    }
}

Error plug_error(const HostDevice &host, int result, const std::string &said) {
    const std::string &name = host.address().name;
    const std::string why =
        (said.empty() ? errno_text(-result) : said) + " (devargs " + host.devargs() + ")";
    switch (-result) {
        case ENODEV:
            return {schema::Reason::device_missing, "DPDK does not find " + name + ": " + why};
        case EBUSY:
            return {schema::Reason::device_busy, "another program uses " + name + ": " + why};
        case ENOTSUP:
            return {schema::Reason::device_unsupported,
                    "no driver of DPDK takes " + name + ": " + why};
        default:
            return {schema::Reason::device_failed, "DPDK could not take " + name + ": " + why};
    }
}

}  // namespace

Expected<std::unique_ptr<HardwareDevice>> HardwareDevice::open(const HostDevice &host) {
    if (auto usable = host.check(); !usable) {
        return tl::make_unexpected(usable.error());
    }
    const std::string &name = host.address().name;
    {
        const DpdkErrors errors;
        // -EEXIST: left plugged by an attempt to unplug it that failed.
        const int result = rte_dev_probe(host.devargs().c_str());
        if (result != 0 && result != -EEXIST) {
            return tl::make_unexpected(plug_error(host, result, errors.text()));
        }
    }
    rte_vdpa_device *handle = rte_vdpa_find_device_by_name(name.c_str());
    if (!handle) {
        // Whatever took it is another kind of driver; it is taken out by way of its bus.
        const size_t colon = host.address().identifier.rfind(':' + name);
        const std::string bus = host.address().bus == DeviceAddress::Bus::pci ? "pci"
                                : colon == std::string::npos
                                    ? "vdev"
                                    : host.address().identifier.substr(0, colon);
        rte_eal_hotplug_remove(bus.c_str(), name.c_str());
        return fail(
            schema::Reason::device_unsupported,
            "DPDK's driver of " + name + " offers no vDPA device (devargs " + host.devargs() + ")");
    }
    auto found = read_capabilities(name, *handle);
    if (!found) {
        unplug(name, *handle->device);
        return tl::make_unexpected(found.error());
    }
    VDPA_LOG(info, module, "%s: opened, %u queue pairs, features %#llx", name.c_str(),
             found->queue_pairs, static_cast<unsigned long long>(found->features));
    return std::unique_ptr<HardwareDevice>(new HardwareDevice(host, *handle, *found));
}

HardwareDevice::HardwareDevice(const HostDevice &host, rte_vdpa_device &handle,
                               const Capabilities &found)
    : Device(host.address().name, handle, found),
      host_(host),
      identity_(host.identity()),
      device_(*handle.device) {}

HardwareDevice::~HardwareDevice() {
    release();
    unplug(name(), device_);
}

Expected<void> HardwareDevice::check() {
    const std::string now = removed_ ? "" : host_.identity();
    if (now == identity_) {
        return {};
    }
    if (now.empty()) {
        return fail(schema::Reason::device_missing,
                    name() + " has gone; the port is served again when it is back");
    }
    return fail(schema::Reason::device_failed,
                name() + " was reset or has another driver now: it is opened anew");
}

}  // namespace vdpa::engine::device
