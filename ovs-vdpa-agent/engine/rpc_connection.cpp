// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/engine/rpc_connection.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>

#include "ovs-vdpa-agent/ovs/log.hpp"
#include "schema/engine_rpc.hpp"
#include "schema/support/json_reader.hpp"

namespace vdpa::agent::engine {

namespace {

using nlohmann::json;
using schema::Reason;

const log::Module module("engine_rpc");
log::RateLimit limit;

/* The engine's error object as one of ours. */
Error error_of(const json &error, const std::string &method) {
    std::string message = "no message";
    if (error.is_object()) {
        if (const auto found = error.find("message"); found != error.end()) {
            if (const auto *text = found->get_ptr<const std::string *>()) {
                message = *text;
            }
        }
    }
    return {Reason::engine_error, method + ": " + message};
}

}  // namespace

RpcConnection::RpcConnection(boost::asio::local::stream_protocol::socket socket, std::string path)
    : socket_(std::move(socket)), path_(std::move(path)), framer_(schema::max_message_bytes) {}

void RpcConnection::start(OnNotification on_notification, OnClose on_close) {
    on_notification_ = std::move(on_notification);
    on_close_ = std::move(on_close);
    read();
}

void RpcConnection::call(const char *method, json params, std::chrono::milliseconds timeout,
                         Handler handler) {
    if (!open_) {
        handler(fail(Reason::engine_down, path_ + ": not connected"));
        return;
    }
    const uint64_t id = next_id_++;
    auto timer = std::make_unique<boost::asio::steady_timer>(socket_.get_executor(), timeout);
    timer->async_wait([weak = weak_from_this(), id](const boost::system::error_code &error) {
        const auto self = weak.lock();
        if (error || !self) {
            return;
        }
        if (const auto late = self->calls_.find(id); late != self->calls_.end()) {
            self->end("does not answer " + late->second.method);
        }
    });
    calls_[id] = Call{method, std::move(handler), std::move(timer)};
    const json request = {
        {"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}};
    output_.push_back(request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
    if (output_.size() == 1) {
        write();
    }
}

void RpcConnection::close() {
    on_close_ = nullptr;
    end("closed");
}

void RpcConnection::read() {
    socket_.async_read_some(
        boost::asio::buffer(buffer_),
        [self = shared_from_this()](const boost::system::error_code &error, size_t size) {
            if (!self->open_) {
                return;
            }
            if (error) {
                self->end("the connection was lost: " + error.message());
                return;
            }
            const bool usable = self->framer_.feed(
                {self->buffer_.data(), size}, [&self](std::string_view line) { self->take(line); });
            if (!usable) {
                self->end("sent a line longer than 4 MiB");
            } else if (self->open_) {
                self->read();
            }
        });
}

void RpcConnection::write() {
    boost::asio::async_write(
        socket_, boost::asio::buffer(output_.front()),
        [self = shared_from_this()](const boost::system::error_code &error, size_t /*size*/) {
            if (!self->open_) {
                return;
            }
            if (error) {
                self->end("the connection was lost: " + error.message());
                return;
            }
            self->output_.pop_front();
            if (!self->output_.empty()) {
                self->write();
            }
        });
}

void RpcConnection::take(std::string_view line) {
    if (!open_) {
        return;
    }
    const json message = parse_untrusted_json(line);
    if (!message.is_object()) {
        end("sent something that is no JSON-RPC");
        return;
    }
    if (const auto method = message.find("method"); method != message.end()) {
        const auto *name = method->get_ptr<const std::string *>();
        const auto params = message.find("params");
        if (name && params != message.end() && on_notification_) {
            on_notification_(*name, *params);
        }
        return;
    }
    const auto id = message.find("id");
    if (id == message.end() || !id->is_number_unsigned()) {
        module.warn(limit, path_ + ": an answer without a usable id");
        return;
    }
    const auto found = calls_.find(id->get<uint64_t>());
    if (found == calls_.end()) {
        module.warn(limit, path_ + ": an answer to nothing that was asked");
        return;
    }
    const Call call = std::move(found->second);
    calls_.erase(found);
    call.timer->cancel();
    if (const auto error = message.find("error"); error != message.end()) {
        call.handler(tl::make_unexpected(error_of(*error, call.method)));
    } else if (const auto result = message.find("result"); result != message.end()) {
        call.handler(*result);
    } else {
        call.handler(fail(Reason::engine_error, call.method + ": an answer without result"));
    }
}

void RpcConnection::end(const std::string &problem) {
    if (!open_) {
        return;
    }
    open_ = false;
    boost::system::error_code ignored;
    socket_.close(ignored);
    const Error why{Reason::engine_down, path_ + ": " + problem};
    const auto calls = std::move(calls_);
    calls_.clear();
    for (const auto &[id, call] : calls) {
        call.timer->cancel();
        call.handler(tl::make_unexpected(why));
    }
    if (const auto on_close = std::exchange(on_close_, nullptr)) {
        on_close(why);
    }
    on_notification_ = nullptr;
}

}  // namespace vdpa::agent::engine
