// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "engine/relay/relay.hpp"
#include "engine/vhost/datapath.hpp"

namespace vdpa::engine {

/* The datapaths that this engine has, by the kind of device that a spec names. */
class Datapaths final : public vhost::DatapathMaker {
  public:
    /* `workers` move the packets of the software relay, and must outlive every datapath. */
    explicit Datapaths(relay::Workers &workers) : workers_(workers) {}

    /* Errors: those of RelayDatapath::make(). */
    Expected<std::unique_ptr<vhost::Datapath>> make(const schema::PortSpec &spec,
                                                    bool takes_over) override;

  private:
    relay::Workers &workers_;
};

}  // namespace vdpa::engine
