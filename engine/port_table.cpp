// SPDX-License-Identifier: Apache-2.0
#include "engine/port_table.hpp"

#include <boost/asio/post.hpp>
#include <mutex>

namespace vdpa::engine {

namespace {

/* Hands the newest of a fast series of values to another thread. */
class Mailbox {
  public:
    /* Whether the other side has to be told: it was not yet, of an earlier value. */
    bool put(const vhost::Live &live) {
        const std::lock_guard lock(mutex_);
        newest_ = live;
        return !std::exchange(told_, true);
    }
    vhost::Live take() {
        const std::lock_guard lock(mutex_);
        told_ = false;
        return newest_;
    }

  private:
    std::mutex mutex_;
    vhost::Live newest_;
    bool told_ = false;
};

}  // namespace

/* The RPC thread's, but for the mailbox. */
struct PortTable::Entry {
    schema::PortSpec spec;
    uint64_t generation = 0;
    std::optional<Outcome> outcome;
    vhost::Live live;
    std::optional<schema::PortStatus> published;
    bool removed = false;
    Mailbox mailbox;
};

PortTable::PortTable(boost::asio::io_context &rpc, boost::asio::io_context &control,
                     PortRunner &runner, Notify notify)
    : rpc_(rpc), control_(control), runner_(runner), notify_(std::move(notify)) {}

PortTable::~PortTable() = default;

schema::RpcResult<schema::PortApplyResult> PortTable::apply(const schema::PortSpec &spec) {
    if (spec.netdev_awaited && spec.device.kind != schema::DeviceKind::tap) {
        return tl::make_unexpected(schema::RpcFailure{schema::RpcError::invalid_params,
                                                      "netdev_awaited: a device of kind " +
                                                          std::string(to_string(spec.device.kind)) +
                                                          " is no netdev"});
    }
    const auto found = entries_.find(spec.name);
    if (found != entries_.end()) {
        Entry &entry = *found->second;
        const bool failed = entry.outcome && entry.outcome->generation == entry.generation &&
                            (entry.outcome->error || entry.live.fault || entry.live.datapath.fault);
        if (entry.spec == spec && !failed) {
            return schema::PortApplyResult{.generation = entry.generation, .changed = false};
        }
        entry.spec = spec;
        entry.generation = ++generation_;
        carry_out(found->second);
        return schema::PortApplyResult{.generation = entry.generation, .changed = true};
    }
    if (entries_.size() >= max_ports) {
        return tl::make_unexpected(
            schema::RpcFailure{schema::RpcError::too_many_ports,
                               "the engine serves " + std::to_string(max_ports) +
                                   " ports already, as many as it can: start a further engine"});
    }
    const auto entry = std::make_shared<Entry>();
    entry->spec = spec;
    entry->generation = ++generation_;
    entries_.emplace(spec.name, entry);
    carry_out(entry);
    return schema::PortApplyResult{.generation = entry->generation, .changed = true};
}

void PortTable::carry_out(const std::shared_ptr<Entry> &entry) {
    auto report = [this, entry](const Outcome &outcome) {
        boost::asio::post(rpc_, [this, entry, outcome] {
            entry->outcome = outcome;
            publish(*entry);
        });
    };
    auto report_live = [this, entry](const vhost::Live &live) {
        if (entry->mailbox.put(live)) {
            boost::asio::post(rpc_, [this, entry] {
                entry->live = entry->mailbox.take();
                publish(*entry);
            });
        }
    };
    boost::asio::post(
        control_, [this, spec = entry->spec, generation = entry->generation,
                   report = std::move(report), report_live = std::move(report_live)]() mutable {
            runner_.apply(spec, generation, std::move(report), std::move(report_live));
        });
}

bool PortTable::remove(const std::string &name) {
    const auto found = entries_.find(name);
    if (found == entries_.end()) {
        return false;
    }
    const auto entry = found->second;
    entries_.erase(found);
    entry->removed = true;
    boost::asio::post(control_, [this, entry] {
        runner_.remove(entry->spec.name);
        boost::asio::post(rpc_, [this, entry] {
            schema::PortStatus status;
            status.name = entry->spec.name;
            status.generation = entry->generation;
            status.state = schema::PortState::removed;
            status.spec = entry->spec;
            notify_(status);
        });
    });
    return true;
}

void PortTable::publish(Entry &entry) {
    // Until the first outcome there is nothing to say; a removed port has its last word to come.
    if (entry.removed || !entry.outcome) {
        return;
    }
    schema::PortStatus status = derive_status(entry.spec, entry.outcome, entry.live);
    if (status != entry.published) {
        entry.published = status;
        notify_(status);
    }
}

std::vector<schema::PortStatus> PortTable::list() const {
    std::vector<schema::PortStatus> statuses;
    statuses.reserve(entries_.size());
    for (const auto &[name, entry] : entries_) {
        statuses.push_back(derive_status(entry->spec, entry->outcome, entry->live));
    }
    return statuses;
}

void PortTable::reset_stats(const std::string &name,
                            schema::EngineMethods::Reply<schema::Empty> reply) {
    if (!entries_.contains(name)) {
        reply(tl::make_unexpected(
            schema::RpcFailure{schema::RpcError::no_such_port, "there is no port " + name}));
        return;
    }
    boost::asio::post(control_, [this, name, reply = std::move(reply)]() mutable {
        runner_.reset_stats(name);
        boost::asio::post(rpc_, [reply = std::move(reply)] { reply(schema::Empty{}); });
    });
}

void PortTable::stats(const std::string &name,
                      schema::EngineMethods::Reply<schema::PortStats> reply) {
    if (!entries_.contains(name)) {
        reply(tl::make_unexpected(
            schema::RpcFailure{schema::RpcError::no_such_port, "there is no port " + name}));
        return;
    }
    boost::asio::post(control_, [this, name, reply = std::move(reply)]() mutable {
        schema::PortStats result{.name = name, .queues = runner_.stats(name)};
        boost::asio::post(
            rpc_, [result = std::move(result), reply = std::move(reply)] { reply(result); });
    });
}

}  // namespace vdpa::engine
