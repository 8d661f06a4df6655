/* The load client: opens many SSE connections or WebSockets to one server on 127.0.0.1 from one thread and one epoll,
 * and checks every message of every reader for order and completeness.
 *
 *   load PORT READERS PATH [--body FILE] [--websocket DIALECT] [--http2 N] [--pace FD] [--timeout S] [--nap US]
 *
 * PATH may hold one %u, the reader's number. With --body the request is a POST of that JSON; with --websocket it is a
 * handshake, and the dialect (websocket.h) says what is said then; with --http2, N readers are streams of one connection
 * (http2.h). It prints a first line of JSON when every reader has
 * its response head, or its dialect's answer, then obeys lines on stdin and answers each with one line of JSON:
 *
 *   phase COUNT BURST    until each reader that isn't stalled has COUNT messages more. With BURST > 0 it paces
 *                        the server: "burst BURST" goes to the pace descriptor each time the last reader has
 *                        the burst before, so a server never has more than one burst to deliver.
 *   hold MS              reads whatever comes, for so long
 *   stall EVERY BYTES    each EVERY-th reader reads BYTES more and then nothing
 *   unstall              they read again, reconnecting with Last-Event-ID where they were cut off
 *   reconnect BACK       all readers drop, and come back at once with the event id of BACK messages ago
 *   quit
 *
 * A WebSocket does not reconnect, nor does a stream of HTTP/2, which does not stall either.
 *
 * With --nap, while many readers still wait, it sleeps so long between two polls instead of being woken for
 * every message: waking a sleeper on another core costs the *server* microseconds a send, and would measure the
 * client's sleep. Leave it out where latency is what counts.
 *
 * Numbers are counts, nanoseconds ("_ns") and, from getrusage, the client's own CPU.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "histogram.h"
#include "reader.h"

static void send_bytes(const struct reader *r, const void *bytes, size_t n);

#include "http2.h"
#include "websocket.h"

enum { MAX_READERS = 20000, OPENING_AT_ONCE = 512, READ_BYTES = 1 << 18, KEPT_IDS = 1 << 14,
       STALL_RCVBUF = 4096, NO_NAP_BELOW = 128 };

static struct {
    int port, pace_fd, timeout_s, nap_us;
    unsigned readers, streams; /* streams: readers on one connection of HTTP/2; 0: no HTTP/2 */
    const char *path;
    const struct dialect *dialect;
    char body[65536];
    size_t body_bytes;
} options = {.pace_fd = -1, .timeout_s = 120};

static struct reader *readers;
static struct session *sessions;
static uint32_t *next_seq;              /* what each reader expects; 0 = whatever comes first. Dense, scanned often */
static char kept_ids[KEPT_IDS][ID_BYTES]; /* event ids by number, as the first reader saw them */
static int poller;
static unsigned opened, heads, refused, closed, ended, stalled;
static unsigned stall_every, stall_bytes;

static struct {
    uint64_t messages, duplicates, gaps, bytes, reads, chunks, first_stamp_ns, last_ns;
    struct histogram latency;
} seen;
static uint64_t now_ns;
static uint32_t mark;    /* phase: the number that all readers must reach next … */
static unsigned reached; /* … and how many have */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static unsigned index_of(const struct reader *r) { return (unsigned)(r - readers); }

static void on_chunk(void) { seen.chunks++; }

static void on_head(struct reader *r)
{
    heads++;
    refused += r->refused;
}

static void on_message(struct reader *r, uint32_t seq, uint64_t stamp_ns)
{
    uint32_t *next = &next_seq[index_of(r)];
    if (*next && seq < *next) {
        seen.duplicates++;
        return;
    }
    if (*next && seq > *next)
        seen.gaps += seq - *next;
    if (!r->stalled && seq >= mark && (*next <= mark))
        reached++;
    *next = seq + 1;
    seen.messages++;
    seen.last_ns = now_ns;
    if (!seen.first_stamp_ns || stamp_ns < seen.first_stamp_ns)
        seen.first_stamp_ns = stamp_ns;
    if (!r->stalled)
        histogram_add(&seen.latency, now_ns > stamp_ns ? now_ns - stamp_ns : 0);
}

static void on_event_end(struct reader *r)
{
    if (r == readers && r->id[0])
        memcpy(kept_ids[r->event_seq % KEPT_IDS], r->id, ID_BYTES);
}

static void fail(const char *what)
{
    printf("{\"error\": \"%s: %s\", \"opened\": %u, \"heads\": %u}\n", what, strerror(errno), opened, heads);
    exit(1);
}

