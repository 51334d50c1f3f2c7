/* A faulty disk and a wrong clock under a real program: preloaded, it stands between the program and the C library, so
 * that every call goes through it, those of SQLite included.
 *
 * ESTAFETTE_FAULTS names the control file, which may change at any time; ESTAFETTE_FAULTS_UNDER the directory whose files are
 * concerned. Each fault that strikes is noted in the control file's name with ".struck" appended. A line of the control file:
 *
 *   CALL FILTER NTH TIMES ACTION VALUE
 *     CALL    write, sync, rename, create, allocate (ftruncate and fallocate), unlink
 *     FILTER  how the path ends, or begins below the directory when it ends in a slash; * for any
 *     NTH     from the how manieth of these calls on, counted from 1 anew whenever the control file changes
 *     TIMES   how many of them; 0 for ever
 *     ACTION  error (fails with errno VALUE), tear (writes a half, then fails with errno VALUE), short (writes a half and says
 *             so), delay (waits VALUE milliseconds)
 *   clock SECONDS
 *     the wall clock is wrong by so much
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES_MAX 8
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

struct rule {
    char call[16], filter[64], action[16];
    long nth, times, value, seen;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rule rules[RULES_MAX];
static int rule_count;
static long clock_offset;
static struct stat read_last;

/* The control file, read again when it is another one. The lock is held. */
static void read_control(void) {
    const char *control = getenv("ESTAFETTE_FAULTS");
    struct stat now;
    if (!control || fstatat(AT_FDCWD, control, &now, 0) != 0) return;
    if (now.st_ino == read_last.st_ino && now.st_mtim.tv_sec == read_last.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == read_last.st_mtim.tv_nsec)
        return;
    char text[4096];
    long fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    long length = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    text[length > 0 ? length : 0] = 0;
    read_last = now;
    rule_count = 0;
    clock_offset = 0;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")) && rule_count < RULES_MAX) {
        struct rule *rule = &rules[rule_count];
        memset(rule, 0, sizeof *rule);
        if (sscanf(line, "clock %ld", &clock_offset) == 1) continue;
        if (sscanf(line, "%15s %63s %ld %ld %15s %ld", rule->call, rule->filter, &rule->nth, &rule->times, rule->action,
                   &rule->value) == 6)
            rule_count++;
    }
}

static int matches(const char *filter, const char *path) {
    size_t length = strlen(filter), whole = strlen(path);
    if (strcmp(filter, "*") == 0) return 1;
    if (filter[length - 1] == '/') return strncmp(path, filter, length) == 0;
    return whole >= length && strcmp(path + whole - length, filter) == 0;
}

static void note(const char *call, const char *path, const char *action) {
    char name[4096], line[4200];
    snprintf(name, sizeof name, "%s.struck", getenv("ESTAFETTE_FAULTS"));
    int length = snprintf(line, sizeof line, "%s %s %s\n", call, path, action);
    long fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, length);
    syscall(SYS_close, fd);
}

/* What is to become of this call: an error, 0 for none; *part says whether half of a write is done first. A delay is over
 * on return. */
static int strike(const char *call, const char *path, int *part) {
    const char *under = getenv("ESTAFETTE_FAULTS_UNDER");
    size_t length = under ? strlen(under) : 0;
    int error = 0;
    long delay = 0;
    *part = 0;
    if (!length || strncmp(path, under, length) != 0) return 0;
    path += length;
    while (*path == '/') path++;
    pthread_mutex_lock(&lock);
    read_control();
    for (struct rule *rule = rules; rule < rules + rule_count; rule++) {
        if (strcmp(rule->call, call) != 0 || !matches(rule->filter, path)) continue;
        rule->seen++;
        if (rule->seen < rule->nth || (rule->times && rule->seen >= rule->nth + rule->times)) continue;
        note(call, path, rule->action);
        if (strcmp(rule->action, "delay") == 0) delay = rule->value;
        if (strcmp(rule->action, "error") == 0) error = rule->value;
        if (strcmp(rule->action, "tear") == 0) *part = 1, error = rule->value;
        if (strcmp(rule->action, "short") == 0) *part = 1;
    }
    pthread_mutex_unlock(&lock);
    if (delay) usleep(delay * 1000);
    return error;
}

static int strike_fd(const char *call, int fd, int *part) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    *part = 0;
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return strike(call, path, part);
}

