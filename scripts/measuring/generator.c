/* Clients in a closed loop, at little cost: see generator.py, which compiles and runs this.
 *
 *     generator [HOST:]PORT SECONDS SKIP TRACE GROUP ...
 *
 * HOST: an IPv4 address, 127.0.0.1 if none is given. SECONDS: how long to send, 0 for until SIGTERM. SKIP: requests begun
 * in so many first seconds are not counted. TRACE: a file for every request counted. GROUP: CLIENTS[@RATE]:PIPELINE:FILE,
 * the requests in FILE one after another, from the start again at the end; each client begins at a place of its own.
 *
 * With a RATE the clients of the group send so many requests a second, all together, each when it is due (an open loop): a
 * client that waits for a reply sends late, and the latency is counted from when the request was due.
 *
 * FILE is a sequence of records in this machine's byte order: kind (1 byte, below 16), length (4 bytes), the request.
 * TRACE is a sequence of records: began (8 bytes, CLOCK_MONOTONIC in ns), took (8 bytes, ns; kind in the top 4 bits).
 *
 * Prints the seconds in which requests were counted, and those of a processor that it used meanwhile. A reply that says an
 * error or "not there", or is no reply, ends it: message, exit status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { KINDS = 16, MOST_CLIENTS = 1 << 16, SILENCE_SECONDS = 60, CHUNK = 1 << 16 };

/* Room for so many requests, in memory that is taken as it is used. */
#define MOST_REQUESTS ((size_t)1 << 27)

struct request { uint8_t kind; uint32_t length; const char *data; };
struct pool { size_t count; struct request *requests; };
struct sample { uint64_t began, took; };

struct client {
    int socket;
    struct pool *pool;
    size_t next;          /* of the pool, the request to send next */
    size_t oldest;        /* of the pool, the request whose reply comes next */
    int pipeline, awaited;
    uint64_t began;       /* when the requests awaited were sent, or were due */
    uint64_t period, due; /* nanoseconds: between requests, 0 for a closed loop; when the next is due */
    int ended;            /* it sends no more */
    char *received;
    size_t length, room;
    char *batch;
    size_t batch_room;
};

static struct sample *samples;
static size_t sample_count;
static uint64_t count_from;
static volatile sig_atomic_t stopped;

static void fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static void stop(int number) { (void)number; stopped = 1; }

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *at_least(void *memory, size_t *room, size_t wanted)
{
    if (wanted <= *room) return memory;
    while (*room < wanted) *room = *room ? *room * 2 : CHUNK;
    memory = realloc(memory, *room);
    if (!memory) fail("no memory");
    return memory;
}

/* The length of the line at `text`, CR LF included; 0 if it is not all there. */
static size_t line_length(const char *text, size_t length)
{
    const char *end = memchr(text, '\n', length);
    return end ? (size_t)(end - text) + 1 : 0;
}

/* The length of the reply at `text`; 0 if it is not all there. Ends the program at what is not a success. */
static size_t reply_length(const char *text, size_t length)
{
    size_t line = line_length(text, length), total;
    if (!line) return 0;
    long number = atol(text + 1);
    switch (*text) {
    case '+': case ':':
        return line;
    case '{':
        if (line < 19 || memcmp(text, "{\"result\":\"success\"", 19)) break;
        return line;
    case '$':
        if (number < 0) break;
        total = line + number + 2;
        return total <= length ? total : 0;
    case '*':
        for (total = line; number > 0; number--) {
            size_t part = total < length ? reply_length(text + total, length - total) : 0;
            if (!part) return 0;
            total += part;
        }
        return total;
    }
    fail("a request was answered %.*s", (int)(line < 200 ? line : 200), text);
    return 0;
}

static void send_batch(struct client *c)
{
    size_t length = 0;
    for (int i = 0; i < c->pipeline; i++) {
        struct request *r = &c->pool->requests[c->next];
        c->batch = at_least(c->batch, &c->batch_room, length + r->length);
        memcpy(c->batch + length, r->data, r->length);
        length += r->length;
        c->next = (c->next + 1) % c->pool->count;
    }
    c->awaited = c->pipeline;
    c->began = c->period ? c->due : now();
    c->due += c->period;
    for (size_t sent = 0; sent < length; ) {
        ssize_t n = send(c->socket, c->batch + sent, length - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) fail("send: %s", strerror(errno));
        if (n > 0) sent += n;
    }
}

static void note(struct client *c, uint64_t ended)
{
    if (c->began >= count_from) {
        if (sample_count == MOST_REQUESTS) fail("too many requests: measure for a shorter time");
        uint64_t kind = c->pool->requests[c->oldest].kind;
        samples[sample_count++] = (struct sample){c->began, (ended - c->began) | kind << 60};
    }
    c->oldest = (c->oldest + 1) % c->pool->count;
    c->awaited--;
}

/* Read what is there; returns whether all replies that are awaited have come. */
static int receive(struct client *c)
{
    c->received = at_least(c->received, &c->room, c->length + CHUNK);
    ssize_t n = recv(c->socket, c->received + c->length, c->room - c->length, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (n <= 0) fail("the server closed a connection");
    uint64_t ended = now();
    size_t used = 0;
    c->length += n;
    while (c->awaited && used < c->length) {
        size_t reply = reply_length(c->received + used, c->length - used);
        if (!reply) break;
        used += reply;
        note(c, ended);
    }
    c->length -= used;
    if (!c->awaited && c->length) fail("there are more replies than requests");
    memmove(c->received, c->received + used, c->length);
    return !c->awaited;
}

static struct pool *read_pool(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) fail("%s: %s", path, strerror(errno));
    fseek(file, 0, SEEK_END);
    size_t size = ftell(file), at = 0, room = 0;
    rewind(file);
    char *data = malloc(size + 1);
    if (!data || fread(data, 1, size, file) != size) fail("%s: cannot be read", path);
    fclose(file);
    struct pool *pool = calloc(1, sizeof *pool);
    while (at + 5 <= size) {
        struct request r = {.kind = data[at], .data = data + at + 5};
        memcpy(&r.length, data + at + 1, 4);
        at += 5 + (size_t)r.length;
        if (at > size || r.kind >= KINDS) fail("%s: not a file of requests", path);
        pool->requests = at_least(pool->requests, &room, (pool->count + 1) * sizeof r);
        pool->requests[pool->count++] = r;
    }
    if (!pool->count) fail("%s: no requests", path);
    return pool;
}

