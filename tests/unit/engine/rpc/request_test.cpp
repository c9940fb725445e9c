// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/request.hpp"

#include <gtest/gtest.h>

namespace vdpa::engine::rpc {
namespace {

using schema::RpcError;

struct BadLine {
    const char *line;
    RpcError code;
    nlohmann::json id;
};

class BadLines : public testing::TestWithParam<BadLine> {};

TEST_P(BadLines, AreRefusedWithTheStandardCodeAndTheUsableId) {
    const auto request = parse_request(GetParam().line);
    ASSERT_FALSE(request.has_value());
    EXPECT_EQ(request.error().failure.code, GetParam().code);
    EXPECT_EQ(request.error().id, GetParam().id);
}

INSTANTIATE_TEST_SUITE_P(
    Request, BadLines,
    testing::Values(
        BadLine{"no json", RpcError::parse_error, nullptr},
        BadLine{"{\"jsonrpc\":\"2.0\",\"id\":1", RpcError::parse_error, nullptr},
        BadLine{"\xff\xfe", RpcError::parse_error, nullptr},
        BadLine{"17", RpcError::invalid_request, nullptr},
        BadLine{R"([{"jsonrpc":"2.0","id":1,"method":"m"}])", RpcError::invalid_request, nullptr},
        BadLine{R"({"id":1,"method":"m"})", RpcError::invalid_request, 1},
        BadLine{R"({"jsonrpc":"1.0","id":"a","method":"m"})", RpcError::invalid_request, "a"},
        BadLine{R"({"jsonrpc":"2.0","id":1})", RpcError::invalid_request, 1},
        BadLine{R"({"jsonrpc":"2.0","id":1,"method":5})", RpcError::invalid_request, 1},
        BadLine{R"({"jsonrpc":"2.0","id":{},"method":"m"})", RpcError::invalid_request, nullptr},
        BadLine{R"({"jsonrpc":"2.0","id":null,"method":"m"})", RpcError::invalid_request, nullptr},
        BadLine{R"({"jsonrpc":"2.0","id":1,"method":"m","params":[1]})", RpcError::invalid_params,
                1}));

TEST(Request, WithoutIdIsANotification) {
    const auto request = parse_request(R"({"jsonrpc":"2.0","method":"m"})");
    ASSERT_TRUE(request.has_value());
    EXPECT_FALSE(request->id.has_value());
    EXPECT_EQ(request->params, nlohmann::json::object());
}

TEST(Request, KeepsMethodParametersAndId) {
    const auto request =
        parse_request(R"({"jsonrpc":"2.0","id":"x-1","method":"m","params":{"a":1}})");
    ASSERT_TRUE(request.has_value());
    EXPECT_EQ(request->method, "m");
    EXPECT_EQ(request->params, nlohmann::json({{"a", 1}}));
    EXPECT_EQ(request->id, "x-1");
}

TEST(Request, AnIdOfMoreThan256BytesIsNotEchoed) {
    const std::string id(257, 'i');
    const auto request = parse_request(R"({"jsonrpc":"2.0","method":"m","id":")" + id + "\"}");
    ASSERT_FALSE(request.has_value());
    EXPECT_TRUE(request.error().id.is_null());
}

TEST(Request, DeepNestingIsNoJson) {
    const auto request = parse_request(std::string(100000, '['));
    ASSERT_FALSE(request.has_value());
    EXPECT_EQ(request.error().failure.code, RpcError::parse_error);
}

TEST(Response, IsOneLineEvenWithBytesThatAreNoUtf8) {
    const std::string line =
        encode_error(7, {RpcError::internal_error, "file \xff name\nsecond line"});
    EXPECT_EQ(line.find('\n'), line.size() - 1);
    const auto parsed = nlohmann::json::parse(line, nullptr, false);
    ASSERT_FALSE(parsed.is_discarded());
    EXPECT_EQ(parsed["id"], 7);
    EXPECT_EQ(parsed["error"]["code"], -32603);
}

}  // namespace
}  // namespace vdpa::engine::rpc
