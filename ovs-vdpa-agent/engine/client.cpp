// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/engine/client.hpp"

#include <boost/asio/post.hpp>

#include "ovs-vdpa-agent/engine/timeouts.hpp"
#include "ovs-vdpa-agent/ovs/log.hpp"

namespace vdpa::agent::engine {

namespace {

using boost::asio::local::stream_protocol;
using nlohmann::json;
using schema::Reason;

const log::Module module("engine");
log::RateLimit limit;

bool compatible(const schema::EngineInfo &info) {
    return info.schema_major == schema::schema_major &&
           info.schema_minor + 1 >= schema::schema_minor;
}

std::string version_text(uint32_t major, uint32_t minor) {
    return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

Client::Client(boost::asio::io_context &io, size_t index, std::string path,
               EngineListener &listener)
    : io_(io), index_(index), path_(std::move(path)), listener_(listener), retry_(io) {}

Client::~Client() {
    closing_ = true;
    if (connection_) {
        connection_->close();
    }
}

void Client::set_start_params(const schema::EngineStartParams &params) {
    const bool first = !params_;
    const bool changed = params_ != params;
    params_ = params;
    if (first) {
        connect();
    } else if (changed && ready_) {
        start_dpdk();
    }
}

template <typename T>
void Client::call(const char *method, json params, std::chrono::milliseconds timeout,
                  Decoder<T> decode, Reply<T> done) {
    if (!connection_) {
        boost::asio::post(io_, [path = path_, done = std::move(done)] {
            done(fail(Reason::engine_down, path + ": not connected"));
        });
        return;
    }
    connection_->call(
        method, std::move(params), timeout,
        [this, method, decode, done = std::move(done)](Expected<json> answer) {
            if (!answer) {
                done(tl::make_unexpected(answer.error()));
                return;
            }
            auto decoded = decode(*answer, method);
            if (!decoded) {
                done(fail(Reason::engine_incompatible, path_ + ": answer to " + decoded.error()));
                return;
            }
            done(std::move(decoded->value));
        });
}

void Client::connect() {
    stream_protocol::socket socket(io_);
    boost::system::error_code error;
    // A connect to a local socket is done, or fails, at once; with a full backlog it fails too.
    socket.open(stream_protocol(), error);
    if (!error) {
        socket.non_blocking(true, error);
    }
    if (!error) {
        socket.connect(stream_protocol::endpoint(path_), error);
    }
    if (error) {
        report_down({Reason::engine_down, "no engine at " + path_ + ": " + error.message() +
                                              "; look at systemctl status ovs-vdpa-engine"});
        again_later();
        return;
    }
    connection_ = std::make_shared<RpcConnection>(std::move(socket), path_);
    connection_->start([this](const std::string &method,
                              const json &params) { take_notification(method, params); },
                       [this](const Error &why) { lost(why); });
    ask_info();
}

void Client::ask_info() {
    call<schema::EngineInfo>(schema::method::engine_info, encode(schema::Empty{}), call_timeout,
                             schema::decode_engine_info, [this](Expected<schema::EngineInfo> info) {
                                 if (info) {
                                     take_info(*info);
                                 } else if (connection_) {
                                     report_down(info.error());
                                     again_later();
                                 }
                             });
}

void Client::take_info(const schema::EngineInfo &info) {
    info_ = info;
    if (!compatible(info)) {
        report_down({Reason::engine_incompatible,
                     path_ + " speaks version " +
                         version_text(info.schema_major, info.schema_minor) +
                         " of the protocol and this agent version " +
                         version_text(schema::schema_major, schema::schema_minor) +
                         ": upgrade the older one"});
        again_later();
        return;
    }
    if (info.eal_state == schema::EalState::failed) {
        report_down({Reason::eal_failed, path_ + ": " +
                                             info.eal_detail.value_or("DPDK did not start") +
                                             "; then restart the engine"});
        again_later();
        return;
    }
    if (info.eal_state != schema::EalState::started) {
        report_down(
            start_refused_.value_or(Error{Reason::engine_starting, path_ + ": DPDK is starting"}));
    }
    start_dpdk();
}

void Client::start_dpdk() {
    call<schema::EngineStartResult>(
        schema::method::engine_start, encode(*params_), start_timeout,
        schema::decode_engine_start_result,
        [this, asked = *params_](Expected<schema::EngineStartResult> result) {
            if (!connection_) {
                return;
            }
            if (!result) {
                // If DPDK failed, the engine says more about it in its info.
                // That of a lost connection names the engine itself.
                const std::string &detail = result.error().detail;
                start_refused_ = Error{result.error().reason,
                                       detail.starts_with(path_) ? detail : path_ + ": " + detail};
                if (!ready_) {
                    report_down(*start_refused_);
                }
                again_later();
                return;
            }
            start_refused_.reset();
            if (asked != *params_) {
                start_dpdk();  // they were changed meanwhile: are these pending?
                return;
            }
            listener_.restart_pending(index_, result->restart_pending);
            if (!ready_) {
                ask_list();
            }
        });
}

void Client::refresh() {
    if (ready_ && connection_) {
        ask_list();
    }
}

void Client::ask_list() {
    call<schema::PortList>(schema::method::port_list, encode(schema::Empty{}), call_timeout,
                           schema::decode_port_list, [this](Expected<schema::PortList> list) {
                               if (!connection_) {
                                   return;
                               }
                               if (!list) {
                                   report_down(list.error());
                                   again_later();
                                   return;
                               }
                               module.info(path_ + ": " + (ready_ ? "asked again" : "connected") +
                                           ", " + std::to_string(list->ports.size()) + " ports");
                               ready_ = true;
                               down_.reset();
                               listener_.engine_ready(index_, info_, std::move(list->ports));
                           });
}

void Client::take_notification(const std::string &method, const json &params) {
    // What comes before the list is in the list.
    if (!ready_ || method != schema::method::port_changed) {
        return;
    }
    const auto status = schema::decode_port_status(params, method);
    if (!status) {
        module.warn(limit, path_ + ": " + status.error());
        return;
    }
    listener_.port_changed(index_, status->value);
}

void Client::lost(const Error &why) {
    connection_.reset();
    start_refused_.reset();
    report_down(why);
    again_later();
}

void Client::report_down(const Error &why) {
    if (closing_) {
        return;
    }
    ready_ = false;
    if (down_ != why) {
        down_ = why;
        if (why.reason == Reason::engine_starting) {
            module.info(why.detail);
        } else {
            module.warn(limit, why.detail);
        }
        listener_.engine_down(index_, why);
    }
}

void Client::again_later() {
    retry_.expires_after(reconnect_interval);
    retry_.async_wait([this](const boost::system::error_code &error) {
        if (error) {
            return;
        }
        if (connection_) {
            ask_info();
        } else {
            connect();
        }
    });
}

void Client::apply(const schema::PortSpec &spec, Reply<schema::PortApplyResult> done) {
    call<schema::PortApplyResult>(schema::method::port_apply, encode(spec), call_timeout,
                                  schema::decode_port_apply_result, std::move(done));
}

void Client::remove(const std::string &port, Reply<schema::PortRemoveResult> done) {
    call<schema::PortRemoveResult>(schema::method::port_remove,
                                   encode(schema::PortRemoveParams{port, {}}), call_timeout,
                                   schema::decode_port_remove_result, std::move(done));
}

void Client::remove_dead_socket(const std::string &port, const std::string &path,
                                Reply<schema::PortRemoveResult> done) {
    call<schema::PortRemoveResult>(
        schema::method::port_remove, encode(schema::PortRemoveParams{port, path}), call_timeout,
        schema::decode_port_remove_result,
        [done = std::move(done)](Expected<schema::PortRemoveResult> result) {
            if (result && result->socket_left) {
                done(fail(schema::Reason::socket_failed, *result->socket_left));
            } else {
                done(std::move(result));
            }
        });
}

void Client::stats(const std::string &port, Reply<schema::PortStats> done) {
    call<schema::PortStats>(schema::method::port_stats, encode(schema::PortName{port}),
                            call_timeout, schema::decode_port_stats, std::move(done));
}

void Client::reset_stats(const std::string &port, Reply<schema::Empty> done) {
    call<schema::Empty>(schema::method::port_reset_stats, encode(schema::PortName{port}),
                        call_timeout, schema::decode_empty, std::move(done));
}

}  // namespace vdpa::agent::engine
