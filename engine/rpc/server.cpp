// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/server.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "engine/log.hpp"
#include "engine/rpc/connection.hpp"

namespace vdpa::engine::rpc {

namespace {

constexpr const char *module = "rpc";

/* When accept() cannot have a file descriptor or memory, the connection stays in the queue, and
 * trying again at once would spin. */
constexpr std::chrono::milliseconds accept_pause{100};

}  // namespace

Server::Server(boost::asio::io_context &context, Listener listener, schema::EngineMethods &methods,
               Limits limits, PeerUser peer_user)
    : listener_(std::move(listener)),
      methods_(methods),
      limits_(limits),
      peer_user_(std::move(peer_user)),
      acceptor_(context),
      pause_(context),
      self_(std::make_shared<Server *>(this)) {
    acceptor_.assign(boost::asio::local::stream_protocol(), ::dup(listener_.fd()));
    accept();
}

Server::~Server() {
    *self_ = nullptr;
    stop();
}

void Server::stop() {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto &connection : connections_) {
        connection->stop();
    }
    connections_.clear();
}

void Server::accept() {
    acceptor_.async_accept([self = self_](const boost::system::error_code &error,
                                          boost::asio::local::stream_protocol::socket socket) {
        if (*self) {
            (*self)->on_accept(error, std::move(socket));
        }
    });
}

void Server::on_accept(const boost::system::error_code &error,
                       boost::asio::local::stream_protocol::socket socket) {
    if (error == boost::asio::error::operation_aborted || !acceptor_.is_open()) {
        return;
    }
    if (error) {
        VDPA_LOG_LIMITED(warn, module, "%s: accept failed: %s", path().c_str(),
                         error.message().c_str());
        pause_.expires_after(accept_pause);
        pause_.async_wait([self = self_](const boost::system::error_code &cancelled) {
            if (!cancelled && *self) {
                (*self)->accept();
            }
        });
        return;
    }
    if (welcome(socket.native_handle())) {
        const auto connection = std::make_shared<Connection>(std::move(socket), methods_, limits_);
        connections_.insert(connection);
        connection->start([self = self_](const std::shared_ptr<Connection> &closed) {
            if (*self) {
                (*self)->connections_.erase(closed);
            }
        });
    }
    accept();
}

bool Server::welcome(int fd) const {
    const auto user = peer_user_(fd);
    if (!user || (*user != 0 && *user != ::geteuid())) {
        VDPA_LOG_LIMITED(warn, module,
                         "a process of user %ld is refused: only root and user %ld "
                         "may use the RPC socket",
                         user ? static_cast<long>(*user) : -1L, static_cast<long>(::geteuid()));
        return false;
    }
    if (connections_.size() >= limits_.connections) {
        VDPA_LOG_LIMITED(warn, module, "a connection beyond %zu is refused", limits_.connections);
        return false;
    }
    return true;
}

void Server::notify(const char *method, nlohmann::json params) {
    const auto line =
        std::make_shared<const std::string>(encode_notification(method, std::move(params)));
    // send() may disconnect a peer, which then leaves the set.
    const auto peers = connections_;
    for (const auto &connection : peers) {
        connection->send(line);
    }
}

std::optional<uid_t> Server::socket_peer_user(int fd) {
    ucred credentials{};
    socklen_t length = sizeof(credentials);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
        return std::nullopt;
    }
    return credentials.uid;
}

}  // namespace vdpa::engine::rpc
