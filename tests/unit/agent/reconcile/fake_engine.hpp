// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ovs-vdpa-agent/engine/engine_service.hpp"

namespace vdpa::agent::reconcile {

/* An engine with the connection to it, as an agent sees them: it accepts a spec and gives it a
 * generation, carries it out later, tells of every change, and keeps its ports when the agent or
 * the connection goes. Nothing happens within a call; everything is posted. */
class FakeEngine : public engine::EngineService {
  public:
    FakeEngine(boost::asio::io_context &io, std::string path) : io_(io), path_(std::move(path)) {}

    /* The agent that is connected from now on; the one before has died with its requests. */
    void attach(engine::EngineListener &listener, size_t index);
    void detach();

    /* The connection is made and the agent has been told everything. */
    void connect();
    /* The agent has asked again what the engine runs, and is told. */
    void list_again();
    /* The engine has the port no more, and nobody is told. */
    void drop_unheard(const std::string &port) { ports_.erase(port); }
    /* The connection is lost; the engine goes on. */
    void disconnect();
    /* The engine ends, and with it its ports. */
    void die();

    const std::string &path() const override { return path_; }
    void set_start_params(const schema::EngineStartParams &params) override {
        start_params = params;
    }
    void apply(const schema::PortSpec &spec, Reply<schema::PortApplyResult> done) override;
    void remove(const std::string &port, Reply<schema::PortRemoveResult> done) override;
    void remove_dead_socket(const std::string &port, const std::string &path,
                            Reply<schema::PortRemoveResult> done) override;
    void stats(const std::string &port, Reply<schema::PortStats> done) override;
    void reset_stats(const std::string &port, Reply<schema::Empty> done) override;

    /* What a front-end does to a port: changes its status and tells of it. */
    void change(const std::string &port, const std::function<void(schema::PortStatus &)> &how);
    bool serves(const std::string &port) const;
    /* The path that the port is served on; empty: it is not. */
    std::string socket_of(const std::string &port) const;
    bool has(const std::string &port) const { return ports_.contains(port); }
    /* Whether the port is served without its netdev. */
    bool is_ahead(const std::string &port) const;
    /* The device that the port is served with; empty: it is not. */
    std::string device_of(const std::string &port) const;
    /* Whether a port has that device, and be it that it could not be served. */
    bool has_open(const std::string &device) const;
    size_t count(const std::string &call) const;
    const schema::PortSpec &accepted(const std::string &port) const {
        return ports_.at(port).accepted;
    }

    /* Behaviour. */
    std::function<std::optional<Error>(const schema::PortSpec &)> refuse;     // the outcome
    std::function<std::optional<Error>(const schema::PortSpec &)> no_accept;  // the answer
    std::function<std::optional<Error>()> no_remove;
    int sockets_to_keep = 0;                          // so many dead ones cannot be removed
    std::function<void(schema::PortSpec &)> distort;  // what its status makes of a spec
    bool outcome_before_answer = false;
    schema::EngineInfo info{.schema_major = schema::schema_major,
                            .schema_minor = schema::schema_minor,
                            .version = "0",
                            .instance = "i",
                            .pid = 7,
                            .uid = 64,
                            .eal_state = schema::EalState::started,
                            .eal_args = {},
                            .eal_detail = {},
                            .ports = 0,
                            .max_ports = 500};

    /* Answers and outcomes stay undelivered until they are let go. */
    void hold_answers() { holding_answers_ = true; }
    void let_answers_go();
    void hold_outcomes() { holding_outcomes_ = true; }
    void let_outcomes_go();

    /* "apply vm1 /run/a.sock", "remove vm1"; "ahead vm1 /run/a.sock" where the netdev is awaited.
     */
    std::vector<std::string> calls;
    std::vector<std::string> dead_sockets;  // that it was to remove
    std::vector<std::string> faults;        // what a real engine must never be asked for
    schema::EngineStartParams start_params;

  private:
    struct Ported {
        schema::PortStatus status;
        uint64_t generation = 0;  // of the newest accepted spec
        schema::PortSpec accepted;
    };
    void deliver(std::function<void()> to_agent);
    template <typename T>
    void answer(Reply<T> done, Expected<T> result);
    void outcome(std::function<void()> act);
    void carry_out(const std::string &port, uint64_t generation);
    void tell(const schema::PortStatus &status);

    boost::asio::io_context &io_;
    std::string path_;
    engine::EngineListener *listener_ = nullptr;
    size_t index_ = 0;
    bool connected_ = false;
    uint64_t connection_ = 0;
    uint64_t generation_ = 0;
    std::map<std::string, Ported> ports_;
    bool holding_answers_ = false;
    bool holding_outcomes_ = false;
    std::deque<std::function<void()>> held_answers_;
    std::deque<std::function<void()>> held_outcomes_;
    std::map<uint64_t, std::function<void()>> open_;  // how open requests end with the connection
    uint64_t next_request_ = 1;
};

}  // namespace vdpa::agent::reconcile