static int connect_to(const char *server)
{
    const char *colon = strchr(server, ':');
    char host[INET_ADDRSTRLEN] = "127.0.0.1";
    if (colon) snprintf(host, sizeof host, "%.*s", (int)(colon - server), server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(colon ? colon + 1 : server))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) fail("%s: not [HOST:]PORT", server);
    int yes = 1, s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    return s;
}

static void *reserve(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("mmap: %s", strerror(errno));
    return memory;
}

static struct client *clients;
static int client_count;

static void add_group(const char *text, const char *server, int poll)
{
    int count, pipeline, path;
    double rate = 0;
    if (sscanf(text, "%d:%d:%n", &count, &pipeline, &path) != 2
        && sscanf(text, "%d@%lf:%d:%n", &count, &rate, &pipeline, &path) != 3)
        fail("%s: not CLIENTS[@RATE]:PIPELINE:FILE", text);
    struct pool *pool = read_pool(text + path);
    for (int i = 0; i < count; i++) {
        if (client_count == MOST_CLIENTS) fail("more than %d clients", MOST_CLIENTS);
        struct client *c = &clients[client_count++];
        *c = (struct client){.socket = connect_to(server), .pool = pool, .pipeline = pipeline};
        c->next = c->oldest = pool->count * i / count;
        if (rate > 0) {
            c->period = 1e9 * count * pipeline / rate;
            c->due = c->period * i / count;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, c->socket, &event)) fail("epoll_ctl: %s", strerror(errno));
    }
}

/* Send what is due; returns when the next is, UINT64_MAX if nothing is waited with. */
static uint64_t send_due(void)
{
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < client_count; i++) {
        struct client *c = &clients[i];
        if (!c->period || c->awaited || c->ended) continue;
        if (c->due <= now()) send_batch(c);
        else if (c->due < next) next = c->due;
    }
    return next;
}

/* Wait until a reply comes, a second is over, or it is `next`: epoll_wait counts milliseconds. */
static void wait_for(int poll, uint64_t next)
{
    uint64_t time = now(), left = next > time ? next - time : 0;
    if (left > 1000000000) left = 1000000000;
    struct timespec timeout = {left / 1000000000, left % 1000000000};
    struct pollfd replies = {.fd = poll, .events = POLLIN};
    ppoll(&replies, 1, &timeout, NULL);
}

/* Have a client send no more; returns 1 if that is new. */
static int end_client(struct client *c)
{
    int is_new = !c->ended;
    c->ended = 1;
    return is_new;
}

static double cpu_seconds(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    prctl(PR_SET_TIMERSLACK, 1);
    if (argc < 6) fail("generator [HOST:]PORT SECONDS SKIP TRACE GROUP ...");
    double seconds = atof(argv[2]);
    int poll = epoll_create1(0);
    samples = reserve(MOST_REQUESTS * sizeof *samples);
    clients = reserve(MOST_CLIENTS * sizeof *clients);
    sigset_t none;
    sigemptyset(&none);
    signal(SIGTERM, stop);
    sigprocmask(SIG_SETMASK, &none, NULL); /* it may have come, and waits: see generator.py */
    for (int i = 5; i < argc; i++) add_group(argv[i], argv[1], poll);
    double cpu = cpu_seconds();
    uint64_t began = now(), end = seconds > 0 ? began + (uint64_t)(seconds * 1e9) : UINT64_MAX, heard = began;
    count_from = began + (uint64_t)(atof(argv[3]) * 1e9);
    int outstanding = client_count;
    int paced = 0;
    for (int i = 0; i < client_count; i++) {
        clients[i].due += began;
        if (clients[i].period) paced = 1;
        else send_batch(&clients[i]);
    }
    while (outstanding) {
        struct epoll_event events[256];
        if (paced) wait_for(poll, send_due());
        int n = epoll_wait(poll, events, 256, paced ? 0 : 1000);
        uint64_t time = now();
        if (n > 0) heard = time;
        if (time - heard > SILENCE_SECONDS * (uint64_t)1000000000) fail("no reply for %d s", SILENCE_SECONDS);
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!receive(c)) continue;
            if (stopped || (time >= end && sample_count)) outstanding -= end_client(c); /* a slow server: longer */
            else if (!c->period) send_batch(c);
        }
        if (paced && (stopped || (time >= end && sample_count)))
            for (int i = 0; i < client_count; i++)
                if (!clients[i].awaited) outstanding -= end_client(&clients[i]);
    }
    uint64_t ended = now();
    cpu = cpu_seconds() - cpu;
    FILE *trace = fopen(argv[4], "wb");
    if (!trace || fwrite(samples, sizeof *samples, sample_count, trace) != sample_count || fclose(trace))
        fail("%s: %s", argv[4], strerror(errno));
    printf("%.6f %.6f\n", (ended - count_from) / 1e9, cpu);
    return 0;
}
