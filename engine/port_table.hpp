// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/port_runner.hpp"
#include "schema/engine_methods.hpp"

namespace vdpa::engine {

/* The ports as RPC clients see them: what was asked for and what became of it. For the RPC thread;
 * the work is done by `runner` on the DPDK control thread. */
class PortTable {
  public:
    using Notify = std::function<void(const schema::PortStatus &)>;

    /* `rpc` and `control` are run by the two threads. `notify` gets every change of a status. */
    PortTable(boost::asio::io_context &rpc, boost::asio::io_context &control, PortRunner &runner,
              Notify notify);
    ~PortTable();

    /* As many server ports as the vhost library can have connected: its one poll() takes 1024
     * descriptors, two a port (lib/vhost/fd_man.h, MAX_FDS), less its own and ours. */
    static constexpr uint32_t max_ports = 500;

    schema::RpcResult<schema::PortApplyResult> apply(const schema::PortSpec &spec);
    /* Whether there was such a port. */
    bool remove(const std::string &name);
    std::vector<schema::PortStatus> list() const;
    void stats(const std::string &name, schema::EngineMethods::Reply<schema::PortStats> reply);
    void reset_stats(const std::string &name, schema::EngineMethods::Reply<schema::Empty> reply);
    uint32_t size() const { return static_cast<uint32_t>(entries_.size()); }

  private:
    struct Entry;

    void carry_out(const std::shared_ptr<Entry> &entry);
    void publish(Entry &entry);

    boost::asio::io_context &rpc_;
    boost::asio::io_context &control_;
    PortRunner &runner_;
    const Notify notify_;
    std::map<std::string, std::shared_ptr<Entry>> entries_;
    /* One count for all ports, so that a port that was removed and made again never seems older. */
    uint64_t generation_ = 0;
};

}  // namespace vdpa::engine
