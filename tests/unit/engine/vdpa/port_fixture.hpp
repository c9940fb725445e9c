// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/vdpa/device_table.hpp"
#include "engine/vhost/datapath.hpp"
#include "engine/vhost/event_thread.hpp"
#include "engine/vhost/port.hpp"
#include "tests/unit/engine/temporary_folder.hpp"
#include "tests/unit/engine/vdpa/fake_sysfs.hpp"
#include "tests/unit/engine/vdpa/front_end.hpp"

namespace vdpa::engine::device {

/* Ports of the real vhost library on devices of the test driver. The test is the control thread. */
class PortFixture : public testing::Test, protected vhost::DatapathMaker {
  protected:
    void SetUp() override;
    void TearDown() override;

    Expected<std::unique_ptr<vhost::Datapath>> make(const schema::PortSpec &spec,
                                                    bool takes_over) override;

    schema::PortSpec spec(const std::string &device, uint32_t max_queues = 1) const;
    Expected<std::unique_ptr<vhost::Port>> create(const schema::PortSpec &spec,
                                                  bool takes_over = false);
    /* A port that serves its socket; ends the test if there is none. */
    std::unique_ptr<vhost::Port> serve(const schema::PortSpec &spec);
    vhost::Live live() const;
    /* Waits until `condition` is true of what the port has reported last. */
    bool eventually(const std::function<bool(const vhost::Live &)> &condition);
    /* Calls port.check_device() as the control thread does, only more often, until `condition`. */
    bool eventually_checking(vhost::Port &port,
                             const std::function<bool(const vhost::Live &)> &condition);
    static std::string reason_of(const vhost::Live &live);

    test::TemporaryFolder folder_;
    test::FakeSysfs sysfs_;
    std::unique_ptr<vhost::EventThread> events_;
    std::unique_ptr<DeviceTable> devices_;

  private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    vhost::Live live_;
};

}  // namespace vdpa::engine::device
