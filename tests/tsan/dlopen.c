// SPDX-License-Identifier: Apache-2.0
/* For builds with ThreadSanitizer alone. Its dlopen(3) lists the segments of all libraries anew
 * after each that is loaded. DPDK loads its drivers one by one, well over a hundred, and so takes
 * seconds to start, on a busy machine more than what waits for a port allows. dlmopen(3), which it
 * leaves alone, does the same in the one namespace that there is. */
#include <dlfcn.h>

void *dlopen(const char *file, int flags) {
    return dlmopen(LM_ID_BASE, file, flags);
}
