// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/relay/relay.hpp"
#include "engine/vhost/datapath.hpp"

namespace vdpa::engine::vhost {

/* The software relay between a front-end and a TAP netdev. */
class RelayDatapath final : public Datapath {
  public:
    /* `workers` must outlive it. Errors: netdev-missing, tap-failed. */
    static Expected<std::unique_ptr<RelayDatapath>> make(relay::Workers &workers,
                                                         const schema::PortSpec &spec,
                                                         bool takes_over);

    Expected<void> set_offer(const Offer &offer) override;
    uint64_t features() const override;
    uint64_t protocol_features() const override;
    uint32_t queue_pairs() const override { return offer_.max_queues; }
    /* With the control queue, which a front-end may leave to us. */
    uint32_t ring_count() const override { return 2 * offer_.max_queues + 1; }

    void new_connection(int /*vid*/) override { relay_->new_connection(); }
    bool hung_up() override {
        relay_->device_down();
        return true;
    }
    void stop_serving() override { relay_->new_connection(); }
    void device_up(int vid) override { relay_->device_up(vid); }
    void device_down() override { relay_->device_down(); }
    void ring_enabled(uint16_t ring, bool on) override { relay_->ring_enabled(ring, on); }
    bool quiesce() override { return relay_->quiesce(); }
    bool resume() override {
        relay_->resume();
        return true;
    }
    Expected<std::function<void()>> open_netdev() override;
    void recover() override { relay_->recover(); }
    bool read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const override;

    uint32_t enabled_queue_pairs() const override { return relay_->enabled_queue_pairs(); }
    DatapathStatus status() const override;
    std::vector<schema::QueueStats> stats() const override;
    void reset_stats() override { relay_->reset_stats(); }

  private:
    RelayDatapath(relay::Workers &workers, const schema::PortSpec &spec);
    Expected<void> open_relay(uint32_t max_queues, bool takes_over);

    relay::Workers &workers_;
    const std::string name_;
    const std::string netdev_;
    const uint32_t first_max_queues_;
    bool netdev_awaited_;
    Offer offer_;
    std::unique_ptr<relay::Port> relay_;  // never null once made
};

}  // namespace vdpa::engine::vhost
