// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <boost/asio/local/stream_protocol.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "engine/rpc/request.hpp"
#include "engine/rpc/server.hpp"
#include "schema/engine_methods.hpp"
#include "schema/support/json_lines.hpp"

namespace vdpa::engine::rpc {

/* One peer. It is read as fast as its requests are answered, and ends when it closes, sends what
 * is no line of JSON-RPC's size, or does not read what it asked for. */
class Connection : public std::enable_shared_from_this<Connection> {
  public:
    using Socket = boost::asio::local::stream_protocol::socket;
    using OnClosed = std::function<void(const std::shared_ptr<Connection> &)>;

    Connection(Socket socket, schema::EngineMethods &methods, const Limits &limits);

    /* `on_closed` is called once, when the peer is gone or was disconnected by us. */
    void start(OnClosed on_closed);
    void send(std::shared_ptr<const std::string> line);
    /* Sends what can be sent at once, and closes. No on_closed. */
    void stop();

  private:
    using Reply = schema::RpcResult<nlohmann::json>;

    void read();
    void on_read(const boost::system::error_code &error, size_t length);
    void handle_lines();
    void handle(const std::string &line);
    void answer(const nlohmann::json &id, const Reply &reply);
    void write();
    void on_write(const boost::system::error_code &error);
    void finish_after_output();
    void close();

    Socket socket_;
    schema::EngineMethods &methods_;
    const Limits limits_;
    OnClosed on_closed_;
    LineFramer framer_{schema::max_message_bytes};
    std::array<char, 16384> input_{};
    std::deque<std::string> lines_;
    std::deque<std::shared_ptr<const std::string>> output_;
    size_t output_bytes_ = 0;
    size_t writing_ = 0;
    size_t unanswered_ = 0;
    bool reading_ = false;
    bool handling_ = false;
    bool finishing_ = false;
    bool closed_ = false;
};

}  // namespace vdpa::engine::rpc