/* What a client says is short, and fits the socket's buffer. */
static void send_bytes(const struct reader *r, const void *bytes, size_t n)
{
    if (send(r->fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n && errno != EPIPE && errno != ECONNRESET)
        fail("send");
}

static int handshake(char *text, size_t room, const char *path)
{
    const char *subprotocol = options.dialect->subprotocol;
    return snprintf(text, room,
                    "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
                    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
                    path, options.port, subprotocol ? "sec-websocket-protocol: " : "", subprotocol ? subprotocol : "",
                    subprotocol ? "\r\n" : "");
}

static void send_request(struct reader *r, const char *last_event_id)
{
    char text[2048], path[512];
    int len;
    snprintf(path, sizeof path, options.path, index_of(r));
    if (options.dialect)
        len = handshake(text, sizeof text, path);
    else if (options.body_bytes)
        len = snprintf(text, sizeof text,
                       "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n"
                       "content-length: %zu\r\n\r\n", path, options.port, options.body_bytes);
    else
        len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\naccept: text/event-stream\r\n%s%s%s\r\n",
                       path, options.port, last_event_id ? "last-event-id: " : "",
                       last_event_id ? last_event_id : "", last_event_id ? "\r\n" : "");
    if (send(r->fd, text, (size_t)len, MSG_NOSIGNAL) != len ||
        (options.body_bytes && send(r->fd, options.body, options.body_bytes, MSG_NOSIGNAL) < 0))
        fail("send request");
}

/* connect() on loopback returns at once while the server's backlog has room, so it may block. */
static int connected(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        fail("connect");
    return fd;
}

static void watch(int fd, void *who)
{
    struct epoll_event event = {EPOLLIN, {.ptr = who}};
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &(int){0}, sizeof(int)); /* no acknowledgement for every read */
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

static void open_reader(struct reader *r, const char *last_event_id)
{
    bool will_stall = r->stalled;
    free(r->held);
    free(r->parts);
    memset(r, 0, sizeof *r);
    r->stalled = will_stall;
    r->dialect = options.dialect;
    r->fd = connected();
    send_request(r, last_event_id);
    watch(r->fd, r);
    opened++;
}

/* The stream of one more reader, on a connection of its own where the last one is full. */
static void open_stream(unsigned index)
{
    struct session *s = &sessions[index / options.streams];
    struct reader *r = &readers[index];
    unsigned char out[1024];
    char path[512];
    if (index % options.streams == 0) {
        s->fd = connected();
        s->first = r;
        r->fd = s->fd;
        send_bytes(r, out, h2_opening(out));
        watch(s->fd, s);
    }
    r->fd = s->fd;
    s->streams++;
    snprintf(path, sizeof path, options.path, index);
    send_bytes(r, out, h2_get(out, 2 * (index % options.streams) + 1, path));
    opened++;
}

/* With a reset, so that tens of thousands of ports don't linger in TIME_WAIT between rounds. */
static void close_reader(struct reader *r)
{
    struct linger reset = {1, 0};
    if (r->fd < 0)
        return;
    setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close(r->fd);
    r->fd = -1;
}

/* A socket is never closed by a server that does well; a response may have come to its end. */
static void lost(struct reader *r)
{
    if (r->state == ENDED && !r->dialect)
        ended++;
    else
        closed++;
    close_reader(r);
}

/* Stalled readers stay open but leave the poller. */
static void maybe_stall(struct reader *r, size_t bytes)
{
    static uint32_t taken[MAX_READERS];
    uint32_t *sum = &taken[index_of(r)];
    *sum += (uint32_t)bytes;
    if (*sum >= stall_bytes) {
        *sum = 0;
        epoll_ctl(poller, EPOLL_CTL_DEL, r->fd, NULL);
    }
}

static void read_ready(struct reader *r)
{
    static char buffer[READ_BYTES];
    ssize_t n = recv(r->fd, buffer, r->stalled && stall_every ? STALL_RCVBUF : READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    seen.reads++;
    now_ns = clock_ns(CLOCK_MONOTONIC);
    if (n > 0) {
        seen.bytes += (uint64_t)n;
        reader_bytes(r, buffer, (size_t)n);
    }
    if (n <= 0 || r->state == ENDED)
        lost(r);
    else if (r->stalled && stall_every)
        maybe_stall(r, (size_t)n);
}

static void session_ready(struct session *s)
{
    static char buffer[READ_BYTES];
    ssize_t n = recv(s->fd, buffer, READ_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    seen.reads++;
    now_ns = clock_ns(CLOCK_MONOTONIC);
    if (n > 0) {
        seen.bytes += (uint64_t)n;
        session_bytes(s, buffer, (size_t)n);
        return;
    }
    closed += s->streams;
    close(s->fd);
    for (unsigned i = 0; i < s->streams; i++)
        s->first[i].fd = -1;
}

static void turn(int wait_ms)
{
    struct epoll_event events[1024];
    int n = epoll_wait(poller, events, 1024, wait_ms);
    for (int i = 0; i < n; i++)
        if (options.streams)
            session_ready(events[i].data.ptr);
        else
            read_ready(events[i].data.ptr);
}

static void wait_for_heads(unsigned count, uint64_t deadline_ns)
{
    while (heads + closed < count && clock_ns(CLOCK_MONOTONIC) < deadline_ns)
        turn(100);
}

static uint64_t deadline_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC) + (uint64_t)options.timeout_s * 1000000000ull;
}

