// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/utf8.hpp"

#include <gtest/gtest.h>

namespace vdpa::agent::ovs {
namespace {

using namespace std::string_view_literals;

constexpr const char *replacement = "\xef\xbf\xbd";

TEST(Utf8, that_is_well_formed_stays_as_it_is) {
    for (const std::string_view text : {""sv, "vm1"sv, "\xc3\xa4"sv, "\xe2\x82\xac x"sv,
                                        "\xf0\x9f\x99\x82"sv, "\xf4\x8f\xbf\xbf"sv}) {
        EXPECT_EQ(valid_utf8(text), text);
    }
}

TEST(Utf8, that_is_malformed_is_replaced_byte_by_byte) {
    const std::string r = replacement;
    EXPECT_EQ(valid_utf8("a\xff"), "a" + r);
    EXPECT_EQ(valid_utf8("\x80z"), r + "z");
    EXPECT_EQ(valid_utf8("cut \xe2\x82"), "cut " + r + r);
    EXPECT_EQ(valid_utf8("a\0b"sv), "a" + r + "b");
}

TEST(Utf8, overlong_forms_surrogates_and_too_large_values_are_malformed) {
    for (const std::string_view text : {"\xc0\xaf"sv, "\xe0\x80\xaf"sv, "\xed\xa0\x80"sv,
                                        "\xf0\x80\x80\x80"sv, "\xf4\x90\x80\x80"sv}) {
        std::string all_replaced;
        for (size_t i = 0; i < text.size(); i++) {
            all_replaced += replacement;
        }
        EXPECT_EQ(valid_utf8(text), all_replaced);
    }
}

}  // namespace
}  // namespace vdpa::agent::ovs
