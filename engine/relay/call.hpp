// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/aio_abi.h>

#include "schema/support/error.hpp"
#include "schema/support/unique_fd.hpp"

namespace vdpa::engine::relay {

/* What a descriptor is that a front-end gave us. Nobody but the kernel is asked. */
bool is_eventfd(int fd);
bool is_unix_socket(int fd);

/* Signals eventfds of front-ends without ever waiting for them. A write to an eventfd waits while
 * the counter is full, unless O_NONBLOCK is set; but whoever shares the descriptor can fill the one
 * and clear the other at any time. There is no such choice for a single write (pwritev2 with
 * RWF_NOWAIT: EOPNOTSUPP), and the descriptor cannot be opened anew. But the kernel, when a request
 * of asynchronous I/O is done that names an eventfd (io_submit(2), IOCB_FLAG_RESFD), adds 1 and
 * waits for nothing. So there is a request that is done at once: to read nothing from /dev/null. It
 * takes about 0.5 us more than the write.
 *
 * For one thread, a worker's. */
class Caller {
  public:
    Caller() = default;
    ~Caller();
    Caller(const Caller &) = delete;
    Caller &operator=(const Caller &) = delete;

    /* Once. Until then, and after an error, signal() writes. Error: engine-error, when the kernel
     * has no asynchronous I/O, or all that fs.aio-max-nr allows is in use. */
    Expected<void> open();
    bool never_waits() const { return context_ != 0; }

    /* Adds 1 to the counter. False: it could not, because the counter is full. */
    bool signal(int eventfd);

  private:
    void reap();

    aio_context_t context_ = 0;
    unsigned done_ = 0;  // requests whose results were not taken
    UniqueFd null_;
};

/* A front-end's descriptor by which its guest is interrupted; it stays the front-end's. */
class CallDescriptor {
  public:
    /* None, for -1 and for what is neither an eventfd nor a unix socket. */
    CallDescriptor(int fd, Caller &caller);

    explicit operator bool() const { return kind_ != Kind::none; }
    /* Whether it was done. Not: somebody has yet to read the last one. */
    bool call() const;

  private:
    enum class Kind { none, eventfd, socket };

    Caller *caller_;
    int fd_;
    Kind kind_ = Kind::none;
};

}  // namespace vdpa::engine::relay
