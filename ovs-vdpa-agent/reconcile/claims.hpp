// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <string>

namespace vdpa::agent::reconcile {

/* Which ports want which exclusive thing (a socket path, a device). Kept incrementally, so that a
 * change of one port concerns only those that want the same. */
class Claims {
  public:
    /* `port` wants `thing`, and nothing else any more; empty: nothing. Returns what it wanted
     * before. */
    std::string set(const std::string &port, const std::string &thing) {
        const std::string old = by(port);
        if (old == thing) {
            return old;
        }
        if (!old.empty()) {
            auto &others = by_thing_[old];
            others.erase(port);
            if (others.empty()) {
                by_thing_.erase(old);
            }
            by_port_.erase(port);
        }
        if (!thing.empty()) {
            by_thing_[thing].insert(port);
            by_port_[port] = thing;
        }
        return old;
    }

    /* What `port` wants; empty: nothing. */
    std::string by(const std::string &port) const {
        const auto held = by_port_.find(port);
        return held == by_port_.end() ? "" : held->second;
    }

    /* Every port that wants `thing`, by name. */
    const std::set<std::string> &of(const std::string &thing) const {
        static const std::set<std::string> none;
        const auto found = by_thing_.find(thing);
        return found == by_thing_.end() ? none : found->second;
    }

  private:
    std::map<std::string, std::string> by_port_;
    std::map<std::string, std::set<std::string>> by_thing_;
};

}  // namespace vdpa::agent::reconcile
