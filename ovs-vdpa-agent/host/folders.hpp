// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace vdpa::agent::host {

/* Names of the entries of a folder that begin so, in no order; none if it cannot be read. */
std::vector<std::string> entries(const std::string &path, const char *prefix = "");

/* The last component of what a symbolic link points to; nothing if it is none. */
std::optional<std::string> link_name(const std::string &path);

}  // namespace vdpa::agent::host
