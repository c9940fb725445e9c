// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/netdev_service.hpp"

namespace vdpa::agent::reconcile {

/* The netdevs of a host, the record of those that are ours, and what is heard of them. They stay
 * when the agent goes. */
class FakeNetdevs : public host::NetdevService {
  public:
    using Listener = std::function<void(const std::string &name, std::optional<int> ifindex)>;

    struct Netdev {
        int ifindex = 0;
        std::optional<uid_t> owner;
        bool multi_queue = false;
    };

    explicit FakeNetdevs(boost::asio::io_context &io) : io_(io) {}

    /* Who is told of changes from now on; the answers that the one before waits for are lost. */
    void attach(Listener listener) {
        listener_ = std::move(listener);
        agent_++;
        held_.clear();
    }

    void ensure_tap(const std::string &name, const host::TapSpec &spec,
                    std::function<void(Expected<host::TapState>)> done) override {
        calls.push_back("ensure " + name);
        act([this, name, spec, done] {
            auto result = ensure(name, spec);
            answer([done, result] { done(result); });
        });
    }
    void remove_tap(const std::string &name, std::function<void(Expected<void>)> done) override {
        calls.push_back("remove " + name);
        act([this, name, done] {
            auto result = remove(name);
            answer([done, result] { done(result); });
        });
    }
    void owned_taps(std::function<void(Expected<std::vector<std::string>>)> done) override {
        act([this, done] {
            if (record_error) {
                answer([done, error = *record_error] { done(tl::make_unexpected(error)); });
                return;
            }
            std::vector<std::string> names;
            for (const auto &[name, ifindex] : record) {
                names.push_back(name);
            }
            answer([done, names] { done(names); });
        });
    }

    /* What others do to the host. */
    void add_foreign(const std::string &name) {
        devices[name] = {.ifindex = next_ifindex_++, .owner = {}, .multi_queue = false};
        tell(name);
    }
    void remove_by_hand(const std::string &name) {
        devices.erase(name);
        tell(name);
    }
    void tell(const std::string &name) {
        const auto found = devices.find(name);
        const auto ifindex =
            found == devices.end() ? std::nullopt : std::optional(found->second.ifindex);
        answer([this, name, ifindex] { listener_(name, ifindex); });
    }
    bool has(const std::string &name) const { return devices.contains(name); }
    size_t count(const std::string &call) const {
        size_t n = 0;
        for (const auto &made : calls) {
            n += made == call ? 1 : 0;
        }
        return n;
    }

    /* Requests are not carried out until they are let go. */
    void hold() { holding_ = true; }
    /* The first of those, while the others go on being held. */
    void let_one_go() {
        const auto first = std::move(held_.front());
        held_.erase(held_.begin());
        first();
    }
    void let_go() {
        holding_ = false;
        for (auto &held : std::exchange(held_, {})) {
            act(held);
        }
    }

    std::function<std::optional<Error>(const std::string &name)> ensure_error;
    std::function<std::optional<Error>(const std::string &name)> remove_error;
    std::optional<Error> record_error;
    /* Called between the act and its answer. */
    std::function<void()> before_answer;
    std::map<std::string, Netdev> devices;
    std::map<std::string, int> record;
    std::vector<std::string> calls;

  private:
    Expected<host::TapState> ensure(const std::string &name, const host::TapSpec &spec) {
        const auto found = devices.find(name);
        if (found != devices.end() &&
            (!record.contains(name) || record[name] != found->second.ifindex)) {
            return fail(schema::Reason::name_taken, name + " is not ours");
        }
        if (const auto error = ensure_error ? ensure_error(name) : std::nullopt) {
            // As the real one, which makes the netdev before it finds out, and ends it then.
            tell(name);
            return tl::make_unexpected(*error);
        }
        const bool created = found == devices.end();
        const bool was_recorded = record.contains(name);
        Netdev &device = devices[name];
        if (created) {
            device.ifindex = next_ifindex_++;
            device.multi_queue = spec.multi_queue;
            record[name] = device.ifindex;
            tell(name);
        }
        device.owner = spec.owner ? spec.owner : device.owner;
        return host::TapState{.ifindex = device.ifindex,
                              .created = created,
                              .replaced = created && was_recorded,
                              .multi_queue = device.multi_queue};
    }
    Expected<void> remove(const std::string &name) {
        if (const auto error = remove_error ? remove_error(name) : std::nullopt) {
            return tl::make_unexpected(*error);
        }
        const auto found = devices.find(name);
        if (found != devices.end() && record.contains(name) &&
            record[name] == found->second.ifindex) {
            devices.erase(found);
            tell(name);
        }
        record.erase(name);
        return {};
    }
    void act(std::function<void()> what) {
        if (holding_) {
            held_.push_back(std::move(what));
        } else {
            boost::asio::post(io_, [this, agent = agent_, what = std::move(what)] {
                if (agent == agent_) {
                    what();
                    if (const auto hook = std::exchange(before_answer, nullptr)) {
                        hook();
                    }
                }
            });
        }
    }
    void answer(std::function<void()> what) {
        boost::asio::post(io_, [this, agent = agent_, what = std::move(what)] {
            if (agent == agent_) {
                what();
            }
        });
    }

    boost::asio::io_context &io_;
    Listener listener_;
    uint64_t agent_ = 0;
    int next_ifindex_ = 10;
    bool holding_ = false;
    std::deque<std::function<void()>> held_;
};

}  // namespace vdpa::agent::reconcile
