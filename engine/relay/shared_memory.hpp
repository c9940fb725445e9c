// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define OVDA_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define OVDA_TSAN
#endif
#endif

/* Access to memory that a driver in a guest reads and writes at the same time. Each field is read
 * once: what was checked is what is used. */
namespace vdpa::engine::relay {

template <typename T>
T load_relaxed(const T &from) {
    return __atomic_load_n(&from, __ATOMIC_RELAXED);
}

template <typename T>
T load_acquire(const T &from) {
    return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}

template <typename T>
void store_relaxed(T &to, T value) {
    __atomic_store_n(&to, value, __ATOMIC_RELAXED);
}

template <typename T>
void store_release(T &to, T value) {
    __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}

/* A copy of what `from` points to, of any alignment, that the compiler cannot replace by a second
 * look at the original. */
template <typename T>
T copy_in(const void *from) {
    T copy;
    std::memcpy(&copy, from, sizeof copy);
    asm volatile("" : "+m"(copy));
    return copy;
}

/* Orders an earlier store before a later load (virtio 1.2, 2.7.13.3.1 and 2.8.21.3.1: publish, then
 * look whether the other side wants to be told). */
inline void full_barrier() {
#ifdef OVDA_TSAN  // which does not model fences
    static std::atomic<int> order{0};
    order.fetch_add(1, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

}  // namespace vdpa::engine::relay
