// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "schema/engine_rpc.hpp"

namespace vdpa::engine::rpc {

/* A JSON-RPC 2.0 request (https://www.jsonrpc.org/specification). Without `id` it is a
 * notification, which is carried out and not answered. */
struct Request {
    std::string method;
    nlohmann::json params;
    std::optional<nlohmann::json> id;
};

/* Why a line is no request; `id` is that of the line where it has a usable one, else null. */
struct BadRequest {
    schema::RpcFailure failure;
    nlohmann::json id;
};

/* Reads one line from a peer. Never throws. */
tl::expected<Request, BadRequest> parse_request(std::string_view line);

/* Messages as lines, newline included. */
std::string encode_result(const nlohmann::json &id, nlohmann::json result);
std::string encode_error(const nlohmann::json &id, const schema::RpcFailure &failure);
std::string encode_notification(const char *method, nlohmann::json params);

}  // namespace vdpa::engine::rpc
