// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.hpp"

#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cstdio>

#include "engine/log.hpp"
#include "engine/vhost/socket_file.hpp"

namespace vdpa::engine {

namespace {

constexpr const char *module = "engine";

std::string random_name() {
    std::array<unsigned char, 8> bytes{};
    [[maybe_unused]] const ssize_t got = ::getrandom(bytes.data(), bytes.size(), 0);
    std::string text;
    for (const unsigned char byte : bytes) {
        std::array<char, 3> hex{};
        std::snprintf(hex.data(), hex.size(), "%02x", byte);
        text += hex.data();
    }
    return text;
}

}  // namespace

Engine::Engine(boost::asio::io_context &rpc, std::string rpc_socket, Watchdog &watchdog,
               PortTable::Notify notify)
    : rpc_(rpc),
      rpc_socket_(std::move(rpc_socket)),
      watchdog_(watchdog),
      instance_(random_name()),
      control_work_(control_.get_executor()),
      runner_(control_),
      ports_(rpc, control_, runner_, std::move(notify)),
      control_thread_([this] {
          ::pthread_setname_np(::pthread_self(), "dpdk-control");
          while (control_.run_one() != 0) {
              ++control_beats_;
          }
      }) {
    watchdog_.watch(control_pulse());
}

Pulse Engine::control_pulse() {
    // Drivers of vDPA devices may take ten seconds for one call. How long DPDK takes to start, in
    // which it clears all of its hugepages, nobody can tell.
    return {.thread = "dpdk-control",
            .patience = std::chrono::seconds(60),
            .ask = [this] { boost::asio::post(control_, [] {}); },
            .beats =
                [this] {
                    if (eal_state_ == schema::EalState::starting) {
                        ++control_beats_;
                    }
                    return control_beats_.load();
                }};
}

Engine::~Engine() {
    boost::asio::post(control_, [this] {
        runner_.stop();
        control_work_.reset();
    });
    control_thread_.join();
}

void Engine::engine_info(Reply<schema::EngineInfo> reply) {
    schema::EngineInfo info;
    info.schema_major = schema::schema_major;
    info.schema_minor = schema::schema_minor;
    info.version = OVDA_VERSION;
    info.instance = instance_;
    info.pid = static_cast<uint32_t>(::getpid());
    info.uid = ::geteuid();
    info.eal_state = eal_state_;
    info.eal_args = started_with_.eal;
    if (!eal_detail_.empty()) {
        info.eal_detail = eal_detail_;
    }
    info.ports = ports_.size();
    info.max_ports = PortTable::max_ports;
    reply(info);
}

void Engine::engine_start(const schema::EngineStartParams &params,
                          Reply<schema::EngineStartResult> reply) {
    Waiting waiting{params, std::move(reply)};
    switch (eal_state_) {
        case schema::EalState::started:
        case schema::EalState::failed:
            answer_start(waiting);
            return;
        case schema::EalState::starting:
            waiting_.push_back(std::move(waiting));
            return;
        case schema::EalState::unset:
            break;
    }
    eal_state_ = schema::EalState::starting;
    started_with_ = params;
    waiting_.push_back(std::move(waiting));
    boost::asio::post(control_, [this, params] {
        auto result = runner_.start(params.eal, params.workers, rpc_socket_).map([this] {
            return runner_.pulses();
        });
        boost::asio::post(rpc_, [this, result = std::move(result)] { on_started(result); });
    });
}

void Engine::on_started(const Expected<std::vector<Pulse>> &result) {
    eal_state_ = result ? schema::EalState::started : schema::EalState::failed;
    if (!result) {
        eal_detail_ = result.error().detail;
        VDPA_LOG(err, module, "%s", eal_detail_.c_str());
    } else {
        for (const Pulse &pulse : *result) {
            watchdog_.watch(pulse);
        }
    }
    const std::vector<Waiting> waiting = std::exchange(waiting_, {});
    for (const Waiting &each : waiting) {
        answer_start(each);
    }
}

void Engine::answer_start(const Waiting &waiting) const {
    if (eal_state_ == schema::EalState::failed) {
        waiting.reply(
            tl::make_unexpected(schema::RpcFailure{schema::RpcError::eal_failed, eal_detail_}));
        return;
    }
    waiting.reply(schema::EngineStartResult{.eal_state = eal_state_,
                                            .restart_pending = waiting.params != started_with_});
}

void Engine::port_apply(const schema::PortSpec &params, Reply<schema::PortApplyResult> reply) {
    if (eal_state_ == schema::EalState::failed) {
        reply(tl::make_unexpected(schema::RpcFailure{schema::RpcError::eal_failed, eal_detail_}));
        return;
    }
    if (eal_state_ != schema::EalState::started) {
        reply(tl::make_unexpected(schema::RpcFailure{schema::RpcError::not_started,
                                                     "DPDK does not run yet: call engine.start"}));
        return;
    }
    reply(ports_.apply(params));
}

void Engine::port_remove(const schema::PortRemoveParams &params,
                         Reply<schema::PortRemoveResult> reply) {
    const bool existed = ports_.remove(params.name);
    schema::PortRemoveResult result{.existed = existed, .socket_left = {}};
    if (!existed && params.dead_socket) {
        if (const auto removed = vhost::remove_dead_socket(*params.dead_socket); !removed) {
            result.socket_left = removed.error().detail;
        }
    }
    reply(std::move(result));
}

void Engine::port_list(Reply<schema::PortList> reply) {
    reply(schema::PortList{.ports = ports_.list()});
}

void Engine::port_stats(const schema::PortName &params, Reply<schema::PortStats> reply) {
    ports_.stats(params.name, std::move(reply));
}

void Engine::port_reset_stats(const schema::PortName &params, Reply<schema::Empty> reply) {
    ports_.reset_stats(params.name, std::move(reply));
}

}  // namespace vdpa::engine
