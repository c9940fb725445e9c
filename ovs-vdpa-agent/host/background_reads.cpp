// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/background_reads.hpp"

#include <boost/asio/post.hpp>
#include <mutex>
#include <system_error>
#include <thread>

#include "ovs-vdpa-agent/host/processor_time.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::host {

namespace {

const log::Module module("background_reads");
log::RateLimit limit;

/* Between two reads of a key, in units of the time that the last took. */
constexpr int pause_factor = 4;
constexpr std::chrono::seconds longest_pause{1};

}  // namespace

struct BackgroundReads::Shared {
    std::mutex mutex;  // of `io`
    boost::asio::io_context *io = nullptr;
    BackgroundReads *owner = nullptr;
};

BackgroundReads::BackgroundReads(boost::asio::io_context &io, size_t most_threads)
    : io_(io), most_threads_(most_threads), shared_(std::make_shared<Shared>()) {
    shared_->io = &io;
    shared_->owner = this;
}

BackgroundReads::~BackgroundReads() {
    const std::lock_guard lock(shared_->mutex);
    shared_->io = nullptr;
    shared_->owner = nullptr;
}

void BackgroundReads::run(const std::string &key, Read read, std::function<void()> done) {
    Entry &entry = entries_.try_emplace(key, io_).first->second;
    entry.next.read = std::move(read);
    if (done) {
        entry.next.done.push_back(std::move(done));
    }
    if (!entry.is_busy) {
        start(key);
    }
}

void BackgroundReads::drop(const std::string &key) {
    const auto found = entries_.find(key);
    if (found == entries_.end()) {
        return;
    }
    found->second.next = {};
    // One that is under way, or has just been, ends by itself.
    if (std::erase(waiting_, key) != 0) {
        entries_.erase(found);
    }
}

void BackgroundReads::start(const std::string &key) {
    Entry &entry = entries_.at(key);
    entry.is_busy = true;
    if (threads_ >= most_threads_) {
        waiting_.push_back(key);
        return;
    }
    auto work = [shared = shared_, key, read = entry.next.read] {
        const auto begin = processor_time();
        Answer answer = read();
        const auto cost = processor_time() - begin;
        const std::lock_guard lock(shared->mutex);
        if (shared->io) {
            boost::asio::post(*shared->io, [shared, key, answer = std::move(answer), cost] {
                if (shared->owner) {
                    shared->owner->finish(key, answer, cost);
                }
            });
        }
    };
    try {
        std::thread(std::move(work)).detach();
    } catch (const std::system_error &error) {
        // Late is better than to have the control thread wait.
        module.error(limit,
                     std::string("no thread can be made, which is tried again: ") + error.what());
        rest(key, longest_pause);
        return;
    }
    threads_++;
    entry.done = std::exchange(entry.next, {}).done;
}

void BackgroundReads::start_waiting() {
    while (!waiting_.empty() && threads_ < most_threads_) {
        const std::string key = std::move(waiting_.front());
        waiting_.pop_front();
        start(key);
    }
}

void BackgroundReads::finish(const std::string &key, const Answer &answer,
                             std::chrono::nanoseconds cost) {
    const std::shared_ptr<Shared> shared = shared_;
    const auto finished = std::exchange(entries_.at(key).done, {});
    answer();
    for (const auto &done : finished) {
        done();
    }
    if (!shared->owner) {
        return;
    }
    threads_--;
    start_waiting();
    rest(key, std::min<std::chrono::nanoseconds>(pause_factor * cost, longest_pause));
}

void BackgroundReads::rest(const std::string &key, std::chrono::nanoseconds pause) {
    Entry &entry = entries_.at(key);
    entry.pause.expires_after(pause);
    entry.pause.async_wait([shared = shared_, key](const boost::system::error_code &error) {
        if (!error && shared->owner) {
            shared->owner->end_rest(key);
        }
    });
}

/* A key that nothing is asked of is not kept: others choose what keys there are. */
void BackgroundReads::end_rest(const std::string &key) {
    Entry &entry = entries_.at(key);
    if (entry.next.read) {
        start(key);
    } else {
        entries_.erase(key);
    }
}

}  // namespace vdpa::agent::host
