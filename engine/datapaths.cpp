// SPDX-License-Identifier: Apache-2.0
#include "engine/datapaths.hpp"

#include "engine/vdpa/device_table.hpp"
#include "engine/vdpa/vdpa_datapath.hpp"
#include "engine/vhost/relay_datapath.hpp"

namespace vdpa::engine {

Datapaths::Datapaths(relay::Workers &workers, vhost::EventThread &events)
    : workers_(workers), events_(events), devices_(std::make_unique<device::DeviceTable>()) {}

Datapaths::~Datapaths() = default;

void Datapaths::on_removed(const std::string &name) {
    devices_->on_removed(name);
}

Expected<std::unique_ptr<vhost::Datapath>> Datapaths::make(const schema::PortSpec &spec,
                                                           bool takes_over) {
    switch (spec.device.kind) {
        case schema::DeviceKind::tap:
            return vhost::RelayDatapath::make(workers_, spec, takes_over);
        case schema::DeviceKind::dpdk:
        case schema::DeviceKind::kernel:
            break;
    }
    auto opened = spec.device.kind == schema::DeviceKind::dpdk
                      ? devices_->open_hardware(spec.device.name)
                      : devices_->open_kernel(spec.device.name);
    if (!opened) {
        return tl::make_unexpected(opened.error());
    }
    return std::make_unique<device::VdpaDatapath>(std::move(*opened), events_,
                                                  vhost::offer_of(spec));
}

std::string Datapaths::exclusive_device(const schema::DeviceSpec &device) const {
    if (device.kind == schema::DeviceKind::dpdk) {
        if (const auto address = device::parse_device_address(device.name)) {
            return address->name;
        }
    }
    return device.kind == schema::DeviceKind::kernel ? device.name : "";
}

}  // namespace vdpa::engine