static void report(const char *name, uint64_t started_ns, uint64_t cpu_ns, bool timed_out)
{
    const struct histogram *h = &seen.latency;
    printf("{\"phase\": \"%s\", \"readers\": %u, \"messages\": %llu, \"duplicates\": %llu, \"gaps\": %llu, "
           "\"bytes\": %llu, \"reads\": %llu, \"chunks\": %llu, \"wall_ns\": %llu, \"span_ns\": %llu, "
           "\"client_cpu_ns\": %llu, \"p50_ns\": %llu, \"p90_ns\": %llu, \"p99_ns\": %llu, \"max_ns\": %llu, "
           "\"refused\": %u, \"closed\": %u, \"ended\": %u, \"stalled\": %u, \"timed_out\": %s}\n",
           name, options.readers, (unsigned long long)seen.messages, (unsigned long long)seen.duplicates,
           (unsigned long long)seen.gaps, (unsigned long long)seen.bytes, (unsigned long long)seen.reads,
           (unsigned long long)seen.chunks, (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - started_ns),
           (unsigned long long)(seen.messages ? seen.last_ns - seen.first_stamp_ns : 0),
           (unsigned long long)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns),
           (unsigned long long)histogram_at(h, 0.5), (unsigned long long)histogram_at(h, 0.9),
           (unsigned long long)histogram_at(h, 0.99), (unsigned long long)h->max, refused, closed, ended, stalled,
           timed_out ? "true" : "false");
    fflush(stdout);
}

static void ask(unsigned burst)
{
    char line[32];
    int len = snprintf(line, sizeof line, "burst %u\n", burst);
    if (write(options.pace_fd, line, (size_t)len) != len)
        fail("pace");
}

static uint32_t highest(void)
{
    uint32_t top = 0;
    for (unsigned i = 0; i < options.readers; i++)
        if (next_seq[i] > top)
            top = next_seq[i];
    return top ? top - 1 : 0;
}

/* Readers that still matter to a phase: neither stalled nor gone. */
static bool everyone_has(uint32_t seq)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < options.readers; i++)
        missing += !readers[i].stalled && readers[i].fd >= 0 && next_seq[i] <= seq;
    return missing == 0;
}

static bool run_until(uint32_t seq, uint64_t deadline)
{
    unsigned lost_before = closed + ended;
    mark = seq;
    reached = 0;
    for (unsigned i = 0; i < options.readers; i++)
        reached += !readers[i].stalled && next_seq[i] > seq;
    while (reached + stalled < options.readers) {
        if (options.nap_us && options.readers - stalled - reached > NO_NAP_BELOW)
            usleep((useconds_t)options.nap_us);
        turn(100);
        if (closed + ended != lost_before && everyone_has(seq))
            return true;
        if (clock_ns(CLOCK_MONOTONIC) > deadline)
            return false;
    }
    return true;
}

static bool paced(uint32_t start, unsigned count, unsigned burst, uint64_t deadline)
{
    for (unsigned done = 0; done < count; done += burst) {
        unsigned part = count - done < burst ? count - done : burst;
        ask(part);
        if (!run_until(start + done + part, deadline))
            return false;
    }
    return true;
}

static bool phase(unsigned count, unsigned burst)
{
    uint32_t start = highest();
    return burst ? paced(start, count, burst, deadline_ns()) : run_until(start + count, deadline_ns());
}

static bool hold(unsigned ms)
{
    uint64_t until = clock_ns(CLOCK_MONOTONIC) + (uint64_t)ms * 1000000ull;
    while (clock_ns(CLOCK_MONOTONIC) < until)
        turn(20);
    return true;
}

