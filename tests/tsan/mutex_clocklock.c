// SPDX-License-Identifier: Apache-2.0
/* For builds with ThreadSanitizer alone. std::timed_mutex waits by pthread_mutex_clocklock(3),
 * which the sanitizer of g++ 12 does not intercept: it never learns that the mutex was taken, calls
 * the unlock a mistake and what the mutex guards a race. It does intercept
 * pthread_mutex_timedlock(3), which is the same but for the clock. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { NSEC_PER_SEC = 1000000000 };

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock,
                            const struct timespec *deadline) {
    struct timespec now, until;
    if (clock_gettime(clock, &now) != 0 || clock_gettime(CLOCK_REALTIME, &until) != 0) {
        return EINVAL;
    }
    until.tv_sec += deadline->tv_sec - now.tv_sec;
    until.tv_nsec += deadline->tv_nsec - now.tv_nsec;
    if (until.tv_nsec < 0) {
        until.tv_nsec += NSEC_PER_SEC;
        --until.tv_sec;
    } else if (until.tv_nsec >= NSEC_PER_SEC) {
        until.tv_nsec -= NSEC_PER_SEC;
        ++until.tv_sec;
    }
    return pthread_mutex_timedlock(mutex, &until);
}
