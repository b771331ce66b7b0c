/* Loaded before libc (LD_PRELOAD), makes each sync of a file last SLOW_SYNC_US microseconds longer: see slow_disk.py.
 *
 * What waits for its sync sleeps: fsync, fdatasync, and positional writes that are synced (RWF_DSYNC, RWF_SYNC, a file
 * opened with O_DSYNC or O_SYNC). What does not wait must not: io_submit of a sync, and io_uring_enter, return at once as
 * they do on any disk, and are handed to the kernel that much later by a thread of ours, so that it is the completion
 * that is late. Of one io_submit only the syncs are late; of io_uring_enter everything, since what it submits is in a
 * ring that is not ours to read.
 *
 * System calls are seen only if they are made through libc's functions, syscall(2) among them: with ctypes, of CDLL(None)
 * and not of CDLL("libc.so.6"). Whoever measures must check that syncs are slow.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_DSYNC
#define RWF_DSYNC 2
#endif
#ifndef RWF_SYNC
#define RWF_SYNC 4
#endif

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) { fprintf(stderr, "slow_sync: no %s\n", name); abort(); }
    return found;
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t delay(void)
{
    const char *text = getenv("SLOW_SYNC_US");
    return text ? strtoull(text, NULL, 10) * 1000 : 0;
}

static void sleep_until(uint64_t when)
{
    struct timespec t = {when / 1000000000, when % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) { }
}

static void sleep_for_a_sync(void)
{
    int before = errno;
    sleep_until(now() + delay());
    errno = before;
}

/* What waits for its sync */

int fsync(int file) { int r = REAL(fsync)(file); sleep_for_a_sync(); return r; }
int fdatasync(int file) { int r = REAL(fdatasync)(file); sleep_for_a_sync(); return r; }

static ssize_t after_write(int file, int flags, ssize_t written)
{
    int before = errno, opened = fcntl(file, F_GETFL);
    errno = before;
    if (written >= 0 && ((flags & (RWF_DSYNC | RWF_SYNC)) || (opened >= 0 && (opened & O_DSYNC)))) sleep_for_a_sync();
    return written;
}

ssize_t pwrite(int f, const void *data, size_t n, off_t at) { return after_write(f, 0, REAL(pwrite)(f, data, n, at)); }
ssize_t pwrite64(int f, const void *data, size_t n, off64_t at)
{
    return after_write(f, 0, REAL(pwrite64)(f, data, n, at));
}
ssize_t pwritev(int f, const struct iovec *v, int n, off_t at) { return after_write(f, 0, REAL(pwritev)(f, v, n, at)); }
ssize_t pwritev64(int f, const struct iovec *v, int n, off64_t at)
{
    return after_write(f, 0, REAL(pwritev64)(f, v, n, at));
}
ssize_t pwritev2(int f, const struct iovec *v, int n, off_t at, int flags)
{
    return after_write(f, flags, REAL(pwritev2)(f, v, n, at, flags));
}
ssize_t pwritev64v2(int f, const struct iovec *v, int n, off64_t at, int flags)
{
    return after_write(f, flags, REAL(pwritev64v2)(f, v, n, at, flags));
}

/* What does not wait: handed over later, in order, by one thread */

struct later { uint64_t when; long number, a, b; unsigned flags; struct iocb sync; struct later *next; };

static struct later *first, *last;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void hand_over(struct later *l)
{
    struct iocb *list[] = {&l->sync};
    long done;
    do {
        if (l->number == SYS_io_submit) done = REAL(syscall)(SYS_io_submit, l->a, 1, list);
        else done = REAL(syscall)(l->number, l->a, l->b, 0, l->flags, NULL, 0);
    } while (done < 0 && (errno == EAGAIN || errno == EINTR || errno == EBUSY));
    if (done < 0) { fprintf(stderr, "slow_sync: system call %ld: %s\n", l->number, strerror(errno)); abort(); }
}

static void *run(void *nothing)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!first) pthread_cond_wait(&arrived, &lock);
        struct later *l = first;
        if (!(first = l->next)) last = NULL;
        pthread_mutex_unlock(&lock);
        sleep_until(l->when);
        hand_over(l);
        free(l);
    }
    return nothing;
}

static void start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL)) abort();
    pthread_detach(thread);
}

static void put(struct later what)
{
    struct later *l = malloc(sizeof *l);
    if (!l) abort();
    *l = what;
    l->when = now() + delay();
    l->next = NULL;
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    if (last) last->next = l; else first = l;
    last = l;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&lock);
}

static int is_sync(const struct iocb *i)
{
    int is_write = i->aio_lio_opcode == IOCB_CMD_PWRITE || i->aio_lio_opcode == IOCB_CMD_PWRITEV;
    return i->aio_lio_opcode == IOCB_CMD_FSYNC || i->aio_lio_opcode == IOCB_CMD_FDSYNC ||
           (is_write && (i->aio_rw_flags & (RWF_DSYNC | RWF_SYNC)));
}

static long submit(long context, long count, struct iocb **list)
{
    for (long i = 0; i < count; i++) {
        if (is_sync(list[i])) put((struct later){.number = SYS_io_submit, .a = context, .sync = *list[i]});
        else if (REAL(syscall)(SYS_io_submit, context, 1, &list[i]) != 1) return i ? i : -1;
    }
    return count;
}

long syscall(long number, ...)
{
    long a[6];
    va_list values;
    va_start(values, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(values, long);
    va_end(values);
    if (number == SYS_io_submit) return submit(a[0], a[1], (struct iocb **)a[2]);
    if (number == SYS_io_uring_enter && a[1] > 0 && a[2] == 0) {
        put((struct later){.number = number, .a = a[0], .b = a[1], .flags = (unsigned)a[3]});
        return a[1];
    }
    if (number == SYS_io_uring_enter && a[1] > 0) sleep_for_a_sync();
    if (number == SYS_fsync || number == SYS_fdatasync) sleep_for_a_sync();
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int io_submit(long context, long count, struct iocb **list)
{
    long done = submit(context, count, list);
    return done < 0 ? -errno : (int)done;
}
