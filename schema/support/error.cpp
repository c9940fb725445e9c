// SPDX-License-Identifier: Apache-2.0
#include "schema/support/error.hpp"

#include <system_error>

namespace vdpa {

std::string errno_text(int error) {
    return std::generic_category().message(error);
}

}  // namespace vdpa
