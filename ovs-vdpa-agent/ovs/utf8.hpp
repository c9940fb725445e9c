// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace vdpa::agent::ovs {

/* The text with whatever OVSDB and unixctl would refuse (RFC 7047 strings are UTF-8 without null
 * bytes; ovsdb-server drops the connection of who sends others) replaced by U+FFFD. */
std::string valid_utf8(std::string_view text);

}  // namespace vdpa::agent::ovs
