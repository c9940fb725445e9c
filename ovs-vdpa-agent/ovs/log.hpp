// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

struct ovda_log_module;
struct ovda_log_limit;

namespace vdpa::agent::log {

/* Messages per minute and in one burst, shared by all the messages it is given to. Thread-safe. To
 * be a static object. */
class RateLimit {
  public:
    explicit RateLimit(unsigned int per_minute = 12, unsigned int burst = 10);

  private:
    friend class Module;
    ovda_log_limit *limit_; /* Lives as long as the process. */
};

/* A module of OVS's log (vlog): what `-v MODULE:LEVEL` and `ovs-appctl vlog/set` select by. To be a
 * static object at namespace scope, so that it exists when the command line is read. Its functions
 * may be called from any thread, also in static constructors. */
class Module {
  public:
    explicit Module(const char *name);

    void error(std::string_view text) const;
    void warn(std::string_view text) const;
    void info(std::string_view text) const;
    void debug(std::string_view text) const;

    /* For whatever a peer, a guest or an operator can make happen often. */
    void error(RateLimit &limit, std::string_view text) const;
    void warn(RateLimit &limit, std::string_view text) const;
    void info(RateLimit &limit, std::string_view text) const;

    /* Whether composing a debug message is worth it. */
    bool debug_enabled() const;

  private:
    ovda_log_module *module_; /* Lives as long as the process. */
};

/* Names the calling thread in its log lines: "ovs-vdpa-agent(NAME)". */
void set_thread_name(const std::string &name);

}  // namespace vdpa::agent::log
