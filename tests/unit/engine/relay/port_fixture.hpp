// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "engine/relay/features.hpp"
#include "engine/relay/relay.hpp"
#include "tests/unit/engine/relay/fake_front_end.hpp"
#include "tests/unit/engine/relay/tap_sandbox.hpp"

namespace vdpa::engine::relay::test {

/* Whole ports: workers, a real TAP, a guest in this program. The test's thread is the vhost
 * library's. */
class PortTest : public TapSandbox, public testing::WithParamInterface<uint64_t> {
  protected:
    void SetUp() override {
        TapSandbox::SetUp();
        if (!IsSkipped()) {
            make_tap("vm1");
            auto started = Workers::start({});
            ASSERT_TRUE(started) << started.error().detail;
            workers = std::move(*started);
        }
    }
    void TearDown() override {
        port.reset();
        workers.reset();
        TapSandbox::TearDown();
    }

    std::unique_ptr<Port> attach(const std::string &netdev, uint16_t pairs, Guest *&of,
                                 bool netdev_awaited = false) {
        auto attached = Port::attach(*workers,
                                     {.name = netdev,
                                      .netdev = netdev,
                                      .max_queue_pairs = pairs,
                                      .netdev_awaited = netdev_awaited},
                                     std::make_unique<FakeFrontEnd>(of));
        EXPECT_TRUE(attached) << attached.error().detail;
        return std::move(*attached);
    }
    static void connect(Port &to, Guest &from) {
        to.new_connection();
        for (const auto &[number, ring] : from.rings) {
            to.ring_enabled(number, true);
        }
        to.device_up(0);
    }
    /* One guest with one pair, connected. */
    void start(unsigned buffers = 128) {
        guest.add_pair(0, buffers);
        port = attach("vm1", 4, current);
        connect(*port, guest);
    }
    /* One for a later connection, when nothing is connected. */
    Guest &next_guest() {
        successor = std::make_unique<Guest>(features);
        successor->add_pair(0, 128);
        current = successor.get();
        return *successor;
    }
    void expect_both_ways(const std::string &netdev = "vm1") {
        HostPort host(netdev);
        EXPECT_TRUE(eventually([&] {
            host.send(test_frame(7));
            return number_of(guest.receive(0)) == 7;
        }));
        guest.send(1, test_frame(8));
        EXPECT_TRUE(eventually([&] { return number_of(host.receive()) == 8; }));
    }

    static constexpr uint64_t offloads =
        bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_GUEST_TSO4);
    uint64_t features = GetParam() | bit(VIRTIO_NET_F_MRG_RXBUF);
    Guest guest{features};
    Guest *current = &guest;
    std::unique_ptr<Guest> successor;
    std::unique_ptr<Workers> workers;
    std::unique_ptr<Port> port;
};

}  // namespace vdpa::engine::relay::test
