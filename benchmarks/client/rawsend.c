/* The limit: a loop of raw send()s of one frame, as fast as the machine's sockets go from one thread.
 *
 * Speaks the servers' protocol: prints "listening PORT PID", then obeys "burst N" lines on stdin (N frames to
 * every connection, one send() each) until end of file. It reads a request and answers its head, no more.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_BYTES = 150, MAX_READERS = 20000 };
static int readers[MAX_READERS];
static unsigned reader_count;
static unsigned sequence;

static void accept_one(int listener)
{
    static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    char request[4096];
    int one = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    if (reader_count == MAX_READERS || recv(fd, request, sizeof request, 0) <= 0 ||
        send(fd, head, sizeof head - 1, MSG_NOSIGNAL) < 0) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    readers[reader_count++] = fd;
}

/* A full socket is waited for: the loop's readers keep up, so this is the exception. */
static void send_all(int fd, const char *frame, size_t len)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(fd, frame + sent, len - sent, MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {fd, POLLOUT, 0};
            if (poll(&writable, 1, 5000) <= 0)
                return;
        } else {
            return;
        }
    }
}

static void broadcast(void)
{
    char frame[FRAME_BYTES + 16], body[FRAME_BYTES + 1];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long stamp = (unsigned long long)now.tv_sec * 1000000000ull + (unsigned long long)now.tv_nsec;
    int len = snprintf(body, sizeof body, "data: @%08u:%020llu;", ++sequence, stamp);
    memset(body + len, 'x', (size_t)(FRAME_BYTES - 2 - len));
    memcpy(body + FRAME_BYTES - 2, "\n\n", 3);
    len = snprintf(frame, sizeof frame, "%x\r\n%s\r\n", FRAME_BYTES, body);
    for (unsigned i = 0; i < reader_count; i++)
        send_all(readers[i], frame, (size_t)len);
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &size)) {
        perror("rawsend: listen");
        exit(1);
    }
    printf("listening %d %d\n", ntohs(address.sin_port), getpid());
    fflush(stdout);
    return fd;
}

/* One read may bring several commands; a command is never longer than the buffer. */
static int obey(void)
{
    static char text[4096];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - 1 - len);
    if (n <= 0)
        return 0;
    len += (size_t)n;
    text[len] = 0;
    char *line = text, *end;
    for (; (end = strchr(line, '\n')); line = end + 1)
        if (strncmp(line, "burst ", 6) == 0)
            for (int left = atoi(line + 6); left > 0; left--)
                broadcast();
    len -= (size_t)(line - text);
    memmove(text, line, len);
    return 1;
}

int main(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listen_somewhere();
    struct pollfd waits[2] = {{STDIN_FILENO, POLLIN, 0}, {listener, POLLIN, 0}};
    while (poll(waits, 2, -1) > 0 || errno == EINTR) {
        if (waits[1].revents)
            accept_one(listener);
        if (waits[0].revents && !obey())
            break;
    }
    return 0;
}
