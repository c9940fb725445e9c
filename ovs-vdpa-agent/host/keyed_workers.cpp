// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/keyed_workers.hpp"

#include <algorithm>

#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

KeyedWorkers::KeyedWorkers(std::string name, size_t most_threads)
    : name_(std::move(name)), most_threads_(most_threads) {}

KeyedWorkers::~KeyedWorkers() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (std::thread &thread : threads_) {
        thread.join();
    }
}

void KeyedWorkers::add(std::set<std::string> keys, std::function<void()> act) {
    {
        const std::lock_guard lock(mutex_);
        waiting_.push_back({std::move(keys), std::move(act)});
        start_thread_if_needed();
    }
    wake_.notify_one();
}

size_t KeyedWorkers::threads() const {
    const std::lock_guard lock(mutex_);
    return threads_.size();
}

/* The first job that shares no key with one at hand or with one before it. */
KeyedWorkers::Jobs::iterator KeyedWorkers::find_ready() {
    std::set<std::string> taken = busy_;
    return std::find_if(waiting_.begin(), waiting_.end(), [&taken](const Job &job) {
        bool is_ready = true;
        for (const std::string &key : job.keys) {
            is_ready = taken.insert(key).second && is_ready;
        }
        return is_ready;
    });
}

void KeyedWorkers::start_thread_if_needed() {
    if (idle_ == 0 && threads_.size() < most_threads_ && !stop_ && find_ready() != waiting_.end()) {
        threads_.emplace_back([this] { run(); });
        idle_++;  // until it has found its job
    }
}

void KeyedWorkers::run() {
    log::set_thread_name(name_);
    std::unique_lock lock(mutex_);
    while (true) {
        auto ready = waiting_.end();
        wake_.wait(lock, [this, &ready] {
            ready = find_ready();
            return stop_ || ready != waiting_.end();
        });
        if (stop_) {
            return;
        }
        idle_--;
        Job job = std::move(*ready);
        waiting_.erase(ready);
        busy_.insert(job.keys.begin(), job.keys.end());
        start_thread_if_needed();
        lock.unlock();
        job.act();
        job.act = nullptr;
        lock.lock();
        for (const std::string &key : job.keys) {
            busy_.erase(key);
        }
        idle_++;
        // More than one may have waited for these keys.
        wake_.notify_all();
    }
}

}  // namespace vdpa::agent::host
