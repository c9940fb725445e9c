// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::report {

/* Bodies of vdpa/show and connection-status. `ports` is what to show; with `whole` the host is
 * shown too. */
std::string show_text(const HostView &host, const Board::Ports &ports, bool whole);
std::string show_json(const HostView &host, const Board::Ports &ports);
std::string connection_text(const HostView &host);

}  // namespace vdpa::agent::report
