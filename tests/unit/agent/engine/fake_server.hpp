// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace vdpa::agent::engine {

/* The other end of an engine's socket: keeps the requests of whoever connected last, and writes
 * what a test tells it to, byte for byte. */
class FakeServer {
  public:
    /* What is written for a request; nothing: nothing. */
    using Answer = std::function<std::optional<std::string>(const nlohmann::json &request)>;

    FakeServer(boost::asio::io_context &io, const std::string &path);
    ~FakeServer();

    void write(const std::string &bytes);
    void hang_up();

    /* Names of the methods that were called. */
    std::vector<std::string> methods() const;

    Answer answer;
    std::vector<nlohmann::json> requests;
    size_t connections = 0;

  private:
    struct Peer;
    void accept();
    void read(const std::shared_ptr<Peer> &peer);
    static void write_next(const std::shared_ptr<Peer> &peer);

    boost::asio::local::stream_protocol::acceptor acceptor_;
    std::shared_ptr<Peer> peer_;
};

/* Lines of a well-behaved engine. */
std::string result_line(const nlohmann::json &request, nlohmann::json result);
std::string error_line(const nlohmann::json &request, int code, const std::string &message);
std::string notification_line(const char *method, nlohmann::json params);

}  // namespace vdpa::agent::engine
