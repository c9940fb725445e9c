// SPDX-License-Identifier: Apache-2.0
#include "engine/vhost/feature_names.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vdpa::engine::vhost {
namespace {

using testing::ElementsAre;

/* virtio 1.2, 5.1.3 and 6. */
constexpr unsigned csum = 0;
constexpr unsigned mq = 22;
constexpr unsigned event_idx = 29;
constexpr unsigned version_1 = 32;
constexpr unsigned ring_packed = 34;
constexpr unsigned speed_duplex = 63;

constexpr uint64_t bit(unsigned number) {
    return uint64_t{1} << number;
}

TEST(FeatureNames, AreThoseOfTheSpecificationInTheOrderOfTheBits) {
    EXPECT_THAT(feature_names(bit(ring_packed) | bit(csum) | bit(mq) | bit(event_idx) |
                              bit(version_1) | bit(speed_duplex)),
                ElementsAre("csum", "mq", "event_idx", "version_1", "ring_packed", "speed_duplex"));
}

TEST(FeatureNames, ABitWithoutANameIsANumber) {
    EXPECT_THAT(feature_names(bit(4) | bit(50)), ElementsAre("bit4", "bit50"));
}

TEST(FeatureNames, OfNothingAreNone) {
    EXPECT_TRUE(feature_names(0).empty());
}

}  // namespace
}  // namespace vdpa::engine::vhost
