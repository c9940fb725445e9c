// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "schema/engine_rpc.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::engine {

/* What is heard from an engine. All on the control thread. */
class EngineListener {
  public:
    virtual ~EngineListener() = default;
    /* The engine can be used; `ports` is all that it runs. Again after each reconnection, and
     * whenever it was asked again. */
    virtual void engine_ready(size_t engine, const schema::EngineInfo &info,
                              std::vector<schema::PortStatus> ports) = 0;
    /* The engine cannot be used, and why; also when the reason changes. Nothing is known of its
     * ports from now on: it may be dead, or alive and serving them. */
    virtual void engine_down(size_t engine, const Error &why) = 0;
    virtual void port_changed(size_t engine, const schema::PortStatus &status) = 0;
    /* DPDK's arguments in the database are not those the engine was started with. */
    virtual void restart_pending(size_t engine, bool pending) = 0;
};

/* One engine, as the reconciler uses it. Every call is answered exactly once, later, on the control
 * thread; with engine-down when the connection is lost first. */
class EngineService {
  public:
    template <typename T>
    using Reply = std::function<void(Expected<T>)>;

    virtual ~EngineService() = default;
    /* RPC socket. */
    virtual const std::string &path() const = 0;
    /* What the engine is to be started with; connects when called for the first time. */
    virtual void set_start_params(const schema::EngineStartParams &params) = 0;
    virtual void apply(const schema::PortSpec &spec, Reply<schema::PortApplyResult> done) = 0;
    virtual void remove(const std::string &port, Reply<schema::PortRemoveResult> done) = 0;
    /* Has the engine clear away what one before it, which died, left at `path`, where it served
     * `port`; and the port, if the engine has it. An engine that cannot answers that it is
     * socket-failed. */
    virtual void remove_dead_socket(const std::string &port, const std::string &path,
                                    Reply<schema::PortRemoveResult> done) = 0;
    virtual void stats(const std::string &port, Reply<schema::PortStats> done) = 0;
    /* Has the counters of the port begin at 0 again. */
    virtual void reset_stats(const std::string &port, Reply<schema::Empty> done) = 0;
};

}  // namespace vdpa::agent::engine
