// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <memory>
#include <string>

#include "engine/engine.hpp"
#include "engine/rpc/server.hpp"
#include "engine/watchdog.hpp"

namespace vdpa::engine {

/* The process around an Engine: RPC socket, signals, systemd. Its thread is the RPC thread. */
class Daemon {
  public:
    explicit Daemon(rpc::Listener listener);

    /* Runs until SIGTERM or SIGINT. */
    void run();

  private:
    void wait_for_signal();
    void wait_for_hangup();

    boost::asio::io_context context_;
    boost::asio::signal_set end_signals_;
    boost::asio::signal_set hangup_;
    Watchdog watchdog_;
    std::unique_ptr<rpc::Server> server_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace vdpa::engine
