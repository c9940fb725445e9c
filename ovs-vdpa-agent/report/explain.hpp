// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "ovs-vdpa-agent/report/view.hpp"

namespace vdpa::agent::report {

/* Body of vdpa/explain: the conditions of a port in order, which holds, which does not, and since
 * when. */
std::string explain_text(const PortView &port);
std::string explain_json(const PortView &port);

}  // namespace vdpa::agent::report
