// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/config/host_config.hpp"

#include <gmock/gmock.h>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <nlohmann/json.hpp>

namespace vdpa::agent::config {
namespace {

using schema::Reason;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

HostConfig parse(schema::StringMap other_config) {
    return parse_host_config({std::move(other_config), false});
}

TEST(HostConfig, without_keys_of_ours_has_defaults_and_no_errors) {
    const HostConfig config = parse({{"dpdk-init", "true"}, {"hw-offload", "true"}});
    EXPECT_EQ(config.options, schema::GlobalOptions());
    EXPECT_EQ(config.engine, schema::EngineStartParams());
    EXPECT_THAT(config.errors, IsEmpty());
    EXPECT_THAT(config.unknown_keys, IsEmpty());
}

TEST(HostConfig, gives_the_engine_its_arguments_one_by_one) {
    const HostConfig config = parse({{"vdpa-socket-mem", "1024,0"},
                                     {"vdpa-extra", "  --log-level=5   -a 0000:00:00.0 "},
                                     {"vdpa-lcore-mask", "0x1C"}});
    EXPECT_THAT(config.engine.eal,
                ElementsAre("--socket-mem=1024,0", "--log-level=5", "-a", "0000:00:00.0"));
    EXPECT_THAT(config.engine.workers, ElementsAre(2, 3, 4));
    EXPECT_THAT(config.errors, IsEmpty());
}

TEST(HostConfig, reads_masks_of_any_length_with_and_without_a_prefix) {
    EXPECT_THAT(parse({{"vdpa-lcore-mask", "6"}}).engine.workers, ElementsAre(1, 2));
    EXPECT_THAT(parse({{"vdpa-lcore-mask", "0X1"}}).engine.workers, ElementsAre(0));
    const std::string last = "8" + std::string(255, '0');
    EXPECT_THAT(parse({{"vdpa-lcore-mask", last}}).engine.workers, ElementsAre(1023));
    EXPECT_THAT(parse({{"vdpa-lcore-mask", std::string(32, 'f')}}).engine.workers, SizeIs(128));
}

class BadEngineOption : public testing::TestWithParam<std::pair<const char *, std::string>> {};

TEST_P(BadEngineOption, is_as_if_absent_and_is_named) {
    const auto &[key, value] = GetParam();
    const HostConfig config = parse({{key, value}});
    EXPECT_EQ(config.engine, schema::EngineStartParams());
    ASSERT_THAT(config.errors, SizeIs(1));
    EXPECT_EQ(config.errors[0].reason, Reason::bad_eal_option);
    EXPECT_THAT(config.errors[0].detail, HasSubstr(key));
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadEngineOption,
    testing::Values(std::pair("vdpa-lcore-mask", ""), std::pair("vdpa-lcore-mask", "0x"),
                    std::pair("vdpa-lcore-mask", "0"), std::pair("vdpa-lcore-mask", "0x0"),
                    std::pair("vdpa-lcore-mask", "12g"), std::pair("vdpa-lcore-mask", "-1"),
                    std::pair("vdpa-lcore-mask", "1" + std::string(256, '0')),
                    std::pair("vdpa-lcore-mask", std::string(33, 'f')),
                    std::pair("vdpa-socket-mem", ""), std::pair("vdpa-socket-mem", "1G"),
                    std::pair("vdpa-socket-mem", ",1"), std::pair("vdpa-socket-mem", "1,"),
                    std::pair("vdpa-socket-mem", "1,,2"), std::pair("vdpa-socket-mem", "1 2")));

TEST(HostConfig, does_not_give_the_engine_more_arguments_than_it_takes) {
    std::string words;
    for (int i = 0; i < 129; i++) {
        words += "w ";
    }
    const HostConfig config = parse({{"vdpa-extra", words}});
    EXPECT_THAT(config.engine.eal, SizeIs(128));
    ASSERT_THAT(config.errors, SizeIs(1));
    EXPECT_EQ(config.errors[0].reason, Reason::bad_eal_option);
    EXPECT_TRUE(schema::decode_engine_start_params(encode(config.engine), "engine.start"));
}

TEST(HostConfig, names_unknown_keys_that_look_like_ours) {
    const HostConfig config =
        parse({{"vdpa-socket", "/x"}, {"vdpa-lcore", "1"}, {"other", "1"}, {"vdpa-pfs", "x"}});
    EXPECT_THAT(config.unknown_keys, ElementsAre("vdpa-lcore", "vdpa-socket"));
}

TEST(HostConfig, takes_userspace_tso_as_open_vswitch_reads_it) {
    EXPECT_FALSE(parse_host_config({{}, false}).userspace_tso);
    EXPECT_TRUE(parse_host_config({{{"userspace-tso-enable", "TRUE"}}, true}).userspace_tso);
}

TEST(HostConfig, keeps_the_good_keys_beside_a_bad_one) {
    const HostConfig config = parse({{"vdpa-socket-perms", "999"},
                                     {"vdpa-socket-owner", "qemu:kvm"},
                                     {"vdpa-sock-dirs", "relative"}});
    EXPECT_EQ(config.options.socket_perms, std::nullopt);
    EXPECT_EQ(config.options.socket_owner, (schema::Owner{"qemu", "kvm"}));
    EXPECT_THAT(config.errors, SizeIs(2));
}

TEST(LiesBelow, takes_what_is_in_a_folder_or_deeper) {
    EXPECT_TRUE(lies_below("/run/a", {"/run"}));
    EXPECT_TRUE(lies_below("/run/b/c/d", {"/tmp", "/run/b"}));
    EXPECT_TRUE(lies_below("/anything", {"/"}));
}

TEST(LiesBelow, does_not_take_a_folder_whose_name_only_begins_like_one) {
    EXPECT_FALSE(lies_below("/running/a", {"/run"}));
    EXPECT_FALSE(lies_below("/run", {"/run"}));
    EXPECT_FALSE(lies_below("/run/a", {}));
}

TEST(HostConfig, has_the_pfs_to_prepare_in_their_order) {
    const HostConfig config =
        parse({{"vdpa-pfs", " 0000:43:00.1,num-vfs=8  43:00.0 netdevsim/netdevsim10,num-vfs=0"}});
    const std::vector<host::PfSpec> expected = {{{"pci", "0000:43:00.1"}, 8},
                                                {{"pci", "0000:43:00.0"}, std::nullopt},
                                                {{"netdevsim", "netdevsim10"}, 0}};
    EXPECT_EQ(config.pfs, expected);
    EXPECT_THAT(config.errors, IsEmpty());
    EXPECT_THAT(parse({{"vdpa-pfs", ""}}).pfs, IsEmpty());
}

TEST(HostConfig, names_bad_words_of_vdpa_pfs_and_takes_the_others) {
    for (const char *word :
         {"eth0", "0000:43:00.0,", "0000:43:00.0,num-vfs",
          "0000:43:00.0,num-vfs=", "0000:43:00.0,num-vfs=-1", "0000:43:00.0,num-vfs=65536",
          "0000:43:00.0,num-vf=4", "0000:43:00.0,num-vfs=4,num-vfs=5", ","}) {
        const HostConfig config = parse({{"vdpa-pfs", std::string(word) + " 0000:44:00.0"}});
        ASSERT_THAT(config.errors, SizeIs(1)) << word;
        EXPECT_EQ(config.errors[0].reason, Reason::bad_pfs) << word;
        EXPECT_THAT(config.errors[0].detail, HasSubstr("vdpa-pfs")) << word;
        ASSERT_THAT(config.pfs, SizeIs(1)) << word;
        EXPECT_EQ(config.pfs[0].handle.device, "0000:44:00.0") << word;
    }
    EXPECT_LT(parse({{"vdpa-pfs", std::string(4000, 'x')}}).errors[0].detail.size(), 1024U);
}

TEST(HostConfig, takes_a_pf_once) {
    const HostConfig config = parse({{"vdpa-pfs", "43:00.0,num-vfs=4 0000:43:00.0,num-vfs=8"}});
    ASSERT_THAT(config.pfs, SizeIs(1));
    EXPECT_EQ(config.pfs[0].num_vfs, 4U);
    ASSERT_THAT(config.errors, SizeIs(1));
    EXPECT_EQ(config.errors[0].reason, Reason::bad_pfs);
}

}  // namespace
}  // namespace vdpa::agent::config