#define FAIL_IF(error) do { int failed = (error); if (failed) { errno = failed; return -1; } } while (0)

/* A write of COUNT octets by CALL, which uses `count` in its place. */
#define WRITE(fd, octets, CALL) do { \
        int part, error = strike_fd("write", fd, &part); \
        size_t count = part ? ((octets) + 1) / 2 : (octets); \
        if (error && !part) { errno = error; return -1; } \
        ssize_t written = CALL; \
        if (error) { errno = error; return -1; } \
        return written; \
    } while (0)

ssize_t write(int fd, const void *from, size_t all) { WRITE(fd, all, REAL(write)(fd, from, count)); }
ssize_t pwrite(int fd, const void *from, size_t all, off_t at) { WRITE(fd, all, REAL(pwrite)(fd, from, count, at)); }
ssize_t pwrite64(int fd, const void *from, size_t all, off64_t at) { WRITE(fd, all, REAL(pwrite64)(fd, from, count, at)); }

/* A torn writev writes the first half of its pieces. */
ssize_t writev(int fd, const struct iovec *from, int all) { WRITE(fd, all, REAL(writev)(fd, from, (int)count)); }
ssize_t pwritev(int fd, const struct iovec *from, int all, off_t at) { WRITE(fd, all, REAL(pwritev)(fd, from, (int)count, at)); }
ssize_t pwritev64(int fd, const struct iovec *from, int all, off64_t at) { WRITE(fd, all, REAL(pwritev64)(fd, from, (int)count, at)); }

int fsync(int fd) { int part; FAIL_IF(strike_fd("sync", fd, &part)); return REAL(fsync)(fd); }
int fdatasync(int fd) { int part; FAIL_IF(strike_fd("sync", fd, &part)); return REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t to) { int part; FAIL_IF(strike_fd("allocate", fd, &part)); return REAL(ftruncate)(fd, to); }
int ftruncate64(int fd, off64_t to) { int part; FAIL_IF(strike_fd("allocate", fd, &part)); return REAL(ftruncate64)(fd, to); }
int fallocate(int fd, int mode, off_t at, off_t length) { int part; FAIL_IF(strike_fd("allocate", fd, &part)); return REAL(fallocate)(fd, mode, at, length); }
int fallocate64(int fd, int mode, off64_t at, off64_t length) { int part; FAIL_IF(strike_fd("allocate", fd, &part)); return REAL(fallocate64)(fd, mode, at, length); }

/* These two return the error. */
int posix_fallocate(int fd, off_t at, off_t length) {
    int part, error = strike_fd("allocate", fd, &part);
    return error ? error : REAL(posix_fallocate)(fd, at, length);
}
int posix_fallocate64(int fd, off64_t at, off64_t length) {
    int part, error = strike_fd("allocate", fd, &part);
    return error ? error : REAL(posix_fallocate64)(fd, at, length);
}

int rename(const char *from, const char *to) { int part; FAIL_IF(strike("rename", to, &part)); return REAL(rename)(from, to); }
int unlink(const char *path) { int part; FAIL_IF(strike("unlink", path, &part)); return REAL(unlink)(path); }

#define OPEN(path, flags, CALL) do { \
        mode_t mode = 0; \
        int part; \
        if ((flags) & O_CREAT) { \
            va_list more; \
            va_start(more, flags); \
            mode = va_arg(more, mode_t); \
            va_end(more); \
            FAIL_IF(strike("create", path, &part)); \
        } \
        return CALL; \
    } while (0)

int open(const char *path, int flags, ...) { OPEN(path, flags, REAL(open)(path, flags, mode)); }
int open64(const char *path, int flags, ...) { OPEN(path, flags, REAL(open64)(path, flags, mode)); }
int openat(int at, const char *path, int flags, ...) { OPEN(path, flags, REAL(openat)(at, path, flags, mode)); }
int openat64(int at, const char *path, int flags, ...) { OPEN(path, flags, REAL(openat64)(at, path, flags, mode)); }

int clock_gettime(clockid_t which, struct timespec *time) {
    long result = syscall(SYS_clock_gettime, which, time);
    if (result == 0 && which == CLOCK_REALTIME) {
        pthread_mutex_lock(&lock);
        read_control();
        time->tv_sec += clock_offset;
        pthread_mutex_unlock(&lock);
    }
    return (int)result;
}