/* The first reader never stalls: its ids are the ones kept. */
static bool stall(unsigned every, unsigned bytes)
{
    int small = STALL_RCVBUF;
    stall_every = every;
    stall_bytes = bytes;
    stalled = 0;
    for (unsigned i = 0; i < options.readers; i++)
        if ((readers[i].stalled = i % every == 1 % every && i > 0)) {
            setsockopt(readers[i].fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
            stalled++;
        }
    return true;
}

static bool settle(void)
{
    for (unsigned i = 0; i < options.readers; i++)
        readers[i].stalled = false;
    stalled = 0;
    return true;
}

static bool unstall(void)
{
    uint32_t target = highest();
    stall_every = 0;
    mark = 0;
    for (unsigned i = 0; i < options.readers; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = &readers[i]}};
        if (readers[i].stalled && readers[i].fd >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, readers[i].fd, &event))
            epoll_ctl(poller, EPOLL_CTL_MOD, readers[i].fd, &event);
    }
    for (uint64_t deadline = deadline_ns(); clock_ns(CLOCK_MONOTONIC) < deadline; turn(20)) {
        unsigned behind = 0;
        for (unsigned i = 0; i < options.readers; i++) {
            if (!readers[i].stalled || next_seq[i] > target)
                continue;
            behind++;
            if (readers[i].fd < 0)
                open_reader(&readers[i], kept_ids[(next_seq[i] - 1) % KEPT_IDS]);
        }
        if (!behind)
            return settle();
    }
    return false;
}

static bool reconnect(unsigned back)
{
    uint32_t target = highest(), from = target - back;
    uint64_t deadline = deadline_ns();
    for (unsigned i = 0; i < options.readers; i++)
        close_reader(&readers[i]);
    opened = heads = closed = ended = 0;
    for (unsigned i = 0; i < options.readers; i++) {
        next_seq[i] = from + 1;
        open_reader(&readers[i], kept_ids[from % KEPT_IDS]);
        while (opened > heads + closed + OPENING_AT_ONCE && clock_ns(CLOCK_MONOTONIC) < deadline)
            turn(10);
    }
    return run_until(target, deadline);
}

static void obey(const char *line)
{
    unsigned a = 0, b = 0;
    char name[16] = "";
    bool ok;
    sscanf(line, "%15s %u %u", name, &a, &b);
    memset(&seen, 0, sizeof seen);
    uint64_t started = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (strcmp(name, "phase") == 0)
        ok = phase(a, b);
    else if (strcmp(name, "hold") == 0)
        ok = hold(a);
    else if (strcmp(name, "stall") == 0 && a)
        ok = stall(a, b);
    else if (strcmp(name, "unstall") == 0)
        ok = unstall();
    else if (strcmp(name, "reconnect") == 0)
        ok = reconnect(a);
    else {
        errno = EINVAL;
        fail("command");
    }
    report(name, started, cpu, !ok);
}

static void read_body(const char *file)
{
    FILE *f = fopen(file, "r");
    if (!f)
        fail("body");
    options.body_bytes = fread(options.body, 1, sizeof options.body, f);
    fclose(f);
}

static void read_dialect(const char *name)
{
    options.dialect = dialect_named(name);
    if (!options.dialect) {
        errno = EINVAL;
        fail("dialect");
    }
}

static void read_options(int argc, char **argv)
{
    if (argc < 4 || (options.readers = (unsigned)atoi(argv[2])) == 0 || options.readers > MAX_READERS) {
        fprintf(stderr, "usage: load PORT READERS PATH [--body FILE] [--websocket DIALECT] [--http2 N] [--pace FD] "
                        "[--timeout S] [--nap US]\n");
        exit(2);
    }
    options.port = atoi(argv[1]);
    options.path = argv[3];
    for (int i = 4; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--body") == 0)
            read_body(argv[i + 1]);
        else if (strcmp(argv[i], "--websocket") == 0)
            read_dialect(argv[i + 1]);
        else if (strcmp(argv[i], "--http2") == 0)
            options.streams = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--pace") == 0)
            options.pace_fd = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--timeout") == 0)
            options.timeout_s = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--nap") == 0)
            options.nap_us = atoi(argv[i + 1]);
    }
}

int main(int argc, char **argv)
{
    char line[256];
    struct rlimit limit;
    read_options(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1000ul); /* ns: naps are as short as asked */
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    readers = calloc(options.readers, sizeof *readers);
    sessions = calloc(options.readers, sizeof *sessions);
    next_seq = calloc(options.readers, sizeof *next_seq);
    poller = epoll_create1(0);
    if (!readers || !sessions || !next_seq || poller < 0)
        fail("memory");
    uint64_t started = clock_ns(CLOCK_MONOTONIC), deadline = deadline_ns();
    for (unsigned i = 0; i < options.readers; i++) {
        if (options.streams)
            open_stream(i);
        else
            open_reader(&readers[i], NULL);
        if (opened - heads > OPENING_AT_ONCE)
            wait_for_heads(opened - OPENING_AT_ONCE / 2, deadline);
    }
    wait_for_heads(options.readers, deadline);
    report("ready", started, 0, heads < options.readers);
    while (fgets(line, sizeof line, stdin) && strncmp(line, "quit", 4) != 0)
        obey(line);
    for (unsigned i = 0; i < options.readers; i += options.streams ? options.streams : 1)
        close_reader(&readers[i]);
    return 0;
}
