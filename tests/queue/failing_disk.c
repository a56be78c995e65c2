/* A disk that fails on demand: preloaded into a process, it makes calls on the database fail.

   While the file that FAILING_DISK names holds "sync", fsync and fdatasync fail with EIO; while it holds "write",
   writes fail with ENOSPC after half of their octets. Only files whose names contain "queue.db" are concerned. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(int fd, const char *what) {
    char link[64], name[4096], mode[16] = "";
    const char *control = getenv("FAILING_DISK");
    int file = control ? (int)syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (file < 0) return 0;
    ssize_t size = syscall(SYS_read, file, mode, sizeof mode - 1);
    syscall(SYS_close, file);
    if (size <= 0 || strncmp(mode, what, strlen(what)) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, name, sizeof name - 1);
    if (size < 0) return 0;
    name[size] = 0;
    return strstr(name, "queue.db") != NULL;
}

int fsync(int fd) {
    if (fails(fd, "sync")) { errno = EIO; return -1; }
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    if (fails(fd, "sync")) { errno = EIO; return -1; }
    return (int)syscall(SYS_fdatasync, fd);
}

static ssize_t half(int fd, const void *data, size_t size, off_t at, int positioned) {
    if (size >= 64) {
        if (positioned) syscall(SYS_pwrite64, fd, data, size / 2, at);
        else syscall(SYS_write, fd, data, size / 2);
    }
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (fails(fd, "write")) return half(fd, data, size, 0, 0);
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (fails(fd, "write")) return half(fd, data, size, at, 1);
    return syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    if (fails(fd, "write")) return half(fd, data, size, at, 1);
    return syscall(SYS_pwrite64, fd, data, size, at);
}
