// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "engine/relay/queue_pair.hpp"

namespace vdpa::engine::relay {

/* Queue pairs in the order in which they came, linked through themselves: no step allocates. A pair
 * is in at most one list. */
class PairList {
  public:
    bool empty() const { return first_ == nullptr; }
    size_t size() const { return size_; }
    QueuePair *front() const { return first_; }

    void push_back(QueuePair &pair) {
        pair.previous = last_;
        pair.next = nullptr;
        (last_ != nullptr ? last_->next : first_) = &pair;
        last_ = &pair;
        size_++;
    }

    void remove(QueuePair &pair) {
        (pair.previous != nullptr ? pair.previous->next : first_) = pair.next;
        (pair.next != nullptr ? pair.next->previous : last_) = pair.previous;
        pair.next = pair.previous = nullptr;
        size_--;
    }

  private:
    QueuePair *first_ = nullptr;
    QueuePair *last_ = nullptr;
    size_t size_ = 0;
};

}  // namespace vdpa::engine::relay
