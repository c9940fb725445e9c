// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/read_retry.hpp"

#include <algorithm>
#include <utility>

namespace vdpa::agent::host {

namespace {

log::RateLimit limit;

}  // namespace

RetryTimer::RetryTimer(boost::asio::io_context &io, RetryIntervals intervals)
    : intervals_(intervals), timer_(io) {}

void RetryTimer::after_failure(std::function<void()> act) {
    if (pending_) {
        return;
    }
    pending_ = std::make_shared<std::function<void()>>(std::move(act));
    interval_ = std::clamp(interval_ * 2, intervals_.first, intervals_.last);
    timer_.expires_after(interval_);
    // A handler that is queued already is not cancelled, and may outlive this.
    timer_.async_wait([this, pending = std::weak_ptr(pending_)](const auto & /*cancelled*/) {
        if (const auto due = pending.lock()) {
            pending_.reset();
            (*due)();
        }
    });
}

void RetryTimer::reset() {
    interval_ = {};
    pending_.reset();
    timer_.cancel();
}

ReadRetry::ReadRetry(boost::asio::io_context &io, const log::Module &module, std::string what,
                     std::function<void()> again, std::function<void()> changed,
                     RetryIntervals intervals)
    : module_(module),
      what_(std::move(what)),
      again_(std::move(again)),
      changed_(std::move(changed)),
      timer_(io, intervals) {}

void ReadRetry::failed(const std::string &why) {
    timer_.after_failure(again_);
    std::string problem = what_ + ": " + why +
                          "; what is known may be out of date. It is tried again until it works; "
                          "if this lasts, see the kernel's log";
    if (problem_.empty()) {
        module_.error(limit, problem);
    }
    if (problem != std::exchange(problem_, problem)) {
        changed_();
    }
}

void ReadRetry::succeeded() {
    timer_.reset();
    if (!std::exchange(problem_, {}).empty()) {
        module_.info(limit, what_ + ": this is over");
        changed_();
    }
}

}  // namespace vdpa::agent::host
