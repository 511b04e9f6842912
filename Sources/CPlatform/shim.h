#pragma once
// C library calls that Swift cannot reach by itself: variadic functions and macros.
#include <sys/prctl.h>

// Names the calling thread; the kernel keeps 15 bytes (prctl(2)).
static inline void vigie_set_thread_name(const char *name) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
}
