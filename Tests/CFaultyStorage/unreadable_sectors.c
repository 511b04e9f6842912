#define _GNU_SOURCE
#include "faulty_storage.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    bool is_set;
    dev_t device;
    ino_t inode;
    int64_t from, to;
} unreadable;

static ssize_t read_at(int descriptor, void *bytes, size_t count, off64_t offset) {
    struct stat status;
    pthread_mutex_lock(&mutex);
    bool fails = unreadable.is_set && fstat(descriptor, &status) == 0 && status.st_dev == unreadable.device
                 && status.st_ino == unreadable.inode && offset < unreadable.to
                 && offset + (int64_t)count > unreadable.from;
    pthread_mutex_unlock(&mutex);
    if (!fails) return pread64(descriptor, bytes, count, offset);
    errno = EIO;
    return -1;
}

bool vigie_make_unreadable(const char *path, int64_t from, int64_t to) {
    struct stat status;
    sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
    if (!vfs || stat(path, &status) != 0) return false;
    if (vfs->xSetSystemCall(vfs, "pread64", (sqlite3_syscall_ptr)read_at) != SQLITE_OK) return false;
    pthread_mutex_lock(&mutex);
    unreadable.is_set = true;
    unreadable.device = status.st_dev;
    unreadable.inode = status.st_ino;
    unreadable.from = from;
    unreadable.to = to;
    pthread_mutex_unlock(&mutex);
    return true;
}

void vigie_make_readable(void) {
    pthread_mutex_lock(&mutex);
    unreadable.is_set = false;
    pthread_mutex_unlock(&mutex);
}
