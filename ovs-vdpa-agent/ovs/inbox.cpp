// SPDX-License-Identifier: Apache-2.0
#include "ovs-vdpa-agent/ovs/inbox.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>
#include <system_error>

namespace vdpa::agent::ovs {

Inbox::Inbox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) {
        throw std::system_error(errno, std::generic_category(), "eventfd");
    }
}

void Inbox::put_status(std::vector<StatusUpdate> updates) {
    const std::lock_guard lock(mutex_);
    if (closed_) {
        return;
    }
    content_.status.insert(content_.status.end(), std::make_move_iterator(updates.begin()),
                           std::make_move_iterator(updates.end()));
    wake();
}

void Inbox::put_reply(Reply reply) {
    const std::lock_guard lock(mutex_);
    if (closed_) {
        return;
    }
    content_.replies.push_back(std::move(reply));
    wake();
}

void Inbox::put_question(NameQuestion question) {
    const std::lock_guard lock(mutex_);
    if (closed_) {
        return;
    }
    content_.questions.push_back(std::move(question));
    wake();
}

void Inbox::put_startup_complete() {
    const std::lock_guard lock(mutex_);
    content_.startup_complete = true;
    wake();
}

void Inbox::put_stop() {
    const std::lock_guard lock(mutex_);
    content_.stop = true;
    wake();
}

Inbox::Content Inbox::take() {
    const std::lock_guard lock(mutex_);
    eventfd_t count;
    eventfd_read(event_.get(), &count);
    return std::exchange(content_, {});
}

void Inbox::close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    content_ = {};
}

void Inbox::wake() {
    /* Fails only when the counter is full, and then it is readable. */
    eventfd_write(event_.get(), 1);
}

}  // namespace vdpa::agent::ovs
