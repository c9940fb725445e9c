// SPDX-License-Identifier: Apache-2.0
#include "engine/vdpa/device.hpp"

#include "engine/dpdk_errors.hpp"

namespace vdpa::engine::device {

Expected<Capabilities> read_capabilities(const std::string &name, rte_vdpa_device &device) {
    if (device.type != RTE_VHOST_VDPA_DEVICE_TYPE_NET) {
        return fail(schema::Reason::device_unsupported, name + " is no network device");
    }
    const DpdkErrors errors;
    Capabilities found;
    const char *asked = "queues";
    int result = device.ops->get_queue_num(&device, &found.queue_pairs);
    if (result == 0) {
        asked = "features";
        result = device.ops->get_features(&device, &found.features);
    }
    if (result == 0) {
        asked = "protocol features";
        result = device.ops->get_protocol_features(&device, &found.protocol_features);
    }
    if (result != 0) {
        const std::string said = errors.text();
        return fail(schema::Reason::device_failed, "the driver of " + name + " does not tell its " +
                                                       asked + " (" + std::to_string(result) + ")" +
                                                       (said.empty() ? "" : ": " + said));
    }
    if (found.queue_pairs == 0) {
        return fail(schema::Reason::device_failed, name + " has no queue pairs");
    }
    return found;
}

}  // namespace vdpa::engine::device
