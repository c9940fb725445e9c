// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "engine/relay/relay.hpp"
#include "engine/vhost/datapath.hpp"
#include "engine/vhost/event_thread.hpp"

namespace vdpa::engine::device {
class DeviceTable;
}

namespace vdpa::engine {

/* The datapaths that this engine has, by the kind of device that a spec names. */
class Datapaths final : public vhost::DatapathMaker {
  public:
    /* `workers` move the packets of the software relay. Both must outlive every datapath. */
    Datapaths(relay::Workers &workers, vhost::EventThread &events);
    ~Datapaths() override;

    /* Errors: those of RelayDatapath::make(), of DeviceTable. */
    Expected<std::unique_ptr<vhost::Datapath>> make(const schema::PortSpec &spec,
                                                    bool takes_over) override;
    std::string exclusive_device(const schema::DeviceSpec &device) const override;

    /* DPDK says that the device of that name goes away. */
    void on_removed(const std::string &name);

  private:
    relay::Workers &workers_;
    vhost::EventThread &events_;
    const std::unique_ptr<device::DeviceTable> devices_;
};

}  // namespace vdpa::engine
