// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>

#include "ovs-vdpa-agent/host/keyed_workers.hpp"
#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/vdpa_devices.hpp"
#include "ovs-vdpa-agent/host/vdpa_service.hpp"

namespace vdpa::agent::host {

/* Carries requests about kernel vDPA devices out in their order on one thread, because the kernel
 * serialises them (vdpa_dev_lock in drivers/vdpa/vdpa.c). */
class VdpaWorker : public VdpaService {
  public:
    /* Answers are posted to `control`, which must outlive this. */
    VdpaWorker(boost::asio::io_context &control, OwnedFile record);
    VdpaWorker(boost::asio::io_context &control, VdpaDevices devices);

    void ensure_vdpa(const VdpaSpec &spec, std::function<void(Expected<Made>)> done) override;
    void remove_vdpa(const std::string &name, std::function<void(Expected<void>)> done) override;
    void owned_vdpa(std::function<void(Expected<std::vector<std::string>>)> done) override;
    void vdpa_stats(const std::string &name, uint32_t queues,
                    std::function<void(Expected<std::map<uint32_t, VdpaCounters>>)> done) override;

  private:
    template <typename T>
    void add(std::function<Expected<T>(VdpaDevices &)> act, std::function<void(Expected<T>)> done);

    boost::asio::io_context &control_;
    VdpaDevices devices_;   // of the thread
    KeyedWorkers workers_;  // last, so that they end before what they use
};

}  // namespace vdpa::agent::host
