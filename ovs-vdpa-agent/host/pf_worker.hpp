// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>

#include "ovs-vdpa-agent/host/keyed_workers.hpp"
#include "ovs-vdpa-agent/host/owned.hpp"
#include "ovs-vdpa-agent/host/pf_service.hpp"

namespace vdpa::agent::host {

/* Carries the steps of a PF out one after the other on a thread, and those of different PFs on
 * different ones: the driver of one may be at work for ten seconds. */
class PfWorker : public PfService {
  public:
    /* What a step is, called on the threads, at the same time for different PFs. */
    using Act = std::function<Expected<void>(const PfStep &)>;

    /* Answers are posted to `control`, which must outlive this. */
    PfWorker(boost::asio::io_context &control, OwnedFile record);
    PfWorker(boost::asio::io_context &control, OwnedFile record, Act act);

    void carry_out(const PfStep &step, std::function<void(Expected<void>)> done) override;
    void read_record(std::function<void(Expected<PfRecord>)> done) override;

  private:
    boost::asio::io_context &control_;
    OwnedFile record_;
    Act act_;
    KeyedWorkers workers_;  // last, so that they end before what they use
};

}  // namespace vdpa::agent::host
