/* A link with a delay: wire LEFT RIGHT DELAY_US
 *
 * LEFT and RIGHT are descriptors of TUN devices without packet information (the kernel's Documentation/networking/tuntap),
 * inherited, which do not block. What comes out of one goes into the other DELAY_US later, in order, whole. The delay
 * counts from when the packet is read: while this process waits for a processor, it is longer. Runs until it is killed, or
 * a device is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 14, LARGEST = 2048, TURN = 32 };

/* One queue for both ways: with one delay for all, who came first is due first. */
static struct packet { uint64_t due; int to; ssize_t length; char data[LARGEST]; } queue[ROOM];
static size_t first, last;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void take(int from, int to, uint64_t delay)
{
    for (int i = 0; i < TURN && last - first < ROOM; i++) {
        struct packet *p = &queue[last % ROOM];
        p->length = read(from, p->data, LARGEST);
        if (p->length < 0 && errno == EAGAIN) return;
        if (p->length < 0) exit(0);
        p->due = now() + delay;
        p->to = to;
        last++;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    int side[] = {atoi(argv[1]), atoi(argv[2])};
    uint64_t delay = strtoull(argv[3], NULL, 10) * 1000;
    prctl(PR_SET_TIMERSLACK, 1);   /* nanoseconds; 50,000 by default */
    for (;;) {
        struct pollfd sides[] = {{.fd = side[0], .events = POLLIN}, {.fd = side[1], .events = POLLIN}};
        struct timespec pause = {0, 0};
        uint64_t due = first < last ? queue[first % ROOM].due : 0, time = now();
        if (due > time) pause.tv_sec = (due - time) / 1000000000, pause.tv_nsec = (due - time) % 1000000000;
        ppoll(sides, last - first < ROOM ? 2 : 0, first < last ? &pause : NULL, NULL);
        for (int i = 0; i < 2; i++)
            if (sides[i].revents) take(side[i], side[!i], delay);
        for (time = now(); first < last && queue[first % ROOM].due <= time; first++) {
            struct packet *p = &queue[first % ROOM];
            if (write(p->to, p->data, p->length) < 0 && errno != EAGAIN) return 0;
        }
    }
}
