// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/reconcile/claims.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ovs-vdpa-agent/reconcile/backoff.hpp"

namespace vdpa::agent::reconcile {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Claims, tell_who_wants_a_thing_by_name) {
    Claims claims;
    claims.set("b", {"x", "y"});
    claims.set("a", {"x"});
    EXPECT_THAT(claims.of("x"), ElementsAre("a", "b"));
    EXPECT_THAT(claims.of("y"), ElementsAre("b"));
    EXPECT_THAT(claims.by("b"), ElementsAre("x", "y"));
}

TEST(Claims, on_other_things_end_those_before_and_tell_what_differs) {
    Claims claims;
    EXPECT_THAT(claims.set("a", {"x", "y"}), ElementsAre("x", "y"));
    EXPECT_THAT(claims.set("a", {"y", "z"}), ElementsAre("x", "z"));
    EXPECT_THAT(claims.set("a", {"y", "z"}), IsEmpty());
    EXPECT_THAT(claims.of("x"), IsEmpty());
    EXPECT_THAT(claims.of("z"), ElementsAre("a"));
}

TEST(Claims, on_nothing_end_those_before) {
    Claims claims;
    claims.set("a", {"x"});
    EXPECT_THAT(claims.set("a", {}), ElementsAre("x"));
    EXPECT_THAT(claims.by("a"), IsEmpty());
    EXPECT_THAT(claims.of("x"), IsEmpty());
    EXPECT_THAT(claims.set("b", {}), IsEmpty());
}

TEST(Backoff, doubles_up_to_its_limit_with_a_jitter_of_a_tenth_either_way) {
    using std::chrono::milliseconds;
    Backoff backoff({milliseconds(100), milliseconds(1000)});
    for (const int64_t expected : {100, 200, 400, 800, 1000, 1000}) {
        const auto time = backoff.next(milliseconds(100'000)).count();
        EXPECT_GE(time, expected * 9 / 10);
        EXPECT_LE(time, expected * 11 / 10);
    }
}

TEST(Backoff, begins_anew_after_a_success) {
    using std::chrono::milliseconds;
    Backoff backoff({milliseconds(100), milliseconds(1000)});
    backoff.next(milliseconds(1000));
    backoff.next(milliseconds(1000));
    backoff.reset();
    EXPECT_LE(backoff.next(milliseconds(1000)), milliseconds(110));
}

TEST(Backoff, does_not_go_beyond_the_cap_of_what_is_cheap) {
    using std::chrono::milliseconds;
    Backoff backoff({milliseconds(100), milliseconds(30'000)});
    for (int i = 0; i < 10; i++) {
        EXPECT_LE(backoff.next(milliseconds(1000)), milliseconds(1100));
    }
}

}  // namespace
}  // namespace vdpa::agent::reconcile
