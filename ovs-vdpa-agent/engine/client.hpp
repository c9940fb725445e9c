// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <optional>
#include <string>

#include "ovs-vdpa-agent/engine/engine_service.hpp"
#include "ovs-vdpa-agent/engine/rpc_connection.hpp"

namespace vdpa::agent::engine {

/* Keeps a connection to one engine, starts DPDK in it where that has not been done, and tells the
 * listener what it runs.
 *
 *      (connect) --> info --> start (unless started) --> list --> ready
 *          ^           |         |                        |         |
 *          +-----------+---------+--- lost, late, wrong --+---------+
 *
 * An engine whose DPDK failed to start is watched until somebody restarts it. */
class Client : public EngineService {
  public:
    /* `index` is handed to the listener, which must outlive this, as must `io`. */
    Client(boost::asio::io_context &io, size_t index, std::string path, EngineListener &listener);
    ~Client() override;

    const std::string &path() const override { return path_; }
    /* Asks again what the engine runs, and tells the listener by engine_ready(). An engine that is
     * not there is tried all the time anyway. */
    void refresh();
    void set_start_params(const schema::EngineStartParams &params) override;
    void apply(const schema::PortSpec &spec, Reply<schema::PortApplyResult> done) override;
    void remove(const std::string &port, Reply<schema::PortRemoveResult> done) override;
    void remove_dead_socket(const std::string &port, const std::string &path,
                            Reply<schema::PortRemoveResult> done) override;
    void stats(const std::string &port, Reply<schema::PortStats> done) override;
    void reset_stats(const std::string &port, Reply<schema::Empty> done) override;

  private:
    template <typename T>
    using Decoder = tl::expected<schema::Decoded<T>, std::string> (*)(const nlohmann::json &,
                                                                      std::string_view);
    template <typename T>
    void call(const char *method, nlohmann::json params, std::chrono::milliseconds timeout,
              Decoder<T> decode, Reply<T> done);
    void connect();
    void ask_info();
    void take_info(const schema::EngineInfo &info);
    void start_dpdk();
    void ask_list();
    void take_notification(const std::string &method, const nlohmann::json &params);
    void lost(const Error &why);
    void report_down(const Error &why);
    void again_later();

    boost::asio::io_context &io_;
    size_t index_;
    std::string path_;
    EngineListener &listener_;
    std::optional<schema::EngineStartParams> params_;
    std::shared_ptr<RpcConnection> connection_;
    boost::asio::steady_timer retry_;
    schema::EngineInfo info_;
    bool ready_ = false;
    bool closing_ = false;  // what is still open is answered, and nobody is told any more
    std::optional<Error> down_;
    std::optional<Error> start_refused_;  // the last answer to engine.start, if it was one
};

}  // namespace vdpa::agent::engine
