// SPDX-License-Identifier: Apache-2.0
#include "engine/port_runner.hpp"

#include <boost/asio/post.hpp>
#include <chrono>

#include "engine/eal.hpp"

namespace vdpa::engine {

namespace {

/* How long a socket that somebody removed stays away; a look at one costs two microseconds. */
constexpr std::chrono::seconds check_interval{2};

}  // namespace

PortRunner::PortRunner(boost::asio::io_context &context)
    : context_(context),
      check_ticker_(context, check_interval,
                    [this] {
                        check_all();
                        kept_folder_.remove_if_idle();
                    }),
      memory_watch_(context) {}

PortRunner::~PortRunner() = default;

Expected<void> PortRunner::start(const std::vector<std::string> &eal_args,
                                 const std::vector<unsigned> &cpus, const std::string &rpc_socket) {
    if (auto started = start_eal(eal_args); !started) {
        return started;
    }
    if (auto watched = memory_watch_.start(); !watched) {
        return fail(schema::Reason::eal_failed, watched.error().detail);
    }
    auto workers = relay::Workers::start(cpus);
    if (!workers) {
        return fail(schema::Reason::eal_failed, workers.error().detail);
    }
    workers_ = std::move(*workers);
    event_thread_ = std::make_unique<vhost::EventThread>(rpc_socket);
    datapaths_ = std::make_unique<Datapaths>(*workers_, *event_thread_);
    actors_.reset(new ActorContext{.vhost = {.datapaths = *datapaths_,
                                             .event_thread = *event_thread_,
                                             .kept_folder = &kept_folder_},
                                   .serving = {},
                                   .waiting = {},
                                   .retry_soon = [this](const std::string &name) {
                                       boost::asio::post(context_, [this, name] { retry(name); });
                                   }});
    device_events_ = std::make_unique<device::DeviceEvents>([this](const std::string &device,
                                                                   bool removed) {
        boost::asio::post(context_, [this, device, removed] { on_device_event(device, removed); });
    });
    check_ticker_.start();
    return {};
}

std::vector<Pulse> PortRunner::pulses() const {
    std::vector<Pulse> pulses = workers_->pulses();
    if (auto events = event_thread_->pulse()) {
        pulses.push_back(std::move(*events));
    }
    return pulses;
}

void PortRunner::stop() {
    check_ticker_.stop();
    memory_watch_.stop();
    device_events_.reset();
    entries_.clear();
    actors_.reset();
    datapaths_.reset();
    event_thread_.reset();
    workers_.reset();
    kept_folder_.remove();
}

void PortRunner::apply(const schema::PortSpec &spec, uint64_t generation, ReportOutcome report,
                       vhost::Port::Report report_live) {
    if (!actors_) {
        return;  // stopped
    }
    auto found = entries_.find(spec.name);
    if (found == entries_.end()) {
        found = entries_
                    .emplace(spec.name, Entry{std::make_unique<PortActor>(*actors_, spec.name,
                                                                          std::move(report_live)),
                                              std::move(report),
                                              {}})
                    .first;
    }
    this->report(found->second, found->second.actor->apply(spec, generation));
}

void PortRunner::remove(const std::string &name) {
    entries_.erase(name);
    // It may be called after this port: whoever clears up after an engine that was killed looks for
    // folders of ports that there are.
    kept_folder_.remove();
}

std::vector<schema::QueueStats> PortRunner::stats(const std::string &name) const {
    const auto found = entries_.find(name);
    return found == entries_.end() ? std::vector<schema::QueueStats>{}
                                   : found->second.actor->stats();
}

void PortRunner::reset_stats(const std::string &name) {
    if (const auto found = entries_.find(name); found != entries_.end()) {
        found->second.actor->reset_stats();
    }
}

void PortRunner::report(Entry &entry, const Outcome &outcome) {
    if (outcome != entry.reported) {
        entry.reported = outcome;
        entry.report(outcome);
    }
}

void PortRunner::retry(const std::string &name) {
    if (const auto found = entries_.find(name); found != entries_.end()) {
        report(found->second, found->second.actor->retry());
    }
}

void PortRunner::on_device_event(const std::string &device, bool removed) {
    if (!datapaths_) {
        return;  // stopped
    }
    if (removed) {
        datapaths_->on_removed(device);
    }
    check_all();
}

void PortRunner::check_all() {
    for (auto &[name, entry] : entries_) {
        report(entry, entry.actor->check());
    }
}

}  // namespace vdpa::engine
