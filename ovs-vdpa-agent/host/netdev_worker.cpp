// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/netdev_worker.hpp"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

NetdevWorker::NetdevWorker(boost::asio::io_context &control, Taps taps)
    : control_(control), taps_(std::move(taps)), thread_([this] { run(); }) {}

NetdevWorker::~NetdevWorker() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void NetdevWorker::add(std::deque<Job> &queue, const std::string &name,
                       std::function<void(Taps &)> act) {
    {
        const std::lock_guard lock(mutex_);
        queue.push_back({next_number_++, name, std::move(act)});
    }
    wake_.notify_one();
}

void NetdevWorker::ensure_tap(const std::string &name, const TapSpec &spec,
                              std::function<void(Expected<TapState>)> done) {
    add(jobs_, name, [this, name, spec, done = std::move(done)](Taps &taps) {
        auto result = taps.ensure(name, spec);
        boost::asio::post(control_, [done, result = std::move(result)] { done(result); });
    });
}

void NetdevWorker::remove_tap(const std::string &name, std::function<void(Expected<void>)> done) {
    add(removals_, name, [this, name, done = std::move(done)](Taps &taps) {
        auto result = taps.remove(name);
        boost::asio::post(control_, [done, result = std::move(result)] { done(result); });
    });
}

void NetdevWorker::owned_taps(std::function<void(Expected<std::vector<std::string>>)> done) {
    add(jobs_, "", [this, done = std::move(done)](Taps &taps) {
        auto result = taps.owned();
        boost::asio::post(control_, [done, result = std::move(result)] { done(result); });
    });
}

void NetdevWorker::run() {
    log::set_thread_name("netdev");
    std::unique_lock lock(mutex_);
    while (true) {
        wake_.wait(lock, [this] { return stop_ || !jobs_.empty() || !removals_.empty(); });
        if (stop_) {
            return;
        }
        auto *queue = jobs_.empty() ? &removals_ : &jobs_;
        if (!jobs_.empty()) {
            // A removal that was asked for before goes first if it is about the same name.
            const auto same = std::find_if(
                removals_.begin(), removals_.end(), [&job = jobs_.front()](const Job &removal) {
                    return removal.name == job.name && removal.number < job.number;
                });
            if (same != removals_.end()) {
                std::rotate(removals_.begin(), same, same + 1);
                queue = &removals_;
            }
        }
        const Job job = std::move(queue->front());
        queue->pop_front();
        lock.unlock();
        job.act(taps_);
        lock.lock();
    }
}

}  // namespace vdpa::agent::host
