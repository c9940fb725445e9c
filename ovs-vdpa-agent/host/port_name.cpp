// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/host/port_name.hpp"

#include <charconv>
#include <limits>

namespace vdpa::agent::host {

namespace {

/* Takes `prefix` and the number behind it off the front, or nothing. */
template <typename T>
std::optional<T> take(std::string_view &text, std::string_view prefix) {
    if (!text.starts_with(prefix)) {
        return std::nullopt;
    }
    T value = 0;
    const char *const begin = text.data() + prefix.size();
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
    if (error != std::errc{}) {
        return std::nullopt;
    }
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    return value;
}

}  // namespace

std::optional<PortIdentity> parse_port_name(std::string_view name) {
    PortIdentity identity;
    std::string_view rest = name;
    if (const auto bare = take<uint16_t>(rest, ""); bare && rest.empty()) {
        identity.kind = PortIdentity::Kind::function;
        identity.number = *bare;
        return identity;
    }
    rest = name;
    take<uint32_t>(rest, "l");  // the line card of a physical port
    if (take<uint32_t>(rest, "p")) {
        take<uint32_t>(rest, "s");  // a part of a port that is split
        identity.kind = PortIdentity::Kind::uplink;
        return rest.empty() ? std::optional(identity) : std::nullopt;
    }
    rest = name;
    identity.controller = take<uint32_t>(rest, "c");
    identity.pf_number = take<uint16_t>(rest, "pf");
    if (!identity.pf_number) {
        return std::nullopt;
    }
    if (rest.empty()) {
        identity.kind = PortIdentity::Kind::pf;
        return identity;
    }
    identity.kind = PortIdentity::Kind::function;
    if (const auto vf = take<uint16_t>(rest, "vf")) {
        identity.number = *vf;
    } else if (const auto sf = take<uint32_t>(rest, "sf")) {
        identity.flavour = Flavour::sf;
        identity.number = *sf;
    } else {
        return std::nullopt;
    }
    return rest.empty() ? std::optional(identity) : std::nullopt;
}

}  // namespace vdpa::agent::host
