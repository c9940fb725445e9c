// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/tap.hpp"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using schema::Reason;
using testing::ElementsAre;
using testing::IsEmpty;

class TapTest : public NamespaceTest {
  protected:
    /* As an agent that has just started. */
    Taps open_taps() {
        auto taps = Taps::open(OwnedFile(folder.path("owned.json")));
        EXPECT_TRUE(taps);
        return std::move(*taps);
    }
    std::optional<int> recorded(const std::string &name) {
        OwnedFile record(folder.path("owned.json"));
        EXPECT_TRUE(record.load());
        return record.tap(name);
    }
    void record(const std::string &name, int ifindex) {
        OwnedFile file(folder.path("owned.json"));
        ASSERT_TRUE(file.load());
        ASSERT_TRUE(file.set_tap(name, ifindex));
    }
};

TEST_F(TapTest, is_made_as_an_emulated_vf_has_to_be) {
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {.owner = 1234});
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_TRUE(made->created);
    const auto link = find("vm1");
    ASSERT_TRUE(link);
    EXPECT_EQ(link->ifindex, made->ifindex);
    EXPECT_EQ(link->kind, "tun");
    EXPECT_EQ(link->tap_owner, 1234U);
    EXPECT_NE(link->flags & IFF_UP, 0U);
    EXPECT_NE(link->flags & IFF_NOARP, 0U) << "the host would answer on it";
    EXPECT_EQ(link->flags & IFF_LOWER_UP, 0U) << "nobody is connected";
    EXPECT_THAT(read_file("/proc/sys/net/ipv6/conf/vm1/disable_ipv6"), testing::AnyOf("1\n", ""));
    EXPECT_THAT(read_file("/proc/net/if_inet6"), testing::Not(testing::HasSubstr("vm1")));
}

TEST_F(TapTest, has_queues_with_a_virtio_net_header) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {.multi_queue = true}));
    const UniqueFd queue = make_foreign("vm1", true);  // a queue of the same
    ifreq request{};
    ASSERT_EQ(::ioctl(queue.get(), TUNGETIFF, &request), 0);
    const auto flags = static_cast<unsigned short>(request.ifr_flags);
    EXPECT_EQ(flags & (IFF_TAP | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_PERSIST),
              IFF_TAP | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_PERSIST);
}

TEST_F(TapTest, is_recorded_with_its_index) {
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {});
    ASSERT_TRUE(made);
    EXPECT_EQ(recorded("vm1"), made->ifindex);
    EXPECT_THAT(*taps.owned(), ElementsAre("vm1"));
}

TEST_F(TapTest, that_is_there_is_adopted_by_an_agent_that_comes_back) {
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made);
    const auto again = open_taps().ensure("vm1", {});
    ASSERT_TRUE(again);
    EXPECT_EQ(again->ifindex, made->ifindex);
    EXPECT_FALSE(again->created);
}

TEST_F(TapTest, that_was_deleted_by_hand_is_made_anew) {
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {});
    ASSERT_TRUE(made);
    remove_by_hand("vm1");
    const auto again = taps.ensure("vm1", {});
    ASSERT_TRUE(again);
    EXPECT_TRUE(again->created);
    EXPECT_TRUE(again->replaced);
    EXPECT_EQ(recorded("vm1"), again->ifindex);
}

TEST_F(TapTest, that_is_down_is_set_up) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    set_up("vm1", false);
    ASSERT_TRUE(taps.ensure("vm1", {}));
    EXPECT_NE(find("vm1")->flags & IFF_UP, 0U);
}

TEST_F(TapTest, is_given_to_another_owner_on_request) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    EXPECT_EQ(find("vm1")->tap_owner, std::nullopt);
    ASSERT_TRUE(taps.ensure("vm1", {.owner = 1}));
    EXPECT_EQ(find("vm1")->tap_owner, 1U);
    ASSERT_TRUE(taps.ensure("vm1", {.owner = 2}));
    EXPECT_EQ(find("vm1")->tap_owner, 2U);
    ASSERT_TRUE(taps.ensure("vm1", {}));
    EXPECT_EQ(find("vm1")->tap_owner, 2U);
}

TEST_F(TapTest, has_as_many_queues_as_it_was_made_for_and_keeps_them) {
    Taps taps = open_taps();
    for (const bool multi_queue : {false, true}) {
        const std::string name = multi_queue ? "vm2" : "vm1";
        const auto made = taps.ensure(name, {.multi_queue = multi_queue});
        ASSERT_TRUE(made);
        EXPECT_EQ(made->multi_queue, multi_queue);
        EXPECT_EQ(find(name)->tap_multi_queue, multi_queue);
        const auto adopted = taps.ensure(name, {.owner = 1, .multi_queue = !multi_queue});
        ASSERT_TRUE(adopted) << adopted.error().detail;
        EXPECT_EQ(adopted->multi_queue, multi_queue);
        EXPECT_EQ(adopted->ifindex, made->ifindex);
        EXPECT_EQ(find(name)->tap_owner, 1U);
    }
}

