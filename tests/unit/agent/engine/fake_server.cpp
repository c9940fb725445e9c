// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/engine/fake_server.hpp"

#include <array>
#include <boost/asio/write.hpp>
#include <deque>

namespace vdpa::agent::engine {

using boost::asio::local::stream_protocol;
using nlohmann::json;

struct FakeServer::Peer {
    explicit Peer(stream_protocol::socket connection) : socket(std::move(connection)) {}

    stream_protocol::socket socket;
    std::string input;
    std::deque<std::string> output;
    std::array<char, 4096> buffer{};
};

FakeServer::FakeServer(boost::asio::io_context &io, const std::string &path)
    : acceptor_(io, stream_protocol::endpoint(path)) {
    accept();
}

FakeServer::~FakeServer() {
    hang_up();
}

void FakeServer::accept() {
    acceptor_.async_accept(
        [this](const boost::system::error_code &error, stream_protocol::socket socket) {
            if (error) {
                return;
            }
            connections++;
            peer_ = std::make_shared<Peer>(std::move(socket));
            read(peer_);
            accept();
        });
}

void FakeServer::read(const std::shared_ptr<Peer> &peer) {
    peer->socket.async_read_some(
        boost::asio::buffer(peer->buffer),
        [this, peer](const boost::system::error_code &error, size_t size) {
            if (error) {
                return;
            }
            peer->input.append(peer->buffer.data(), size);
            size_t end = 0;
            while ((end = peer->input.find('\n')) != std::string::npos) {
                requests.push_back(json::parse(peer->input.substr(0, end)));
                peer->input.erase(0, end + 1);
                if (const auto bytes = answer ? answer(requests.back()) : std::nullopt) {
                    write(*bytes);
                }
            }
            if (peer->socket.is_open()) {
                read(peer);
            }
        });
}

void FakeServer::write(const std::string &bytes) {
    peer_->output.push_back(bytes);
    if (peer_->output.size() == 1) {
        write_next(peer_);
    }
}

void FakeServer::write_next(const std::shared_ptr<Peer> &peer) {
    boost::asio::async_write(peer->socket, boost::asio::buffer(peer->output.front()),
                             [peer](const boost::system::error_code &error, size_t /*size*/) {
                                 if (error) {
                                     return;
                                 }
                                 peer->output.pop_front();
                                 if (!peer->output.empty()) {
                                     write_next(peer);
                                 }
                             });
}

void FakeServer::hang_up() {
    if (peer_) {
        boost::system::error_code ignored;
        peer_->socket.close(ignored);
    }
}

std::vector<std::string> FakeServer::methods() const {
    std::vector<std::string> names;
    for (const json &request : requests) {
        names.push_back(request["method"].get<std::string>());
    }
    return names;
}

std::string result_line(const json &request, json result) {
    return json{{"jsonrpc", "2.0"}, {"id", request["id"]}, {"result", std::move(result)}}.dump() +
           "\n";
}

std::string error_line(const json &request, int code, const std::string &message) {
    return json{{"jsonrpc", "2.0"},
                {"id", request["id"]},
                {"error", {{"code", code}, {"message", message}}}}
               .dump() +
           "\n";
}

std::string notification_line(const char *method, json params) {
    return json{{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}}.dump() +
           "\n";
}

}  // namespace vdpa::agent::engine
