// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/interface_keys.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "schema/options.hpp"
#include "schema/status.hpp"

namespace vdpa::agent::ovs {

bool is_vdpa_port(const ovda_interface &interface) {
    return std::any_of(std::begin(schema::interface_key::socket_names),
                       std::end(schema::interface_key::socket_names), [&](const char *key) {
                           return ovda_map_get(interface.options, key) ||
                                  ovda_map_get(interface.external_ids, key);
                       });
}

bool has_status_keys(const ovda_interface &interface) {
    return std::any_of(
        std::begin(schema::interface_status_keys), std::end(schema::interface_status_keys),
        [&](const char *key) { return ovda_map_get(interface.external_ids, key) != nullptr; });
}

std::string unknown_option(const ovda_interface &interface) {
    std::string found;
    ovda_map_visit(
        interface.options,
        [](void *aux, const char *key, const char *) noexcept {
            if (std::string_view(key).starts_with("vdpa-") && !schema::is_interface_key(key)) {
                *static_cast<std::string *>(aux) = std::string_view(key).substr(0, 64);
            }
        },
        &found);
    return found;
}

}  // namespace vdpa::agent::ovs
