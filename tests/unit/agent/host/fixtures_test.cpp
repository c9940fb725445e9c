// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>

#include "tests/unit/agent/host/describe.hpp"
#include "tests/unit/agent/host/fixture.hpp"

namespace vdpa::agent::host {
namespace {

using nlohmann::json;

class FixtureTest : public testing::TestWithParam<std::string> {};

std::optional<std::string> member(const json &row, const char *key) {
    return row.contains(key) ? std::optional(row.at(key).get<std::string>()) : std::nullopt;
}

/* What a row of the fixture comes to, as its "is" has it. */
std::string resolution(const Inventory &inventory, const json &row) {
    const auto accelerator = member(row, "vdpa-accelerator-devargs");
    const auto representor = member(row, "vdpa-representor");
    const auto devargs = member(row, "dpdk-devargs");
    const auto request =
        parse_device_request({accelerator, representor, devargs.has_value(), devargs});
    if (!request) {
        return std::string(to_string(request.error().reason)) + ": " + request.error().detail;
    }
    const auto target = resolve(inventory, *request, row.value("name", "vm1"));
    return target ? describe(*target)
                  : std::string(to_string(target.error().reason)) + ": " + target.error().detail;
}

TEST_P(FixtureTest, has_the_inventory_it_should_have) {
    const Fixture fixture(GetParam());
    ASSERT_TRUE(fixture.description.contains("inventory"));
    EXPECT_THAT(describe(fixture.inventory()),
                testing::ElementsAreArray(
                    fixture.description.at("inventory").get<std::vector<std::string>>()));
}

TEST_P(FixtureTest, resolves_every_row_as_it_should) {
    const Fixture fixture(GetParam());
    const Inventory inventory = fixture.inventory();
    ASSERT_FALSE(fixture.description.at("rows").empty());
    for (const json &row : fixture.description.at("rows")) {
        EXPECT_EQ(resolution(inventory, row), row.at("is").get<std::string>()) << row.dump();
    }
}

TEST_P(FixtureTest, finds_every_function_by_every_way) {
    const Fixture fixture(GetParam());
    const Inventory inventory = fixture.inventory();
    for (const Pf &pf : inventory.pfs) {
        EXPECT_EQ(inventory.pf(pf.handle), &pf);
        for (const Function &function : pf.functions) {
            EXPECT_EQ(inventory.function(function.id), &function) << describe(function);
            if (function.device) {
                EXPECT_EQ(inventory.function_with_device(*function.device), &function);
            }
            if (function.representor) {
                EXPECT_EQ(inventory.function_with_representor(function.representor->netdev),
                          &function);
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Hosts, FixtureTest, testing::ValuesIn(fixture_names()),
                         [](const auto &name) {
                             std::string text = name.param.substr(0, name.param.find('.'));
                             std::replace_if(
                                 text.begin(), text.end(),
                                 [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
                             return text;
                         });

}  // namespace
}  // namespace vdpa::agent::host
