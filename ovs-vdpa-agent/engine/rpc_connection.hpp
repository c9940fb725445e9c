// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "schema/support/error.hpp"
#include "schema/support/json_lines.hpp"

namespace vdpa::agent::engine {

/* A JSON-RPC 2.0 connection to an engine's socket: requests, their answers, notifications.
 *
 * Used on one thread. Every call's handler is called exactly once: with the result, with the
 * engine's error, or with engine-down when the connection ends or the answer is late. A late answer
 * ends the connection, for an engine that does not answer cannot be relied on. */
class RpcConnection : public std::enable_shared_from_this<RpcConnection> {
  public:
    using Handler = std::function<void(Expected<nlohmann::json>)>;
    using OnNotification = std::function<void(const std::string &method, const nlohmann::json &)>;
    using OnClose = std::function<void(const Error &why)>;

    RpcConnection(boost::asio::local::stream_protocol::socket socket, std::string path);

    void start(OnNotification on_notification, OnClose on_close);
    void call(const char *method, nlohmann::json params, std::chrono::milliseconds timeout,
              Handler handler);
    /* Ends the connection; open calls are answered, on_close is not called. */
    void close();

  private:
    struct Call {
        std::string method;
        Handler handler;
        std::unique_ptr<boost::asio::steady_timer> timer;
    };
    void read();
    void write();
    void take(std::string_view line);
    void end(const std::string &problem);

    boost::asio::local::stream_protocol::socket socket_;
    std::string path_;
    LineFramer framer_;
    std::array<char, 65536> buffer_{};
    std::deque<std::string> output_;
    std::map<uint64_t, Call> calls_;
    uint64_t next_id_ = 1;
    OnNotification on_notification_;
    OnClose on_close_;
    bool open_ = true;
};

}  // namespace vdpa::agent::engine
