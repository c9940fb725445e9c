// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* A device as devlink names it (devlink(8)): the bus, and its name there. A PCI function has this
 * handle whether or not its driver knows devlink. */
struct Handle {
    std::string bus;
    std::string device;

    std::string text() const { return bus + "/" + device; }
    /* As operators write it: a PCI function by its address alone. */
    std::string label() const { return bus == "pci" ? device : text(); }
    auto operator<=>(const Handle &) const = default;
};

enum class Flavour { vf, sf };

/* Which function of which PF, as devlink port attributes have it (Documentation/networking/devlink/
 * devlink-port.rst). */
struct FunctionId {
    Handle pf;
    /* Of an external controller, a SmartNIC's host; none: the local one. */
    std::optional<uint32_t> controller;
    /* pfnum. In VF-LAG, representors of PF 1 hang off PF 0's handle. None: that of `pf` itself. */
    std::optional<uint16_t> pf_number;
    Flavour flavour = Flavour::vf;
    uint32_t number = 0;

    /* As vdpa-representor has it: 0000:43:00.0,pf0vf3. */
    std::string text() const;
    auto operator<=>(const FunctionId &) const = default;
};

/* What a row says of the device that is to serve its queues, parsed but not looked for. */

/* BDF[,k=v] or auxiliary:mlx5_core.sf.N[,k=v]: by DPDK's driver of that device. */
struct DpdkDevice {
    Handle device;          // pci/0000:43:00.2, auxiliary/mlx5_core.sf.4
    std::string arguments;  // "k=v,k=v", without a leading comma

    bool operator==(const DpdkDevice &) const = default;
};
/* vdpa:NAME, /dev/vhost-vdpa-N: a kernel vDPA device made by somebody else. One of the two is set.
 * Only the inventory tells a device from a management device of a bare name (vdpasim_net): see
 * Target::management. */
struct KernelDevice {
    std::string name;
    std::string path;

    bool operator==(const KernelDevice &) const = default;
};
/* vdpa:BUS/DEVICE: a kernel vDPA device of that management device, made and removed by us. */
struct ManagedDevice {
    std::string management;  // pci/0000:43:00.2

    bool operator==(const ManagedDevice &) const = default;
};
/* No device is named: the representor tells which. */
struct DerivedDevice {
    bool operator==(const DerivedDevice &) const = default;
};

using RequestedDevice = std::variant<DerivedDevice, DpdkDevice, KernelDevice, ManagedDevice>;

struct DeviceRequest {
    RequestedDevice device;
    /* vdpa-representor, or what dpdk-devargs says. */
    std::optional<FunctionId> representor;
    /* type=dpdk: the representor is Open vSwitch's own and is left alone. */
    bool is_dpdk_port = false;

    bool operator==(const DeviceRequest &) const = default;
};

/* Values of whoever writes the database: none is trusted, and what an error echoes of one is
 * bounded. PCI addresses are taken with or without domain, and given with it, in lower case. */

/* A PF: a PCI address, or a devlink handle (netdevsim/netdevsim10). Error: bad-device, whose detail
 * begins with the value. */
Expected<Handle> parse_pf(std::string_view text);

/* The value of vdpa-accelerator-devargs; never DerivedDevice. Error: bad-device. */
Expected<RequestedDevice> parse_accelerator(std::string_view text);

/* The value of vdpa-representor: PF,[[cK]pfM]vfN or PF,[[cK]pfM]sfN. Controller 0 is the local one.
 * Error: bad-representor. */
Expected<FunctionId> parse_representor(std::string_view text);

/* options:dpdk-devargs of a row of type dpdk: PF,representor=R among other arguments. R as in
 * DPDK's "Ethernet Device Standard Device Arguments" (doc/guides/prog_guide/poll_mode_drv.rst):
 * [[cK]pfM]vfN, [[cK]pfM]sfN, N, each number in brackets or not; but one function, no list and no
 * range. Error: bad-representor. */
Expected<FunctionId> parse_dpdk_devargs(std::string_view text);

/* What a row says; absent keys are none. */
struct DeviceKeys {
    std::optional<std::string_view> accelerator;   // vdpa-accelerator-devargs
    std::optional<std::string_view> representor;   // vdpa-representor
    bool is_dpdk_port = false;                     // type=dpdk
    std::optional<std::string_view> dpdk_devargs;  // looked at only if is_dpdk_port
};

/* All of it. Errors: bad-device, bad-representor, device-mismatch when vdpa-representor and
 * dpdk-devargs name different functions. */
Expected<DeviceRequest> parse_device_request(const DeviceKeys &keys);

}  // namespace vdpa::agent::host
