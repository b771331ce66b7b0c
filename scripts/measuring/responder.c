/* A server that does nothing: says +OK for each '*' that it reads. What a load generator reaches against it is what that
 * generator, and the kernel's loopback, can do at most.
 *
 *     responder        prints the port it listens on, on 127.0.0.1; serves until it is killed
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 1 << 16, REPLY = 5 };

static char received[CHUNK], replies[CHUNK * REPLY];

static void answer(int client)
{
    ssize_t n = recv(client, received, sizeof received, 0);
    if (n <= 0) { close(client); return; }
    size_t length = 0;
    for (char *at = received; (at = memchr(at, '*', received + n - at)); at++) length += REPLY;
    for (size_t sent = 0; sent < length; ) {
        ssize_t done = send(client, replies + sent, length - sent, MSG_NOSIGNAL);
        if (done <= 0) return;
        sent += done;
    }
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (size_t i = 0; i < sizeof replies; i += REPLY) memcpy(replies + i, "+OK\r\n", REPLY);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int n = epoll_wait(poll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd != listener) { answer(events[i].data.fd); continue; }
            event.data.fd = accept(listener, NULL, NULL);
            setsockopt(event.data.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
        }
    }
}
