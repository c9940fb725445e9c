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

BackgroundReads::BackgroundReads(boost::asio::io_context &io)
    : io_(io), shared_(std::make_shared<Shared>()) {
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

void BackgroundReads::start(const std::string &key) {
    Entry &entry = entries_.at(key);
    entry.is_busy = true;
    entry.running = std::exchange(entry.next, {});
    auto work = [shared = shared_, key, read = std::move(entry.running.read)] {
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
        std::thread(work).detach();
    } catch (const std::system_error &error) {
        module.error(limit, std::string("no thread can be made: ") + error.what());
        work();
    }
}

void BackgroundReads::finish(const std::string &key, const Answer &answer,
                             std::chrono::nanoseconds cost) {
    const std::shared_ptr<Shared> shared = shared_;
    Job finished = std::move(entries_.at(key).running);
    answer();
    for (const auto &done : finished.done) {
        done();
    }
    if (!shared->owner) {
        return;
    }
    Entry &entry = entries_.at(key);
    const auto pause = std::min<std::chrono::nanoseconds>(pause_factor * cost, longest_pause);
    entry.pause.expires_after(pause);
    entry.pause.async_wait([shared, key](const boost::system::error_code &error) {
        if (error || !shared->owner) {
            return;
        }
        Entry &rested = shared->owner->entries_.at(key);
        rested.is_busy = false;
        if (rested.next.read) {
            shared->owner->start(key);
        }
    });
}

}  // namespace vdpa::agent::host
