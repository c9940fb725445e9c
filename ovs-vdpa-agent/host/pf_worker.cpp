// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/pf_worker.hpp"

#include <boost/asio/post.hpp>
#include <memory>

#include "ovs-vdpa-agent/host/pf_acts.hpp"

namespace vdpa::agent::host {

PfWorker::PfWorker(boost::asio::io_context &control, OwnedFile record)
    : PfWorker(control, record, [acts = std::make_shared<PfActs>(record)](const PfStep &step) {
          return acts->carry_out(step);
      }) {}

PfWorker::PfWorker(boost::asio::io_context &control, OwnedFile record, Act act)
    : control_(control), record_(std::move(record)), act_(std::move(act)), workers_("pf") {}

void PfWorker::carry_out(const PfStep &step, std::function<void(Expected<void>)> done) {
    workers_.add({step.pf.text()}, [this, step, done = std::move(done)] {
        boost::asio::post(control_, [done, result = act_(step)] { done(result); });
    });
}

void PfWorker::read_record(std::function<void(Expected<PfRecord>)> done) {
    workers_.add({}, [this, done = std::move(done)] {
        auto result = record_.load().map([this] {
            const Owned owned = record_.get();
            PfRecord record{.unbound = owned.unbound};
            for (const auto &[pf, entry] : owned.pfs) {
                if (entry.made_vfs) {
                    record.made[pf] = *entry.made_vfs;
                }
            }
            return record;
        });
        boost::asio::post(control_, [done, result = std::move(result)] { done(result); });
    });
}

}  // namespace vdpa::agent::host
