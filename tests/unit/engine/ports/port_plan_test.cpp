// SPDX-License-Identifier: Apache-2.0
#include "engine/port_plan.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace vdpa::engine {
namespace {

using schema::PortSpec;

PortSpec server_port() {
    PortSpec spec;
    spec.name = "vm1";
    spec.socket.path = "/run/vm1";
    spec.device.name = "vm1";
    spec.max_queues = 2;
    spec.packed = true;
    spec.offloads = true;
    return spec;
}

struct Change {
    const char *name;
    std::function<void(PortSpec &)> apply;
    Plan wanted;
};

class Changes : public testing::TestWithParam<Change> {};

TEST_P(Changes, TakeNoMoreThanTheyMust) {
    PortSpec to = server_port();
    GetParam().apply(to);
    EXPECT_EQ(plan(server_port(), to), GetParam().wanted);
}

INSTANTIATE_TEST_SUITE_P(
    Plan, Changes,
    testing::Values(
        Change{"nothing", [](PortSpec &) {}, {}},
        Change{"path", [](PortSpec &s) { s.socket.path = "/run/other"; }, {.replace = true}},
        Change{"mode",
               [](PortSpec &s) { s.socket.mode = schema::SocketMode::client; },
               {.replace = true}},
        Change{"awaiting_the_netdev_that_is_open",
               [](PortSpec &s) { s.netdev_awaited = true; },
               {.replace = true}},
        Change{"device", [](PortSpec &s) { s.device.name = "vm2"; }, {.replace = true}},
        Change{"path_and_queues",
               [](PortSpec &s) {
                   s.socket.path = "/run/other";
                   s.max_queues = 1;
               },
               {.replace = true}},
        Change{"owner", [](PortSpec &s) { s.socket.uid = 7; }, {.attributes = true}},
        Change{"group", [](PortSpec &s) { s.socket.gid = 7; }, {.attributes = true}},
        Change{"perms", [](PortSpec &s) { s.socket.perms = 0600; }, {.attributes = true}},
        Change{"queues", [](PortSpec &s) { s.max_queues = 1; }, {.offer = true}},
        Change{"packed", [](PortSpec &s) { s.packed = false; }, {.offer = true}},
        Change{"offloads", [](PortSpec &s) { s.offloads = false; }, {.offer = true}},
        Change{"perms_and_packed",
               [](PortSpec &s) {
                   s.socket.perms = 0600;
                   s.packed = false;
               },
               {.attributes = true, .offer = true}}),
    [](const auto &test) { return test.param.name; });

TEST(Plan, ANetdevThatIsThereIsOpenedInPlace) {
    PortSpec from = server_port();
    from.netdev_awaited = true;
    PortSpec to = server_port();
    EXPECT_EQ(plan(from, to), Plan{.netdev = true});
    to.max_queues = 1;
    to.socket.perms = 0600;
    EXPECT_EQ(plan(from, to), (Plan{.netdev = true, .attributes = true, .offer = true}));
}

TEST(Plan, ASocketFileThatIsTheFrontEndsIsNotTouched) {
    PortSpec from = server_port();
    from.socket.mode = schema::SocketMode::client;
    PortSpec to = from;
    to.socket.perms = 0600;
    EXPECT_EQ(plan(from, to), Plan{});
}

}  // namespace
}  // namespace vdpa::engine
