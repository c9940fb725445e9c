// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "engine/port_table.hpp"
#include "engine/watchdog.hpp"
#include "schema/engine_methods.hpp"

namespace vdpa::engine {

/* What the engine does for its RPC clients. For the RPC thread; owns the DPDK control thread, which
 * makes every call of DPDK that is not on the packet path or in a callback, one after the
 * other. */
class Engine : public schema::EngineMethods {
  public:
    /* `rpc` is run by the RPC thread. `rpc_socket`: beside it a socket may be made for an
     * instant. `watchdog`, which must not make a round any more when this ends, is told of every
     * thread. */
    Engine(boost::asio::io_context &rpc, std::string rpc_socket, Watchdog &watchdog,
           PortTable::Notify notify);
    /* Ends every port, and waits for it. */
    ~Engine() override;
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    void engine_info(Reply<schema::EngineInfo> reply) override;
    void engine_start(const schema::EngineStartParams &params,
                      Reply<schema::EngineStartResult> reply) override;
    void port_apply(const schema::PortSpec &params, Reply<schema::PortApplyResult> reply) override;
    void port_remove(const schema::PortRemoveParams &params,
                     Reply<schema::PortRemoveResult> reply) override;
    void port_list(Reply<schema::PortList> reply) override;
    void port_stats(const schema::PortName &params, Reply<schema::PortStats> reply) override;
    void port_reset_stats(const schema::PortName &params, Reply<schema::Empty> reply) override;

  private:
    struct Waiting {
        schema::EngineStartParams params;
        Reply<schema::EngineStartResult> reply;
    };

    Pulse control_pulse();
    void on_started(const Expected<std::vector<Pulse>> &result);
    void answer_start(const Waiting &waiting) const;

    boost::asio::io_context &rpc_;
    const std::string rpc_socket_;
    Watchdog &watchdog_;
    const std::string instance_;
    schema::EalState eal_state_ = schema::EalState::unset;
    schema::EngineStartParams started_with_;
    std::string eal_detail_;
    std::vector<Waiting> waiting_;

    boost::asio::io_context control_;
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> control_work_;
    PortRunner runner_;
    PortTable ports_;
    std::atomic<uint64_t> control_beats_{0};
    std::thread control_thread_;
};

}  // namespace vdpa::engine