TEST_F(TapTest, of_another_maker_is_left_alone) {
    make_foreign("vm1", true);
    const auto before = find("vm1");
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {.owner = 1});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Reason::name_taken);
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_EQ(find("vm1"), before);
    EXPECT_EQ(recorded("vm1"), std::nullopt);
}

TEST_F(TapTest, of_another_maker_that_is_not_persistent_is_left_alone) {
    const UniqueFd queue = make_foreign("vm1", false);
    Taps taps = open_taps();
    ASSERT_FALSE(taps.ensure("vm1", {}));
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_TRUE(find("vm1"));
}

TEST_F(TapTest, is_not_made_in_place_of_another_kind_of_netdev) {
    Taps taps = open_taps();
    const auto made = taps.ensure("lo", {});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Reason::name_taken);
    record("lo", find("lo")->ifindex);
    EXPECT_FALSE(open_taps().ensure("lo", {})) << "whatever the record says";
}

TEST_F(TapTest, that_took_the_name_of_ours_is_left_alone) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    remove_by_hand("vm1");
    make_foreign("vm1", true);
    const auto made = taps.ensure("vm1", {});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Reason::name_taken);
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_TRUE(find("vm1"));
    EXPECT_EQ(recorded("vm1"), std::nullopt) << "nothing of ours is there any more";
}

TEST_F(TapTest, that_was_renamed_by_hand_gets_its_name_back) {
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made);
    rename_by_hand("vm1", "tap7");
    const auto again = open_taps().ensure("vm1", {});
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again->ifindex, made->ifindex);
    EXPECT_FALSE(find("tap7"));
    ASSERT_TRUE(find("vm1"));
    EXPECT_TRUE(is_set_up(*find("vm1")));
}

TEST_F(TapTest, that_was_left_in_the_making_is_finished) {
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made);
    // As a kill before the last step leaves it.
    rename_by_hand("vm1", "ovda0123abcd");
    const auto again = open_taps().ensure("vm1", {});
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again->ifindex, made->ifindex);
    EXPECT_FALSE(find("ovda0123abcd"));
    EXPECT_TRUE(is_set_up(*find("vm1")));
    EXPECT_EQ(find("vm1")->alias, "ovs-vdpa-agent");
}

TEST_F(TapTest, that_was_renamed_by_hand_is_deleted_too) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    rename_by_hand("vm1", "tap7");
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_FALSE(find("tap7"));
    EXPECT_THAT(*taps.owned(), IsEmpty());
}

TEST_F(TapTest, whose_name_was_given_to_another_waits_until_it_is_free) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    rename_by_hand("vm1", "tap7");
    set_up("tap7", true);
    make_foreign("vm1", true);
    const auto again = taps.ensure("vm1", {});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().reason, Reason::name_taken);
    ASSERT_TRUE(find("tap7"));
    EXPECT_TRUE(is_set_up(*find("tap7"))) << "a guest may be using it";
    remove_by_hand("vm1");
    ASSERT_TRUE(taps.ensure("vm1", {}));
    EXPECT_FALSE(find("tap7"));
}

TEST_F(TapTest, that_was_renamed_and_is_attached_is_left_alone_until_it_is_detached) {
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {});
    ASSERT_TRUE(made);
    rename_by_hand("vm1", "tap7");
    set_up("tap7", true);
    make_bridge("b");
    attach("b", "tap7", true);
    const auto before = find("tap7");
    const auto refused = taps.ensure("vm1", {.owner = 1});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::ovs_detach);
    EXPECT_THAT(refused.error().detail, testing::HasSubstr("tap7"));
    EXPECT_EQ(find("tap7"), before);
    EXPECT_FALSE(find("vm1"));
    attach("b", "tap7", false);
    const auto again = taps.ensure("vm1", {});
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again->ifindex, made->ifindex);
    EXPECT_FALSE(find("tap7"));
    remove_bridge("b");
}

TEST_F(TapTest, that_is_attached_under_its_own_name_is_adopted) {
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made);
    make_bridge("b");
    attach("b", "vm1", true);
    const auto again = open_taps().ensure("vm1", {.owner = 1});
    ASSERT_TRUE(again) << again.error().detail;
    EXPECT_EQ(again->ifindex, made->ifindex);
    EXPECT_NE(find("vm1")->master, std::nullopt);
    remove_bridge("b");
}

