// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/read_retry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/rtnetlink.h>
#include <sys/resource.h>

#include <cerrno>
#include <optional>

#include "ovs-vdpa-agent/host/assign_duplicate.hpp"
#include "ovs-vdpa-agent/host/inventory_monitor.hpp"
#include "tests/unit/agent/event_loop.hpp"
#include "tests/unit/agent/host/namespace_fixture.hpp"
#include "tests/unit/agent/host/netlink_faults.hpp"

namespace vdpa::agent::host {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using std::chrono::milliseconds;

const log::Module module("read_retry_test");

class ReadRetryTest : public testing::Test {
  protected:
    ReadRetry make(RetryIntervals intervals) {
        return {
            io,       module, "things cannot be listed", [this] { tries++; }, [this] { changes++; },
            intervals};
    }

    boost::asio::io_context io;
    int tries = 0;
    int changes = 0;
};

TEST_F(ReadRetryTest, says_what_is_wrong_until_it_is_over) {
    ReadRetry retry = make({milliseconds(1), milliseconds(1)});
    EXPECT_EQ(retry.problem(), "");
    retry.failed("Cannot allocate memory");
    EXPECT_THAT(retry.problem(), HasSubstr("things cannot be listed: Cannot allocate memory; "));
    retry.failed("Cannot allocate memory");
    EXPECT_EQ(changes, 1);
    retry.failed("Too many open files");
    EXPECT_EQ(changes, 2);
    retry.succeeded();
    EXPECT_EQ(retry.problem(), "");
    retry.succeeded();
    EXPECT_EQ(changes, 3);
}

TEST_F(ReadRetryTest, tries_again_once_for_each_failure) {
    ReadRetry retry = make({milliseconds(1), milliseconds(1)});
    retry.failed("a");
    retry.failed("b");
    ASSERT_TRUE(run_until(io, [this] { return tries > 0; }));
    io.restart();
    io.run_for(std::chrono::seconds(5));
    ASSERT_TRUE(io.stopped()) << "a timer is set still";
    EXPECT_EQ(tries, 1);
}

TEST_F(ReadRetryTest, does_not_try_what_has_worked_meanwhile) {
    ReadRetry retry = make({std::chrono::hours(1), std::chrono::hours(1)});
    retry.failed("a");
    retry.succeeded();
    io.run_for(std::chrono::seconds(5));
    ASSERT_TRUE(io.stopped()) << "a timer is set still";
    EXPECT_EQ(tries, 0);
}

TEST_F(ReadRetryTest, waits_longer_each_time_and_not_after_it_has_worked) {
    RetryTimer timer(io, {milliseconds(1), milliseconds(8)});
    const auto begin = std::chrono::steady_clock::now();
    int left = 7;
    std::function<void()> again = [&] {
        if (--left > 0) {
            timer.after_failure(again);
        }
    };
    timer.after_failure(again);
    ASSERT_TRUE(run_until(io, [&] { return left == 0; }));
    // 1 + 2 + 4 + 8 + 8 + 8 + 8
    EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(39));
}

TEST_F(ReadRetryTest, many_failures_before_the_next_try_are_one) {
    RetryTimer timer(io, {milliseconds(1), std::chrono::hours(1)});
    int acts = 0;
    // Each further one used to double the interval: to more than an hour.
    for (int i = 0; i < 40; i++) {
        timer.after_failure([&acts] { acts++; });
    }
    ASSERT_TRUE(run_until(io, [&acts] { return acts > 0; }));
    EXPECT_EQ(acts, 1);
}

TEST_F(ReadRetryTest, is_not_put_off_by_failures_that_go_on) {
    RetryTimer timer(io, {milliseconds(50), milliseconds(50)});
    int acts = 0;
    const auto fail = [&] { timer.after_failure([&acts] { acts++; }); };
    boost::asio::steady_timer churn(io);
    std::function<void()> again = [&] {
        fail();
        churn.expires_after(milliseconds(2));
        churn.async_wait([&](const boost::system::error_code &error) {
            if (!error) {
                again();
            }
        });
    };
    again();
    EXPECT_TRUE(run_until(io, [&acts] { return acts > 1; }));
}

