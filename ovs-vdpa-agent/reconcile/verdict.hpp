// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "schema/support/error.hpp"

namespace vdpa::agent::reconcile {

/* What is to be said of a port: the first condition that does not hold, or how far it is served. */
struct Verdict {
    schema::State state;
    std::optional<Error> reason;
};

inline schema::State state_of_error(const Error &error) {
    return schema::state_of(error.reason).value_or(schema::State::failed);
}

}  // namespace vdpa::agent::reconcile
