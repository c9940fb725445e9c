// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/connection.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <vector>

#include "engine/log.hpp"

namespace vdpa::engine::rpc {

namespace {

constexpr const char *module = "rpc";

/* Messages that go out in one system call. */
constexpr size_t max_gather = 16;

void log_unknown_fields(const std::vector<std::string> &fields) {
    for (const std::string &field : fields) {
        VDPA_LOG_LIMITED(info, module, "%s: field is not known to this version and ignored",
                         field.c_str());
    }
}

}  // namespace

Connection::Connection(Socket socket, schema::EngineMethods &methods, const Limits &limits)
    : socket_(std::move(socket)), methods_(methods), limits_(limits) {}

void Connection::start(OnClosed on_closed) {
    on_closed_ = std::move(on_closed);
    read();
}

void Connection::read() {
    if (reading_ || closed_ || finishing_ || unanswered_ >= limits_.unanswered || !lines_.empty()) {
        return;
    }
    reading_ = true;
    socket_.async_read_some(
        boost::asio::buffer(input_),
        [self = shared_from_this()](const boost::system::error_code &error, size_t length) {
            self->on_read(error, length);
        });
}

void Connection::on_read(const boost::system::error_code &error, size_t length) {
    reading_ = false;
    if (closed_ || finishing_) {
        return;
    }
    if (error) {
        close();
        return;
    }
    // At most one buffer's worth of lines waits here: nothing more is read before they are done.
    const bool framed = framer_.feed({input_.data(), length},
                                     [this](std::string_view line) { lines_.emplace_back(line); });
    handle_lines();
    if (!framed && !closed_) {
        VDPA_LOG_LIMITED(warn, module, "a peer sent a line of more than %zu bytes: disconnected",
                         schema::max_message_bytes);
        answer(nullptr, tl::make_unexpected(schema::RpcFailure{
                            schema::RpcError::invalid_request,
                            "a message has at most " + std::to_string(schema::max_message_bytes) +
                                " bytes"}));
        finish_after_output();
        return;
    }
    read();
}

void Connection::handle_lines() {
    if (handling_) {
        return;  // an answer given at once, from within handle(): the loop below goes on
    }
    handling_ = true;
    while (!closed_ && !lines_.empty() && unanswered_ < limits_.unanswered) {
        const std::string line = std::move(lines_.front());
        lines_.pop_front();
        handle(line);
    }
    handling_ = false;
}

void Connection::handle(const std::string &line) {
    auto request = parse_request(line);
    if (!request) {
        answer(request.error().id, tl::make_unexpected(request.error().failure));
        return;
    }
    if (!request->id) {
        schema::dispatch(methods_, request->method, request->params, log_unknown_fields,
                         [](const Reply &) {});
        return;
    }
    ++unanswered_;
    schema::dispatch(methods_, request->method, request->params, log_unknown_fields,
                     [weak = weak_from_this(), id = *request->id](const Reply &reply) {
                         if (const auto self = weak.lock()) {
                             --self->unanswered_;
                             self->answer(id, reply);
                             self->handle_lines();
                             self->read();
                         }
                     });
}

void Connection::answer(const nlohmann::json &id, const Reply &reply) {
    send(std::make_shared<const std::string>(reply ? encode_result(id, *reply)
                                                   : encode_error(id, reply.error())));
}

void Connection::send(std::shared_ptr<const std::string> line) {
    if (closed_ || finishing_) {
        return;
    }
    output_bytes_ += line->size();
    output_.push_back(std::move(line));
    if (output_bytes_ > limits_.output_bytes) {
        VDPA_LOG_LIMITED(warn, module, "a peer does not read its %zu bytes: disconnected",
                         output_bytes_);
        close();
        return;
    }
    write();
}

void Connection::write() {
    if (writing_ != 0 || output_.empty() || closed_) {
        return;
    }
    writing_ = std::min(output_.size(), max_gather);
    std::vector<boost::asio::const_buffer> buffers;
    buffers.reserve(writing_);
    for (size_t i = 0; i < writing_; ++i) {
        buffers.push_back(boost::asio::buffer(*output_[i]));
    }
    boost::asio::async_write(socket_, buffers,
                             [self = shared_from_this()](const boost::system::error_code &error,
                                                         size_t) { self->on_write(error); });
}

void Connection::on_write(const boost::system::error_code &error) {
    for (size_t i = 0; i < writing_; ++i) {
        output_bytes_ -= output_.front()->size();
        output_.pop_front();
    }
    writing_ = 0;
    if (closed_) {
        return;
    }
    if (error || (finishing_ && output_.empty())) {
        close();
        return;
    }
    write();
}

void Connection::finish_after_output() {
    // The kernel keeps what was sent on a unix socket for the peer, even when we close with
    // input unread.
    finishing_ = true;
    if (output_.empty()) {
        close();
    }
}

void Connection::stop() {
    on_closed_ = nullptr;
    if (closed_) {
        return;
    }
    if (writing_ == 0) {
        // Answers given in the last moment, for example to what asked us to end.
        boost::system::error_code ignored;
        socket_.non_blocking(true, ignored);
        for (const auto &line : output_) {
            socket_.write_some(boost::asio::buffer(*line), ignored);
        }
    }
    close();
}

void Connection::close() {
    if (closed_) {
        return;
    }
    closed_ = true;
    const auto self = shared_from_this();
    boost::system::error_code ignored;
    socket_.shutdown(Socket::shutdown_both, ignored);
    socket_.close(ignored);
    lines_.clear();
    if (const auto on_closed = std::exchange(on_closed_, nullptr)) {
        on_closed(self);
    }
}

}  // namespace vdpa::engine::rpc
