// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/vdpa_worker.hpp"

#include <boost/asio/post.hpp>
#include <memory>

namespace vdpa::agent::host {

VdpaWorker::VdpaWorker(boost::asio::io_context &control, OwnedFile record)
    : VdpaWorker(control, VdpaDevices(std::make_unique<KernelVdpa>(), std::move(record))) {}

VdpaWorker::VdpaWorker(boost::asio::io_context &control, VdpaDevices devices)
    : control_(control), devices_(std::move(devices)), workers_("vdpa") {}

template <typename T>
void VdpaWorker::add(std::function<Expected<T>(VdpaDevices &)> act,
                     std::function<void(Expected<T>)> done) {
    workers_.add({"vdpa"}, [this, act = std::move(act), done = std::move(done)] {
        boost::asio::post(control_, [done, result = act(devices_)] { done(result); });
    });
}

void VdpaWorker::ensure_vdpa(const VdpaSpec &spec, std::function<void(Expected<Made>)> done) {
    add<Made>([spec](VdpaDevices &devices) { return devices.ensure(spec); }, std::move(done));
}

void VdpaWorker::remove_vdpa(const std::string &name, std::function<void(Expected<void>)> done) {
    add<void>([name](VdpaDevices &devices) { return devices.remove(name); }, std::move(done));
}

void VdpaWorker::owned_vdpa(std::function<void(Expected<std::vector<std::string>>)> done) {
    add<std::vector<std::string>>([](VdpaDevices &devices) { return devices.owned(); },
                                  std::move(done));
}

void VdpaWorker::vdpa_stats(const std::string &name, uint32_t queues,
                            std::function<void(Expected<std::map<uint32_t, VdpaCounters>>)> done) {
    add<std::map<uint32_t, VdpaCounters>>(
        [name, queues](VdpaDevices &devices) { return devices.stats(name, queues); },
        std::move(done));
}

}  // namespace vdpa::agent::host
