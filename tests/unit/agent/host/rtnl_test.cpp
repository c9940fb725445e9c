// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/rtnl.hpp"

#include <linux/if.h>

#include <cerrno>

#include "tests/unit/agent/host/namespace_fixture.hpp"

namespace vdpa::agent::host {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int no_such_index = 1 << 20;

class RtnlTest : public NamespaceTest {
  protected:
    void SetUp() override {
        NamespaceTest::SetUp();
        if (IsSkipped()) {
            return;
        }
        make_foreign("n1", true);
        make_foreign("n2", true);
        n1 = find("n1")->ifindex;
        auto opened = Rtnl::open();
        ASSERT_TRUE(opened);
        rtnl.emplace(std::move(*opened));
    }
    Link link() { return rtnl->find(n1)->value(); }

    std::optional<Rtnl> rtnl;
    int n1 = 0;
};

TEST_F(RtnlTest, finds_a_netdev_by_index_and_by_name) {
    EXPECT_EQ(link().name, "n1");
    EXPECT_EQ(rtnl->find("n1")->value().ifindex, n1);
    EXPECT_EQ(*rtnl->find("n3"), std::nullopt);
    EXPECT_EQ(*rtnl->find(no_such_index), std::nullopt);
}

TEST_F(RtnlTest, renames_a_netdev) {
    ASSERT_TRUE(rtnl->rename(n1, "n3"));
    EXPECT_EQ(link().name, "n3");
    ASSERT_TRUE(rtnl->rename(n1, "n3")) << "the name it has";
    const auto taken = rtnl->rename(n1, "n2");
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, EEXIST);
}

TEST_F(RtnlTest, makes_all_of_a_netdev_in_one_request) {
    const unsigned before = link().flags;
    LinkSetup setup{.name = "n2",
                    .alias = "mark",
                    .address = Mac{2, 0, 0, 0, 0, 1},
                    .flags = IFF_UP | IFF_NOARP};
    EXPECT_EQ(rtnl->set_up_as(n1, setup).error().code, EEXIST);
    EXPECT_EQ(link().flags & IFF_UP, 0U);
    setup.name = "n3";
    ASSERT_TRUE(rtnl->set_up_as(n1, setup));
    EXPECT_EQ(link().name, "n3");
    EXPECT_EQ(link().alias, "mark");
    EXPECT_EQ(link().flags & (IFF_UP | IFF_NOARP), unsigned{IFF_UP | IFF_NOARP});
    EXPECT_EQ(link().flags & IFF_MULTICAST, before & IFF_MULTICAST);
}

TEST_F(RtnlTest, keeps_the_other_flags_when_it_sets_one_up_or_down) {
    const unsigned before = link().flags;
    ASSERT_TRUE(rtnl->set_up(n1, true));
    EXPECT_NE(link().flags & IFF_UP, 0U);
    EXPECT_EQ(link().flags & IFF_NOARP, before & IFF_NOARP);
    ASSERT_TRUE(rtnl->set_up(n1, true));
    ASSERT_TRUE(rtnl->set_up(n1, false));
    EXPECT_EQ(link().flags & IFF_UP, 0U);
}

TEST_F(RtnlTest, gives_altnames_that_nothing_else_can_take) {
    ASSERT_TRUE(rtnl->add_altname(n1, "old1"));
    ASSERT_TRUE(rtnl->add_altname(n1, "old2"));
    EXPECT_THAT(link().altnames, ElementsAre("old1", "old2"));
    EXPECT_EQ(rtnl->add_altname(n1, "n2").error().code, EEXIST);
    EXPECT_EQ(rtnl->find("old1")->value().name, "n1");
    EXPECT_EQ(rtnl->rename(find("n2")->ifindex, "old1").error().code, EEXIST);
    ASSERT_TRUE(rtnl->remove_altname(n1, "old1"));
    EXPECT_THAT(link().altnames, ElementsAre("old2"));
    EXPECT_TRUE(rtnl->rename(find("n2")->ifindex, "old1"));
    EXPECT_FALSE(rtnl->remove_altname(n1, "old1")) << "which is another's name";
    EXPECT_EQ(find("old1")->altnames, std::vector<std::string>());
}

TEST_F(RtnlTest, sets_an_mtu_within_what_the_netdev_takes) {
    ASSERT_TRUE(rtnl->set_mtu(n1, 9000));
    EXPECT_EQ(link().mtu, 9000U);
    const auto refused = rtnl->set_mtu(n1, 1 << 20);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EINVAL);
    EXPECT_THAT(refused.error().detail, HasSubstr("mtu")) << "what the kernel said";
    EXPECT_EQ(link().mtu, 9000U);
}

TEST_F(RtnlTest, says_that_what_is_to_be_changed_is_gone) {
    for (const auto &done :
         {rtnl->rename(no_such_index, "n3"), rtnl->set_up(no_such_index, true),
          rtnl->set_mtu(no_such_index, 1500), rtnl->add_altname(no_such_index, "old1"),
          rtnl->remove_altname(no_such_index, "old1"),
          rtnl->set_up_as(no_such_index, {"n3", "text"}),
          rtnl->set_vf_mac(no_such_index, 0, Mac{2, 0, 0, 0, 0, 1})}) {
        ASSERT_FALSE(done);
        EXPECT_TRUE(done.error().is_gone()) << done.error().detail;
    }
    EXPECT_TRUE(rtnl->remove(no_such_index)) << "which is what was asked for";
}

TEST_F(RtnlTest, knows_of_no_vf_of_a_netdev_that_has_none) {
    EXPECT_EQ(*rtnl->vf_mac(n1, 0), std::nullopt);
    EXPECT_EQ(*rtnl->vf_mac(no_such_index, 0), std::nullopt);
    const auto refused = rtnl->set_vf_mac(n1, 0, Mac{2, 0, 0, 0, 0, 1});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, EOPNOTSUPP);
}

TEST_F(RtnlTest, says_of_a_family_that_the_kernel_lacks_that_there_is_none) {
    EXPECT_EQ(GenericNetlink::open("no_such_family", 1)->has_value(), false);
    EXPECT_EQ(GenericNetlink::open("nlctrl", 2)->has_value(), true);
}

TEST(MacTest, is_read_and_written_as_six_pairs_of_digits) {
    const Mac mac{0x02, 0xab, 0xcd, 0, 0x1f, 0xff};
    EXPECT_EQ(format_mac(mac), "02:ab:cd:00:1f:ff");
    EXPECT_EQ(parse_mac("02:AB:cd:00:1f:ff"), mac);
    for (const char *wrong : {"", "02:ab:cd:00:1f", "02:ab:cd:00:1f:ff:00", "02-ab-cd-00-1f-ff",
                              "2:ab:cd:00:1f:fff", "02:ab:cd:00:1f:fg", "+2:ab:cd:00:1f:ff"}) {
        EXPECT_EQ(parse_mac(wrong), std::nullopt) << wrong;
    }
}

TEST(MacTest, that_is_random_is_local_and_unicast_and_another_each_time) {
    const auto one = random_local_mac();
    const auto other = random_local_mac();
    ASSERT_TRUE(one && other);
    EXPECT_EQ((*one)[0] & 3U, 2U);
    EXPECT_NE(one, other);
}

}  // namespace
}  // namespace vdpa::agent::host
