// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/datapaths.hpp"
#include "engine/memory_watch.hpp"
#include "engine/port_actor.hpp"
#include "engine/relay/relay.hpp"
#include "engine/ticker.hpp"
#include "engine/vdpa/device_events.hpp"

namespace vdpa::engine {

/* The ports as the DPDK control thread has them. Everything is for that thread. */
class PortRunner {
  public:
    using ReportOutcome = std::function<void(const Outcome &)>;

    /* `context` is run by the control thread. */
    explicit PortRunner(boost::asio::io_context &context);
    ~PortRunner();

    /* DPDK, the workers on `cpus`, and all that ports need. `rpc_socket`: beside it a socket is
     * made for an instant. Error: eal-failed; then there is no second attempt in this process. */
    Expected<void> start(const std::vector<std::string> &eal_args,
                         const std::vector<unsigned> &cpus, const std::string &rpc_socket);
    /* Of the threads that start() has made, for the watchdog; until stop(). */
    std::vector<Pulse> pulses() const;
    /* Ends all ports, and the workers. */
    void stop();

    /* Carries out a spec. Outcomes of this one, and later ones that come by themselves, go to
     * `report`; what happens at the socket to `report_live`, from any thread. Those that were given
     * when the port was made count. */
    void apply(const schema::PortSpec &spec, uint64_t generation, ReportOutcome report,
               vhost::Port::Report report_live);
    void remove(const std::string &name);
    std::vector<schema::QueueStats> stats(const std::string &name) const;
    void reset_stats(const std::string &name);

  private:
    struct Entry {
        std::unique_ptr<PortActor> actor;
        ReportOutcome report;
        Outcome reported;
    };

    void report(Entry &entry, const Outcome &outcome);
    void retry(const std::string &name);
    void check_all();
    void on_device_event(const std::string &device, bool removed);

    boost::asio::io_context &context_;
    Ticker check_ticker_;
    MemoryWatch memory_watch_;
    vhost::KeptFolder kept_folder_;
    std::unique_ptr<relay::Workers> workers_;
    std::unique_ptr<vhost::EventThread> event_thread_;
    std::unique_ptr<Datapaths> datapaths_;
    std::unique_ptr<device::DeviceEvents> device_events_;
    std::unique_ptr<ActorContext> actors_;
    std::map<std::string, Entry> entries_;
};

}  // namespace vdpa::engine
