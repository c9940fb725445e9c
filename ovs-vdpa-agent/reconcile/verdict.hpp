// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "ovs-vdpa-agent/report/view.hpp"
#include "schema/support/error.hpp"

namespace vdpa::agent::reconcile {

using report::Condition;

/* What is to be said of a port: the first condition that does not hold, or how far it is served. */
struct Verdict {
    schema::State state;
    std::optional<Error> reason;
    std::optional<Condition> unmet;  // none: all hold
};

inline schema::State state_of_error(const Error &error) {
    return schema::state_of(error.reason).value_or(schema::State::failed);
}

/* The condition does not hold because of that. */
inline Verdict unmet(Condition condition, const Error &error) {
    return {state_of_error(error), error, condition};
}

/* The condition does not hold yet; what makes it hold is under way. */
inline Verdict under_way(Condition condition) {
    return {schema::State::provisioning, std::nullopt, condition};
}

}  // namespace vdpa::agent::reconcile
