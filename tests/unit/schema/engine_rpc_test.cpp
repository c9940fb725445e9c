// SPDX-License-Identifier: Apache-2.0
#include "schema/engine_rpc.hpp"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "schema/support/json_reader.hpp"

namespace vdpa::schema {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::Eq;
using testing::HasSubstr;
using testing::IsEmpty;

PortSpec a_spec() {
    PortSpec spec;
    spec.name = "vm1";
    spec.socket.path = "/run/vm1.sock";
    spec.socket.mode = SocketMode::client;
    spec.socket.uid = 64055;
    spec.socket.perms = 0600;
    spec.device = {DeviceKind::tap, "vm1"};
    spec.max_queues = 4;
    spec.packed = true;
    return spec;
}

std::string error_of(const json &params) {
    const auto decoded = decode_port_spec(params, "port.apply");
    return decoded ? "" : decoded.error();
}

TEST(EngineRpc, WhatIsEncodedIsDecodedToTheSame) {
    PortStatus status;
    status.name = "vm1";
    status.generation = 7;
    status.state = PortState::running;
    status.spec = a_spec();
    status.served = a_spec();
    status.reason = "socket-in-use";
    status.queues = 2;
    status.features = {"VIRTIO_F_VERSION_1"};
    const PortList list{{status}};
    const auto decoded = decode_port_list(encode(list), "port.list");
    ASSERT_TRUE(decoded) << decoded.error();
    EXPECT_EQ(decoded->value, list);
    EXPECT_THAT(decoded->unknown_fields, IsEmpty());
}

TEST(EngineRpc, AnAbsentMemberTakesItsDefault) {
    json params = encode(a_spec());
    params["socket"].erase("perms");
    const auto decoded = decode_port_spec(params, "port.apply");
    ASSERT_TRUE(decoded) << decoded.error();
    EXPECT_EQ(decoded->value.socket.perms, 0660U);
}

TEST(EngineRpc, AMissingMemberIsNamed) {
    json params = encode(a_spec());
    params.erase("socket");
    EXPECT_THAT(error_of(params), Eq("port.apply: socket is missing"));
}

TEST(EngineRpc, AValueOutOfRangeIsNamedWithItsPathAndRange) {
    json params = encode(a_spec());
    params["max_queues"] = 129;
    EXPECT_THAT(error_of(params),
                Eq("port.apply.max_queues: must be a whole number from 1 to 128"));
    params = encode(a_spec());
    params["socket"]["path"] = std::string(108, 'x');
    EXPECT_THAT(error_of(params), HasSubstr("port.apply.socket.path: must have 1 to 107 bytes"));
}

TEST(EngineRpc, NumbersThatOverflowAreRefused) {
    json params = encode(a_spec());
    params["max_queues"] = UINT64_MAX;
    EXPECT_THAT(error_of(params), HasSubstr("max_queues"));
    params["max_queues"] = 1.5;
    EXPECT_THAT(error_of(params), HasSubstr("max_queues"));
    params["max_queues"] = -1;
    EXPECT_THAT(error_of(params), HasSubstr("max_queues"));
}

TEST(EngineRpc, AStringWithANulByteIsRefused) {
    json params = encode(a_spec());
    params["socket"]["path"] = std::string("/run/a\0b", 8);
    EXPECT_THAT(error_of(params), HasSubstr("NUL"));
}

TEST(EngineRpc, AnUnknownEnumeratorIsRefusedWithTheKnownOnes) {
    json params = encode(a_spec());
    params["socket"]["mode"] = "master";
    EXPECT_THAT(error_of(params), HasSubstr("must be one of: server, client"));
}

TEST(EngineRpc, UnknownMembersAreNotedAndTheRestIsTaken) {
    json params = encode(a_spec());
    params["colour"] = "red";
    params["socket"]["flavour"] = 1;
    const auto decoded = decode_port_spec(params, "port.apply");
    ASSERT_TRUE(decoded) << decoded.error();
    EXPECT_EQ(decoded->value, a_spec());
    EXPECT_THAT(decoded->unknown_fields,
                ElementsAre("port.apply.socket.flavour", "port.apply.colour"));
}

TEST(EngineRpc, AnArrayPastItsLimitIsRefused) {
    EngineStartParams params;
    params.eal.assign(129, "-v");
    const auto decoded = decode_engine_start_params(encode(params), "engine.start");
    ASSERT_FALSE(decoded);
    EXPECT_THAT(decoded.error(), HasSubstr("at most 128"));
}

TEST(UntrustedJson, NestingPastAnyMessageOfOursIsRefused) {
    EXPECT_TRUE(parse_untrusted_json(std::string(100000, '[')).is_discarded());
    EXPECT_TRUE(parse_untrusted_json(std::string(40, '[') + std::string(40, ']')).is_discarded());
    EXPECT_FALSE(parse_untrusted_json("[[[[1]]]]").is_discarded());
}

TEST(UntrustedJson, GarbageIsDiscardedWithoutAThrow) {
    for (const char *text : {"", "{", "\xff\xfe", "nul", "{\"a\":}", "1e999999"}) {
        EXPECT_TRUE(parse_untrusted_json(text).is_discarded()) << text;
    }
}

}  // namespace
}  // namespace vdpa::schema
