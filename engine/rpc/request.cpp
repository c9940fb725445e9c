// SPDX-License-Identifier: Apache-2.0
#include "engine/rpc/request.hpp"

#include "schema/support/json_reader.hpp"

namespace vdpa::engine::rpc {

namespace {

using nlohmann::json;
using schema::RpcError;

/* What we echo to a peer of its own. */
constexpr size_t max_id_bytes = 256;

bool usable_id(const json &id) {
    const auto *text = id.get_ptr<const std::string *>();
    return text ? text->size() <= max_id_bytes : id.is_number();
}

std::string to_line(const json &message) {
    // Names from the file system and messages of libraries need not be UTF-8.
    return message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

tl::unexpected<BadRequest> bad(RpcError code, std::string message, json id) {
    return tl::make_unexpected(BadRequest{{code, std::move(message)}, std::move(id)});
}

}  // namespace

tl::expected<Request, BadRequest> parse_request(std::string_view line) {
    json message = parse_untrusted_json(line);
    if (message.is_discarded()) {
        return bad(RpcError::parse_error, "the line is no JSON", nullptr);
    }
    if (message.is_array()) {
        return bad(RpcError::invalid_request, "batches are not supported: send one request a line",
                   nullptr);
    }
    if (!message.is_object()) {
        return bad(RpcError::invalid_request, "a request is an object", nullptr);
    }

    Request request;
    if (const auto id = message.find("id"); id != message.end()) {
        if (!usable_id(*id)) {
            return bad(RpcError::invalid_request,
                       "id must be a number or a string of at most 256 bytes", nullptr);
        }
        request.id = *id;
    }
    json id_or_null = request.id.value_or(json(nullptr));
    const auto version = message.find("jsonrpc");
    if (version == message.end() || *version != "2.0") {
        return bad(RpcError::invalid_request, "jsonrpc must be \"2.0\"", std::move(id_or_null));
    }
    const auto method = message.find("method");
    const auto *name = method == message.end() ? nullptr : method->get_ptr<const std::string *>();
    if (!name) {
        return bad(RpcError::invalid_request, "method must be a string", std::move(id_or_null));
    }
    request.method = *name;
    const auto params = message.find("params");
    if (params == message.end() || params->is_null()) {
        request.params = json::object();
    } else if (params->is_object()) {
        request.params = std::move(*params);
    } else {
        return bad(RpcError::invalid_params, "params must be an object", std::move(id_or_null));
    }
    return request;
}

std::string encode_result(const json &id, json result) {
    return to_line({{"jsonrpc", "2.0"}, {"id", id}, {"result", std::move(result)}});
}

std::string encode_error(const json &id, const schema::RpcFailure &failure) {
    return to_line(
        {{"jsonrpc", "2.0"},
         {"id", id},
         {"error", {{"code", static_cast<int>(failure.code)}, {"message", failure.message}}}});
}

std::string encode_notification(const char *method, json params) {
    return to_line({{"jsonrpc", "2.0"}, {"method", method}, {"params", std::move(params)}});
}

}  // namespace vdpa::engine::rpc
