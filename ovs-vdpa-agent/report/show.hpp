// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ovs-vdpa-agent/report/view.hpp"
#include "schema/engine_rpc.hpp"

namespace vdpa::agent::report {

/* Bodies of the unixctl commands. `ports` is what to show; with `whole` the host is shown too. */
std::string show_text(const HostView &host, const Board::Ports &ports, bool whole);
std::string show_json(const HostView &host, const Board::Ports &ports);
std::string connection_text(const HostView &host);
std::string stats_text(const schema::PortStats &stats);

}  // namespace vdpa::agent::report
