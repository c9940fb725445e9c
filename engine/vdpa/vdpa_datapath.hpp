// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/vdpa/device.hpp"
#include "engine/vhost/datapath.hpp"
#include "engine/vhost/event_thread.hpp"

namespace vdpa::engine::device {

/* A vDPA device as what serves a port: the library hands it the front-end's memory and rings. */
class VdpaDatapath final : public vhost::Datapath {
  public:
    /* `events` must outlive it. */
    VdpaDatapath(std::shared_ptr<Device> device, vhost::EventThread &events,
                 const vhost::Offer &offer);
    ~VdpaDatapath() override;

    void set_observer(Observer observer) override;
    Expected<void> set_offer(const vhost::Offer &offer) override;
    Expected<void> attach(const std::string &library_path) override;
    void detach(const std::string &library_path) override;
    Expected<void> check() override;
    void retry() override;

    uint64_t features() const override;
    uint64_t protocol_features() const override;
    uint32_t queue_pairs() const override;
    uint32_t ring_count() const override { return 2 * queue_pairs() + device_->control_rings(); }

    void new_connection(int vid) override;
    void end_connection() override;
    /* The library asks the device itself. */
    void device_up(int /*vid*/) override {}
    void device_down() override {}
    void ring_enabled(uint16_t /*ring*/, bool /*on*/) override {}
    bool quiesce() override;
    bool resume() override;
    bool read_config(int vid, uint32_t offset, uint8_t *bytes, uint32_t size) const override;

    uint32_t enabled_queue_pairs() const override;
    vhost::DatapathStatus status() const override;
    std::vector<schema::QueueStats> stats() const override;
    void reset_stats() override;

  private:
    /* What is posted to the event thread finds the device by way of this, until it is closed. */
    struct Gate {
        std::mutex mutex;
        Forwarder *forwarder;
    };

    void limit() const;

    const std::shared_ptr<Device> device_;
    vhost::EventThread &events_;
    const std::shared_ptr<Gate> gate_;
    std::shared_ptr<Announcer> observer_;
    vhost::Offer offer_;
    uint64_t library_features_ = 0;  // that the vhost library can offer at all
    int vid_ = -1;
};

}  // namespace vdpa::engine::device
