// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>
#include <string_view>

namespace vdpa::engine {

/* Collects the errors that DPDK logs on this thread, from when it is made until it ends: most
 * functions of DPDK say by their log alone why they failed. Scopes may nest; the innermost
 * collects. */
class DpdkErrors {
  public:
    /* `expected`: the caller deals with them, they are no news for the log. */
    explicit DpdkErrors(bool expected = false);
    ~DpdkErrors();
    DpdkErrors(const DpdkErrors &) = delete;
    DpdkErrors &operator=(const DpdkErrors &) = delete;

    /* The last few, as one line; empty when there were none. */
    std::string text() const;

    /* For the log: DPDK has said `line` on this thread. Whether somebody expected that. */
    static bool note(std::string_view line);

  private:
    const bool expected_;
    DpdkErrors *const outer_;
    std::deque<std::string> lines_;
};

}  // namespace vdpa::engine
