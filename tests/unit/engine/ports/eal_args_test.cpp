// SPDX-License-Identifier: Apache-2.0
#include "engine/eal_args.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vdpa::engine {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;
using testing::StartsWith;

std::vector<std::string> complete(const std::vector<std::string> &args) {
    const auto result = complete_eal_args(args, {0, 3}, "p");
    EXPECT_TRUE(result.has_value());
    return result.value_or(std::vector<std::string>{});
}

TEST(EalArgs, OfNothingAreTheDefaults) {
    EXPECT_THAT(complete({}), ElementsAre("ovs-vdpa-engine", "--in-memory", "--file-prefix=p", "-a",
                                          "0000:00:00.0", "--iova-mode=va", "--lcores=0@(0,3)",
                                          "--no-telemetry"));
}

TEST(EalArgs, WhatIsGivenComesLastAndUnchanged) {
    const auto args = complete({"-m", "64"});
    ASSERT_GE(args.size(), 2U);
    EXPECT_THAT(std::vector<std::string>(args.end() - 2, args.end()), ElementsAre("-m", "64"));
}

struct Decided {
    std::vector<std::string> given;
    const char *ours;
};

class DecidedArgs : public testing::TestWithParam<Decided> {};

TEST_P(DecidedArgs, AreLeftToTheCaller) {
    const auto args = complete(GetParam().given);
    const std::vector<std::string> added(
        args.begin(), args.end() - static_cast<ptrdiff_t>(GetParam().given.size()));
    EXPECT_THAT(added, Not(Contains(StartsWith(GetParam().ours))));
}

INSTANTIATE_TEST_SUITE_P(
    EalArgs, DecidedArgs,
    testing::Values(Decided{{"--no-huge"}, "--in-memory"}, Decided{{"-a", "0000:01:00.2"}, "-a"},
                    Decided{{"-a0000:01:00.2"}, "-a"}, Decided{{"--no-pci"}, "-a"},
                    Decided{{"--iova-mode=pa"}, "--iova-mode"},
                    Decided{{"--iova-mode", "pa"}, "--iova-mode"}, Decided{{"-l", "1"}, "--lcores"},
                    Decided{{"-c0x2"}, "--lcores"}, Decided{{"--lcores", "1@1"}, "--lcores"},
                    Decided{{"--file-prefix=x"}, "--file-prefix"}));

TEST(EalArgs, WhatWouldEndTheProcessIsRefused) {
    for (const char *arg : {"-h", "--help", "-v", "--version"}) {
        EXPECT_FALSE(complete_eal_args({arg}, {0}, "p").has_value()) << arg;
    }
}

}  // namespace
}  // namespace vdpa::engine
