// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace vdpa::agent::host {

/* A device as devlink names it (devlink(8)): the bus, and its name there. A PCI function has this
 * handle whether or not its driver knows devlink. */
struct Handle {
    std::string bus;
    std::string device;

    std::string text() const { return bus + "/" + device; }
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
 */
struct KernelDevice {
    std::string name;
    std::string path;

    bool operator==(const KernelDevice &) const = default;
};
/* vdpa:MGMTDEV: a kernel vDPA device of that management device, made and removed by us. */
struct ManagedDevice {
    std::string management;  // pci/0000:43:00.2, or a bare name: vdpasim_net

    bool operator==(const ManagedDevice &) const = default;
};
/* No device is named: the representor tells which. */
struct DerivedDevice {
    bool operator==(const DerivedDevice &) const = default;
};

struct DeviceRequest {
    std::variant<DerivedDevice, DpdkDevice, KernelDevice, ManagedDevice> device;
    /* vdpa-representor, or what dpdk-devargs says. */
    std::optional<FunctionId> representor;
    /* type=dpdk: the representor is Open vSwitch's own and is left alone. */
    bool is_dpdk_port = false;

    bool operator==(const DeviceRequest &) const = default;
};

}  // namespace vdpa::agent::host
