// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/host/tap.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::host {

/* The host's netdevs as the reconciler uses them: requests are answered later, each once, on the
 * control thread. Requests about one name are carried out in the order in which they are made. */
class NetdevService {
  public:
    virtual ~NetdevService() = default;

    /* See Taps::ensure(). */
    virtual void ensure_tap(const std::string &name, const TapSpec &spec,
                            std::function<void(Expected<TapState>)> done) = 0;
    /* See Taps::remove(). */
    virtual void remove_tap(const std::string &name, std::function<void(Expected<void>)> done) = 0;
    /* See Taps::owned(). */
    virtual void owned_taps(std::function<void(Expected<std::vector<std::string>>)> done) = 0;
};

}  // namespace vdpa::agent::host
