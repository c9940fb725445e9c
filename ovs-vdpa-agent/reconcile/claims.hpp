// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <string>

namespace vdpa::agent::reconcile {

/* Which ports want, have or watch which things, each thing under a name. Kept incrementally, so
 * that a change of one port concerns only those that have to do with the same things. */
class Claims {
  public:
    using Names = std::set<std::string>;

    /* `port` claims `things`, and nothing else any more. Returns those that it claimed before or
     * claims now, but not both. */
    Names set(const std::string &port, Names things) {
        const Names &before = by(port);
        Names differ;
        std::set_symmetric_difference(before.begin(), before.end(), things.begin(), things.end(),
                                      std::inserter(differ, differ.end()));
        for (const std::string &thing : differ) {
            if (things.contains(thing)) {
                by_thing_[thing].insert(port);
                continue;
            }
            const auto others = by_thing_.find(thing);
            others->second.erase(port);
            if (others->second.empty()) {
                by_thing_.erase(others);
            }
        }
        if (things.empty()) {
            by_port_.erase(port);
        } else if (!differ.empty()) {
            by_port_[port] = std::move(things);
        }
        return differ;
    }

    /* What `port` claims. */
    const Names &by(const std::string &port) const { return find(by_port_, port); }

    /* Every port that claims `thing`, by name. */
    const Names &of(const std::string &thing) const { return find(by_thing_, thing); }

  private:
    using Index = std::map<std::string, Names>;

    static const Names &find(const Index &index, const std::string &key) {
        static const Names none;
        const auto found = index.find(key);
        return found == index.end() ? none : found->second;
    }

    Index by_port_;
    Index by_thing_;
};

}  // namespace vdpa::agent::reconcile
