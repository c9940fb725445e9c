// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/device_request.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* The netdev that stands for a VF or SF on the switch side. */
struct Representor {
    int ifindex = 0;
    std::string netdev;
    bool up = false;
    std::optional<int> master;
    /* The devlink port of it; none where the driver has no devlink ports. */
    std::optional<uint32_t> devlink_port;
    Handle devlink;
    /* Whether devlink knows, and so can set, the function's MAC address. */
    bool has_function_mac = false;

    bool operator==(const Representor &) const = default;
};

/* A VF or an SF. */
struct Function {
    FunctionId id;  // pf_number is always set here
    /* pci/0000:43:00.2, auxiliary/mlx5_core.sf.4; none where it has no device on this host, as the
     * functions of an external controller and those of netdevsim. */
    std::optional<Handle> device;
    std::string driver;                // bound to the device; empty: none
    std::vector<std::string> netdevs;  // the function's own on this host
    /* One of them has an address or a master, or is up. */
    bool netdev_in_use = false;
    /* The same, taken apart: one that has an address or a master is somebody's; one that is no more
     * than up may be set down. */
    bool netdev_up = false;
    bool netdev_claimed = false;
    std::string mac;  // as the PF or the devlink port has it; empty: not known, or not set
    bool mac_is_unset = false;  // it is known, and all zeroes
    bool active = true;         // an SF that is not has no device yet
    std::optional<Representor> representor;

    bool operator==(const Function &) const = default;
};

/* The address of a function that was given none. */
inline const std::string no_mac = "00:00:00:00:00:00";

/* Of a device that does not say how many VFs it can have, such as netdevsim's. */
constexpr uint32_t unlimited_vfs = 0xffff;

struct Pf {
    /* unread: the device could not be asked yet, see eswitch_error. */
    enum class Eswitch { unsupported, legacy, switchdev, unread };

    Handle handle;
    uint16_t number = 0;  // devlink's pfnum; the PCI function number where there is none
    std::string driver;
    bool is_network = true;             // a network function, as far as its bus tells
    std::optional<uint32_t> total_vfs;  // sriov_totalvfs; none: the device has no SR-IOV
    uint32_t num_vfs = 0;
    Eswitch eswitch = Eswitch::unsupported;
    /* Why its mode could not be read when it was last asked, which is so again soon; empty: it
     * could. If it could once, `eswitch` is what it was then. */
    std::string eswitch_error;
    std::string switch_id;  // phys_switch_id; empty: none
    /* Its own netdevs: of flavour physical, or of the PCI function. */
    struct Uplink {
        int ifindex = 0;
        std::string netdev;
        bool up = false;
        bool operator==(const Uplink &) const = default;
    };
    std::vector<Uplink> uplinks;
    std::vector<Function> functions;

    bool operator==(const Pf &) const = default;
};

/* Whether both are of one adapter (a PCI slot) or of one switch (VF-LAG), so that the number of the
 * one may be said with the handle of the other. */
bool are_siblings(const Pf &a, const Pf &b);

/* A kernel vDPA device, as the vdpa netlink family has it (linux/vdpa.h). */
struct VdpaDevice {
    std::string name;
    std::string management;           // pci/0000:43:00.2, or vdpasim_net
    std::optional<std::string> path;  // /dev/vhost-vdpa-N; none: not bound to vhost_vdpa
    std::string mac;                  // empty: not known
    std::optional<uint16_t> mtu;
    std::optional<uint16_t> max_pairs;
    uint32_t max_virtqueues = 0;

    bool operator==(const VdpaDevice &) const = default;
};

struct VdpaManagement {
    std::string name;  // as in VdpaDevice::management
    bool has_net = false;
    uint32_t max_virtqueues = 0;

    bool operator==(const VdpaManagement &) const = default;
};

/* What this host has, as one value. Sorted by handle, number and name.
 *
 * A local function is in the PF that it belongs to, whichever handle its representor hangs off;
 * functions of external controllers are in the PF that has their representors. */
struct Inventory {
    std::vector<Pf> pfs;
    std::vector<VdpaDevice> vdpa_devices;
    std::vector<VdpaManagement> vdpa_managements;
    /* Devices that are neither a PF nor a function of one, so that what names one can be told so:
     * PCI network functions of whatever kind. */
    std::vector<Handle> others;
    bool has_vdpa = false;  // the kernel has the vdpa netlink family
    /* ...and the driver that gives vDPA devices a character device. */
    bool has_vhost_vdpa = false;
    /* What could not be read or listened to when it was tried last, each a sentence for the
     * operator; of that, the above is what was known before. */
    std::vector<std::string> problems;

    const Pf *pf(const Handle &handle) const;
    /* Also by the number of another PF of the same adapter or switch. */
    const Function *function(const FunctionId &id) const;
    const Function *function_with_device(const Handle &device) const;
    const Function *function_with_representor(const std::string &netdev) const;
    const VdpaDevice *vdpa_device(const std::string &name) const;
    const VdpaManagement *vdpa_management(const std::string &name) const;

    bool operator==(const Inventory &) const = default;
};

/* What a row's request is on this host. */
struct Target {
    const Pf *pf = nullptr;
    const Function *function = nullptr;
    /* Of KernelDevice, and of ManagedDevice once it is there. */
    const VdpaDevice *vdpa = nullptr;
    /* Of ManagedDevice, and of a KernelDevice whose name is that of a management device: the vDPA
     * device is ours to make of it. */
    const VdpaManagement *management = nullptr;
};

/* Finds the VF or SF, and with it the representor, that a row of that Interface name asks for, by
 * the first of the four ways that says anything: type=dpdk's devargs, vdpa-representor, the
 * accelerator's device, the Interface's own name being a representor's. The first three have to
 * agree. The fourth counts only where they say nothing, for a representor that has the name may be
 * the one to be exchanged for another.
 *
 * A kernel vDPA device whose parent is no function, such as a simulator, needs vdpa-representor or
 * a representor of the Interface's name; without one it is no-representor.
 *
 * A target has a function with a representor, except that one of a type=dpdk row may be without,
 * for it is Open vSwitch's. The function's device may be missing where the row's device is another
 * or derived. A management device may be without its vDPA device.
 *
 * Pointers are into `inventory`. Errors (with the object and what to do): no-device when nothing
 * says which; pf-missing, device-missing, sf-inactive, representor-missing, pf-legacy,
 * eswitch-unread, kernel-lacks for what may yet come; not-a-pf, not-a-vf, external-controller,
 * device-mismatch, no-representor, eswitch-unsupported for what has to be put right in the row. */
Expected<Target> resolve(const Inventory &inventory, const DeviceRequest &request,
                         const std::string &interface);

}  // namespace vdpa::agent::host
