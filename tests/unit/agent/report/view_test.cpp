// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/report/view.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace vdpa::agent::report {
namespace {

PortView view_of(const std::string &name, uint32_t queues) {
    PortView view;
    view.name = name;
    view.queues = queues;
    view.max_queues = queues;
    return view;
}

TEST(Board, shows_the_last_view_of_each_port) {
    Board board;
    board.set_port(view_of("vm1", 1));
    board.set_port(view_of("vm2", 1));
    board.set_port(view_of("vm1", 2));
    EXPECT_EQ(board.ports().size(), 2U);
    EXPECT_EQ(board.port("vm1")->queues, 2U);
}

TEST(Board, does_not_show_a_port_that_is_gone) {
    Board board;
    board.set_port(view_of("vm1", 1));
    const auto before = board.ports();
    board.erase_port("vm1");
    EXPECT_EQ(board.port("vm1"), nullptr);
    EXPECT_EQ(before.at("vm1")->queues, 1U) << "whoever reads keeps what was there";
}

TEST(Board, is_read_by_one_thread_while_another_writes) {
    Board board;
    std::atomic<bool> done = false;
    std::thread writer([&] {
        for (uint32_t i = 0; i < 2000; i++) {
            board.set_port(view_of("vm1", i));
            HostView host;
            host.detail = std::to_string(i);
            board.set_host(host);
            if (i % 7 == 0) {
                board.erase_port("vm1");
            }
        }
        done = true;
    });
    while (!done) {
        if (const auto port = board.port("vm1")) {
            ASSERT_EQ(port->queues, port->max_queues) << "half of a view";
        }
        (void)board.host();
    }
    writer.join();
}

}  // namespace
}  // namespace vdpa::agent::report