TEST_F(TapTest, of_another_maker_with_the_index_of_ours_is_left_alone) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    remove_by_hand("vm1");
    make_foreign("tap7", true);  // with the index of ours, as it may be after a move between hosts
    record("vm1", find("tap7")->ifindex);
    const auto before = find("tap7");
    ASSERT_TRUE(open_taps().remove("vm1"));
    EXPECT_EQ(find("tap7"), before);
    record("vm1", find("tap7")->ifindex);
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made) << made.error().detail;
    EXPECT_TRUE(made->created);
    EXPECT_NE(made->ifindex, before->ifindex);
    EXPECT_EQ(find("tap7"), before);
}

TEST_F(TapTest, whose_only_queue_is_open_is_not_given_to_another_owner_yet) {
    Taps taps = open_taps();
    const auto made = taps.ensure("vm1", {.owner = 1});
    ASSERT_TRUE(made);
    UniqueFd engine(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    ifreq request{};
    std::string("vm1").copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
    ASSERT_EQ(::ioctl(engine.get(), TUNSETIFF, &request), 0);
    ASSERT_TRUE(taps.ensure("vm1", {.owner = 1})) << "nothing has to be opened for that";
    const auto refused = taps.ensure("vm1", {.owner = 2});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason, Reason::tap_failed);
    EXPECT_THAT(refused.error().detail, testing::HasSubstr(errno_text(EBUSY)));
    EXPECT_EQ(find("vm1")->tap_owner, 1U);
    engine.reset();
    const auto given = taps.ensure("vm1", {.owner = 2});
    ASSERT_TRUE(given) << given.error().detail;
    EXPECT_EQ(given->ifindex, made->ifindex);
    EXPECT_EQ(find("vm1")->tap_owner, 2U);
}

TEST_F(TapTest, is_deleted_with_its_record) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    ASSERT_TRUE(taps.ensure("vm2", {}));
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_FALSE(find("vm1"));
    EXPECT_TRUE(find("vm2"));
    EXPECT_THAT(*taps.owned(), ElementsAre("vm2"));
}

TEST_F(TapTest, that_is_gone_may_be_deleted) {
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure("vm1", {}));
    remove_by_hand("vm1");
    ASSERT_TRUE(taps.remove("vm1"));
    EXPECT_THAT(*taps.owned(), IsEmpty());
    EXPECT_TRUE(taps.remove("vm1")) << "nor is it an error that there never was one";
}

TEST_F(TapTest, whose_record_cannot_be_written_is_not_made) {
    Taps taps = open_taps();
    // Root may write any file, but not over a folder.
    std::filesystem::create_directory(folder.path("owned.json.new"));
    const auto made = taps.ensure("vm1", {});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().reason, Reason::record_failed);
    EXPECT_FALSE(find("vm1"));
    std::filesystem::remove(folder.path("owned.json.new"));
    EXPECT_TRUE(taps.ensure("vm1", {}));
}

TEST_F(TapTest, nothing_is_done_with_a_record_that_cannot_be_read) {
    std::ofstream(folder.path("owned.json")) << "garbage";
    Taps taps = open_taps();
    EXPECT_EQ(taps.ensure("vm1", {}).error().reason, Reason::record_failed);
    EXPECT_EQ(taps.remove("vm1").error().reason, Reason::record_failed);
    EXPECT_EQ(taps.owned().error().reason, Reason::record_failed);
    EXPECT_FALSE(find("vm1"));
    std::filesystem::remove(folder.path("owned.json"));
    EXPECT_TRUE(taps.ensure("vm1", {})) << "repaired";
}

TEST_F(TapTest, that_another_agent_recorded_is_ours_once_the_record_is_read_anew) {
    Taps standby = open_taps();
    ASSERT_TRUE(standby.owned());
    const auto made = open_taps().ensure("vm1", {});
    ASSERT_TRUE(made);
    ASSERT_FALSE(standby.ensure("vm1", {}));
    EXPECT_THAT(*standby.owned(), ElementsAre("vm1"));
    EXPECT_TRUE(standby.ensure("vm1", {}));
}

TEST_F(TapTest, with_a_name_of_fifteen_bytes_is_made_and_deleted) {
    const std::string longest(IFNAMSIZ - 1, 'n');
    Taps taps = open_taps();
    ASSERT_TRUE(taps.ensure(longest, {}));
    EXPECT_TRUE(find(longest));
    ASSERT_TRUE(taps.remove(longest));
    EXPECT_FALSE(find(longest));
}

}  // namespace
}  // namespace vdpa::agent::host
