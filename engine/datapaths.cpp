// SPDX-License-Identifier: Apache-2.0
#include "engine/datapaths.hpp"

#include "engine/vhost/relay_datapath.hpp"

namespace vdpa::engine {

Expected<std::unique_ptr<vhost::Datapath>> Datapaths::make(const schema::PortSpec &spec,
                                                           bool takes_over) {
    switch (spec.device.kind) {
        case schema::DeviceKind::tap:
            return vhost::RelayDatapath::make(workers_, spec, takes_over);
        case schema::DeviceKind::dpdk:
        case schema::DeviceKind::kernel:
            break;
    }
    return fail(schema::Reason::device_unsupported,
                "this engine has no datapath for the device " + spec.device.name);
}

}  // namespace vdpa::engine
