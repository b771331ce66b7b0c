/* Loaded before libc (LD_PRELOAD), makes each sync of a file last SLOW_SYNC_US microseconds longer: see benching/loops.py.
 *
 * What waits for its sync sleeps: fsync and fdatasync. What does not wait must not: io_submit of a sync returns at once, as
 * it does on any disk, and is handed to the kernel that much later by a thread of ours, so that it is the completion that is
 * late. Synced writes (O_DSYNC, RWF_DSYNC) and io_uring are not seen: neither server uses them. Whoever measures must check
 * that syncs are slow: a system call is seen only if it is made through libc's functions, syscall(2) among them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) { fprintf(stderr, "slow_sync: no %s\n", name); abort(); }
    return found;
}

/* When a sync that begins now may go on, in nanoseconds of CLOCK_MONOTONIC. */
static uint64_t later(void)
{
    struct timespec t;
    const char *us = getenv("SLOW_SYNC_US");
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec + (us ? strtoull(us, NULL, 10) * 1000 : 0);
}

static void sleep_until(uint64_t when)
{
    int before = errno;
    struct timespec t = {when / 1000000000, when % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) { }
    errno = before;
}

int fsync(int file) { int r = REAL(fsync)(file); sleep_until(later()); return r; }
int fdatasync(int file) { int r = REAL(fdatasync)(file); sleep_until(later()); return r; }

/* What does not wait: handed over later, in order, by one thread. */

struct request { uint64_t when; long context; struct iocb sync; struct request *next; };

static struct request *first, *last;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived = PTHREAD_COND_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void hand_over(struct request *r)
{
    struct iocb *list[] = {&r->sync};
    while (REAL(syscall)(SYS_io_submit, r->context, 1, list) < 0) {
        if (errno == EAGAIN || errno == EINTR) continue;
        fprintf(stderr, "slow_sync: io_submit: %s\n", strerror(errno));
        abort();
    }
}

static void *run(void *nothing)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!first) pthread_cond_wait(&arrived, &lock);
        struct request *r = first;
        if (!(first = r->next)) last = NULL;
        pthread_mutex_unlock(&lock);
        sleep_until(r->when);
        hand_over(r);
        free(r);
    }
    return nothing;
}

static void start(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL)) abort();
    pthread_detach(thread);
}

static void put(long context, const struct iocb *sync)
{
    struct request *r = malloc(sizeof *r);
    if (!r) abort();
    *r = (struct request){.when = later(), .context = context, .sync = *sync};
    pthread_once(&once, start);
    pthread_mutex_lock(&lock);
    if (last) last->next = r; else first = r;
    last = r;
    pthread_cond_signal(&arrived);
    pthread_mutex_unlock(&lock);
}

static long submit(long context, long count, struct iocb **list)
{
    for (long i = 0; i < count; i++) {
        int is_sync = list[i]->aio_lio_opcode == IOCB_CMD_FSYNC || list[i]->aio_lio_opcode == IOCB_CMD_FDSYNC;
        if (is_sync) put(context, list[i]);
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
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
