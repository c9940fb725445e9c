// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* A kernel vDPA device that is ours to make (`vdpa dev add`). */
struct VdpaSpec {
    std::string name;        // after the Interface
    std::string management;  // pci/0000:43:00.2, or vdpasim_net
    std::string mac;         // empty: the device's choice
    std::optional<uint16_t> mtu;
    uint16_t max_pairs = 1;

    bool operator==(const VdpaSpec &) const = default;
};

/* Counters of one queue, under the kernel's names (VDPA_ATTR_DEV_VENDOR_ATTR_NAME). */
using VdpaCounters = std::map<std::string, uint64_t>;

/* The kernel's vdpa netlink family (linux/vdpa.h). Requests may block behind a device that is being
 * deleted while it is open, so they are made on a slow worker; answers come later, each once, on
 * the control thread. */
class VdpaService {
  public:
    virtual ~VdpaService() = default;

    /* Makes the device unless it is there and ours. `done` gets the character device,
     * /dev/vhost-vdpa-N. What the management device cannot set (EOPNOTSUPP) is left out and named
     * in `notes`. Errors: name-taken, when a device of that name is not ours; device-missing, when
     * the management device is not there; kernel-lacks, when there is no vDPA, or no driver
     * vhost_vdpa; vdpa-failed, when it cannot be made or bound; record-failed. */
    struct Made {
        std::string path;
        std::vector<std::string> notes;
    };
    virtual void ensure_vdpa(const VdpaSpec &spec, std::function<void(Expected<Made>)> done) = 0;

    /* Removes the device if it is ours. That it is gone is no error. Errors: device-busy, while
     * somebody has it open; vdpa-failed; record-failed. */
    virtual void remove_vdpa(const std::string &name, std::function<void(Expected<void>)> done) = 0;

    /* Names of the devices that the record lists, which is read anew. Error: record-failed. */
    virtual void owned_vdpa(std::function<void(Expected<std::vector<std::string>>)> done) = 0;

    /* Vendor statistics of the queues of the device, by index; a queue without any has none. Error:
     * vdpa-failed, when there is no such device; kernel-lacks, when there is no vDPA. */
    virtual void vdpa_stats(
        const std::string &name, uint32_t queues,
        std::function<void(Expected<std::map<uint32_t, VdpaCounters>>)> done) = 0;
};

}  // namespace vdpa::agent::host
