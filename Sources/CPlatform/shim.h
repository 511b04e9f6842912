#pragma once
// C library calls that Swift cannot reach by itself: variadic functions and macros.
#include <sys/prctl.h>
#include <sys/socket.h>

// Names the calling thread; the kernel keeps 15 bytes (prctl(2)).
static inline void vigie_set_thread_name(const char *name) {
    prctl(PR_SET_NAME, name, 0, 0, 0);
}

// A datagram socket of the local domain. The kinds of sockets are an enumeration in C, which Swift does not find when
// its standard library is linked statically.
static inline int vigie_local_datagram_socket(void) {
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

// Two connected stream sockets of the local domain.
static inline int vigie_local_stream_pair(int *ends) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
}

// A stream socket of the local domain.
static inline int vigie_local_stream_socket(void) { return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }

// Sends without a signal when the other end is closed.
static inline ssize_t vigie_send(int socket, const void *bytes, size_t count) {
    return send(socket, bytes, count, MSG_NOSIGNAL);
}

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Which file a path leads to, or a descriptor with an empty path and VIGIE_EMPTY_PATH, and its length: statx(2) without the
// times. From Linux 6.13 on, a file whose times somebody has read gets new ones with its next write, and fdatasync(2) then
// writes its inode, too. The C library declares statx(2) and AT_EMPTY_PATH only with _GNU_SOURCE, which Swift's importer
// does not define.
// Returns 0, or -1 with errno.
enum { VIGIE_EMPTY_PATH = 0x1000 };

static inline int vigie_file(
    int descriptor, const char *path, int flags, unsigned long long *device, unsigned long long *inode,
    unsigned long long *bytes) {
    struct statx status;
    if (syscall(SYS_statx, descriptor, path, flags, STATX_INO | STATX_SIZE, &status) != 0) return -1;
    *device = (unsigned long long)status.stx_dev_major << 32 | status.stx_dev_minor;
    *inode = status.stx_ino;
    *bytes = status.stx_size;
    return 0;
}

#include <getopt.h>

// One step of getopt_long(3), whose state is global: `restart` begins a new argument vector. On return `*argument`
// is the option's value or NULL, and `*index` the next element of argv to be looked at. Errors are not printed.
static inline int vigie_next_option(
    int restart, int argc, char *const *argv, const char *short_options, const struct option *long_options,
    int *long_index, const char **argument, int *index) {
    if (restart) optind = 0;
    opterr = 0;
    *long_index = -1;
    int result = getopt_long(argc, argv, short_options, long_options, long_index);
    *argument = optarg;
    *index = optind;
    return result;
}

// The short option that getopt_long(3) refused; 0 if it was a long one.
static inline int vigie_refused_option(void) { return optopt; }

#include <sys/timex.h>

// Whether the kernel's clock is synchronised, by adjtimex(2): 1 yes, 0 no, -1 on an error (errno).
static inline int vigie_clock_is_synchronised(void) {
    struct timex state = {0};
    int result = adjtimex(&state);
    if (result == -1) return -1;
    return result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

// A file that is only in memory (memfd_create(2), which glibc declares for GNU sources only), closed on exec.
static inline int vigie_memory_file(const char *name) { return (int)syscall(SYS_memfd_create, name, 1u); }

extern char **environ;

// The environment as posix_spawn(3) takes it.
static inline char **vigie_environment(void) { return environ; }

#include <sys/vfs.h>

// The file system that a path is on (statfs(2)): its magic number, whether it is mounted read-only, and the bytes that
// a program without privileges may still write. Returns -1 and sets errno on failure.
static inline int vigie_file_system(const char *path, long *kind, int *is_read_only, unsigned long long *free_bytes) {
    struct statfs state;
    if (statfs(path, &state) != 0) return -1;
    *kind = state.f_type;
    *is_read_only = (state.f_flags & 1) != 0;  // ST_RDONLY
    *free_bytes = (unsigned long long)state.f_bavail * (unsigned long long)state.f_bsize;
    return 0;
}
