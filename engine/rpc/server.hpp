// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "engine/rpc/listener.hpp"
#include "schema/engine_methods.hpp"

namespace vdpa::engine::rpc {

class Connection;

/* What a server takes from its peers, all of them together and each. */
struct Limits {
    size_t connections = 32;
    /* Requests of one connection that wait for their answer; at this number it is not read. */
    size_t unanswered = 64;
    /* Bytes that wait for a peer that does not read; beyond, it is disconnected. */
    size_t output_bytes = size_t{8} << 20;
};

/* Serves JSON-RPC 2.0, one message a line, to processes of root and of our own user. Whatever a
 * peer sends, the others do not notice. Everything happens on the thread that runs the
 * io_context, `methods` included. */
class Server {
  public:
    /* The user at the other end of a socket; none when the kernel does not say. */
    using PeerUser = std::function<std::optional<uid_t>(int fd)>;

    /* `methods` must outlive the server. */
    Server(boost::asio::io_context &context, Listener listener, schema::EngineMethods &methods,
           Limits limits = {}, PeerUser peer_user = socket_peer_user);
    ~Server();
    Server(const Server &) = delete;
    Server &operator=(const Server &) = delete;

    /* Sends a notification to every connection. */
    void notify(const char *method, nlohmann::json params);
    size_t connections() const { return connections_.size(); }
    const std::string &path() const { return listener_.path(); }
    /* Accepts nothing more and disconnects everybody, after what they are owed was sent as far
     * as that goes without waiting. */
    void stop();

    /* SO_PEERCRED, see unix(7). */
    static std::optional<uid_t> socket_peer_user(int fd);

  private:
    void accept();
    void on_accept(const boost::system::error_code &error,
                   boost::asio::local::stream_protocol::socket socket);
    bool welcome(int fd) const;

    Listener listener_;
    schema::EngineMethods &methods_;
    const Limits limits_;
    PeerUser peer_user_;
    boost::asio::local::stream_protocol::acceptor acceptor_;
    boost::asio::steady_timer pause_;
    std::unordered_set<std::shared_ptr<Connection>> connections_;
    /* Tells handlers that outlive the server that it is gone. */
    std::shared_ptr<Server *> self_;
};

}  // namespace vdpa::engine::rpc
