// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "schema/status.hpp"

namespace vdpa {

/* Why something did not work: a stable code for programs, and a sentence for the operator that
 * names the object and, where there is something to do, says what. */
struct Error {
    schema::Reason reason;
    std::string detail;

    bool operator==(const Error &) const = default;
};

template <typename T>
using Expected = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(schema::Reason reason, std::string detail) {
    return tl::make_unexpected(Error{reason, std::move(detail)});
}

/* "strerror(error)" without its thread-unsafe buffer. */
std::string errno_text(int error);

}  // namespace vdpa