TEST_F(ReadRetryTest, nothing_is_called_once_it_has_worked_though_the_time_had_come) {
    std::optional<RetryTimer> timer(std::in_place, io,
                                    RetryIntervals{milliseconds(0), milliseconds(0)});
    int acts = 0;
    timer->after_failure([&acts] { acts++; });
    boost::asio::steady_timer first(io, std::chrono::steady_clock::time_point::min());
    // Both are due when the loop looks; the one that ends the other is called first.
    first.async_wait([&](const auto & /*error*/) { timer.reset(); });
    io.run_for(std::chrono::seconds(5));
    ASSERT_TRUE(io.stopped());
    EXPECT_EQ(acts, 0);
}

TEST_F(ReadRetryTest, a_descriptor_that_cannot_be_waited_for_is_an_error) {
    boost::asio::posix::stream_descriptor descriptor(io);
    EXPECT_EQ(assign_duplicate(descriptor, -1).value(), EBADF);
    EXPECT_FALSE(descriptor.is_open());
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd reader(ends[0]);
    const UniqueFd writer(ends[1]);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{1, limit.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const auto error = assign_duplicate(descriptor, reader.get());
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(error.value(), EMFILE);
    EXPECT_FALSE(assign_duplicate(descriptor, reader.get()));
    EXPECT_TRUE(descriptor.is_open());
    EXPECT_NE(descriptor.native_handle(), reader.get());
}

/* The monitors, with requests of theirs that do not work. */
class FailingReads : public NamespaceTest {
  protected:
    testing::AssertionResult until(const std::function<bool()> &condition) {
        return run_until(io, condition);
    }
    /* With the netdevs that were there before, and one more. */
    void expect_to_recover(uint16_t type, NetlinkFault fault, const std::string &why) {
        make_foreign("before", true);
        ASSERT_TRUE(links.start());
        ASSERT_TRUE(until([this] { return links.is_ready() && links.find("before"); }));
        heard.clear();
        const NetlinkFaults faults(type, fault, 3);
        links.refresh();
        ASSERT_TRUE(until([] { return NetlinkFaults::met() == 1; }));
        ASSERT_TRUE(until([this] { return !links.problems().empty(); }));
        EXPECT_THAT(links.problems(),
                    ElementsAre(AllOf(HasSubstr("netdevs cannot be listed"), HasSubstr(why))));
        EXPECT_TRUE(links.find("before")) << "what is not told of is not gone";
        ASSERT_TRUE(until([this] { return links.problems().empty(); }));
        EXPECT_EQ(NetlinkFaults::met(), 3);
        EXPECT_THAT(heard, Not(Contains("before")));
        make_foreign("after", true);
        EXPECT_TRUE(until([this] { return links.find("after"); }));
    }

    boost::asio::io_context io;
    std::vector<std::string> heard;
    const RetryIntervals intervals{milliseconds(5), milliseconds(20)};
    LinkMonitor links{io, [this](const std::string &name) { heard.push_back(name); }, intervals};
    std::vector<std::string> problems;
    bool has_inventory = false;
    InventoryMonitor monitor{io,
                             links,
                             {folder.path("sys"), 0, std::chrono::seconds(15), intervals},
                             [this](const std::shared_ptr<const Inventory> &inventory) {
                                 has_inventory = true;
                                 problems = inventory->problems;
                             }};
};

TEST_F(FailingReads, of_netdevs_that_could_not_be_asked_for_are_made_again) {
    expect_to_recover(RTM_GETLINK, NetlinkFault::not_sent, "");
}

TEST_F(FailingReads, of_netdevs_that_were_refused_are_made_again) {
    expect_to_recover(RTM_GETLINK, NetlinkFault::refused, errno_text(EOPNOTSUPP));
}

TEST_F(FailingReads, of_netdevs_that_ended_with_an_error_are_made_again) {
    expect_to_recover(RTM_GETLINK, NetlinkFault::dump_failed, errno_text(EINVAL));
}

TEST_F(FailingReads, of_addresses_are_made_again) {
    expect_to_recover(RTM_GETADDR, NetlinkFault::refused, errno_text(EOPNOTSUPP));
}

TEST_F(FailingReads, of_the_first_netdevs_are_made_again) {
    make_foreign("t1", true);
    const NetlinkFaults faults(RTM_GETLINK, NetlinkFault::not_sent, 2);
    ASSERT_TRUE(links.start());
    EXPECT_THAT(links.problems(), Not(IsEmpty()));
    ASSERT_TRUE(until([this] { return links.is_ready(); }));
    EXPECT_TRUE(links.find("t1"));
    EXPECT_THAT(links.problems(), IsEmpty());
}

TEST_F(FailingReads, of_the_macs_of_vfs_are_made_again_for_that_netdev) {
    make_foreign("pf", true);
    ASSERT_TRUE(links.start());
    ASSERT_TRUE(until([this] { return links.is_ready() && links.find("pf"); }));
    const int ifindex = links.find("pf")->ifindex;
    {
        const NetlinkFaults faults(RTM_GETLINK, NetlinkFault::refused, 1'000'000);
        links.watch_vf_macs({ifindex});
        ASSERT_TRUE(until([] { return NetlinkFaults::met() > 2; }));
        EXPECT_THAT(links.problems(), ElementsAre(HasSubstr("MAC addresses of VFs")));
        EXPECT_THAT(links.problems(), ElementsAre(HasSubstr("pf: ")));
    }
    ASSERT_TRUE(until([this] { return links.problems().empty(); }));
    EXPECT_TRUE(links.links().vf_macs.contains(ifindex));
    const NetlinkFaults faults(RTM_GETLINK, NetlinkFault::refused, 1'000'000);
    links.refresh_vf_macs();
    ASSERT_TRUE(until([this] { return !links.problems().empty(); }));
    links.watch_vf_macs({});
    EXPECT_THAT(links.problems(), IsEmpty());
}

TEST_F(FailingReads, of_the_macs_of_vfs_are_told_of_for_every_netdev_that_fails_and_no_other) {
    make_foreign("pf", true);
    make_foreign("other", true);
    ASSERT_TRUE(links.start());
    ASSERT_TRUE(until([this] { return links.is_ready() && links.find("other"); }));
    const NetlinkFaults faults(RTM_GETLINK, NetlinkFault::refused, 1'000'000);
    const int ifindex = links.find("pf")->ifindex;
    links.watch_vf_macs({ifindex, links.find("other")->ifindex});
    ASSERT_TRUE(until([] { return NetlinkFaults::met() > 3; }));
    EXPECT_THAT(links.problems(), ElementsAre(AllOf(HasSubstr("pf: "), HasSubstr("other: "))));
    links.watch_vf_macs({ifindex});
    EXPECT_THAT(links.problems(), ElementsAre(AllOf(HasSubstr("pf: "), Not(HasSubstr("other")))));
}

TEST_F(FailingReads, are_none_where_the_driver_does_not_tell_macs_and_it_is_asked_once) {
    make_foreign("pf", true);
    ASSERT_TRUE(links.start());
    ASSERT_TRUE(until([this] { return links.is_ready() && links.find("pf"); }));
    const int ifindex = links.find("pf")->ifindex;
    const NetlinkFaults faults(RTM_GETLINK, NetlinkFault::none, 1'000'000);
    links.watch_vf_macs({ifindex});
    ASSERT_TRUE(until([&] { return links.links().vf_macs.contains(ifindex); }));
    make_foreign("last", true);
    ASSERT_TRUE(until([this] { return links.find("last"); }));
    EXPECT_EQ(NetlinkFaults::met(), 1);
}

/* No generic netlink family can be found. */
TEST_F(FailingReads, of_devlink_and_vdpa_are_made_again_and_told_of_with_the_inventory) {
    {
        const NetlinkFaults faults(GENL_ID_CTRL, NetlinkFault::not_sent, 1'000'000);
        ASSERT_TRUE(links.start());
        monitor.start();
        ASSERT_TRUE(until([this] { return has_inventory; }));
        EXPECT_THAT(problems, Contains(HasSubstr("devlink devices cannot be listed: ")));
        EXPECT_THAT(problems, Contains(HasSubstr("vDPA devices cannot be listed: ")));
        const int met = NetlinkFaults::met();
        ASSERT_TRUE(until([met] { return NetlinkFaults::met() > met + 4; }));
    }
    EXPECT_TRUE(until([this] { return problems.empty(); }));
}

}  // namespace
}  // namespace vdpa::agent::host
