/* One reader: HTTP/1.1 response head, chunked body, SSE lines, and the numbers inside the payload. What follows the
 * head of a WebSocket is read in websocket.h.
 *
 * A message is a marker "@SSSSSSSS:TTTTTTTTTTTTTTTTTTTT;" in a data line: its number from 1 (8 digits) and the
 * CLOCK_MONOTONIC nanoseconds of its publication (20 digits). Data of control events (position, snapshot, gap,
 * end) isn't counted. Lines are parsed where they lie; only one that is cut by a read is copied.
 */
#ifndef READER_H
#define READER_H
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LINE_BYTES = 1024, ID_BYTES = 64, MARKER_BYTES = 1 + 8 + 1 + 20 + 1 };
enum state { HEAD, CHUNK_SIZE, CHUNK_BODY, CHUNK_END, PLAIN_BODY, FRAMES, ENDED };

struct dialect;

struct reader {
    int fd;
    enum state state;
    bool stalled, control, chunked, refused;
    int status;
    uint64_t chunk_left;
    uint32_t event_seq; /* number in the event being read, 0 = none yet */
    uint32_t line_len;
    char line[LINE_BYTES];
    char id[ID_BYTES];
    const struct dialect *dialect; /* of a WebSocket; NULL for SSE */
    bool is_ready;
    char *held, *parts; /* a frame that was cut by a read, and the fragments of a message so far */
    size_t held_bytes, held_room, parts_bytes;
};

/* Implemented by the program: a message arrived, an event ended, the response head was read. */
static void on_message(struct reader *r, uint32_t seq, uint64_t stamp_ns);
static void on_event_end(struct reader *r);
static void on_head(struct reader *r);
static void on_chunk(void);

/* Implemented in websocket.h. */
static inline void websocket_begin(struct reader *r);
static inline void websocket_bytes(struct reader *r, const char *p, size_t n);

static inline bool digits(const char *p, unsigned n, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned d = (unsigned)(p[i] - '0');
        if (d > 9)
            return false;
        value = value * 10 + d;
    }
    *out = value;
    return true;
}

static inline void read_markers(struct reader *r, const char *p, const char *end)
{
    uint64_t seq, stamp;
    while ((p = memchr(p, '@', (size_t)(end - p))) && end - p >= MARKER_BYTES) {
        if (digits(p + 1, 8, &seq) && p[9] == ':' && digits(p + 10, 20, &stamp)) {
            r->event_seq = (uint32_t)seq;
            on_message(r, (uint32_t)seq, stamp);
            p += MARKER_BYTES;
        } else {
            p++;
        }
    }
}

static inline bool is_field(const char *p, size_t n, const char *name, size_t len)
{
    return n > len && memcmp(p, name, len) == 0;
}

static inline bool is_control(const char *name, size_t n)
{
    static const char *const names[] = {"position", "snapshot", "gap", "end", "reset"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(name, names[i], n) == 0)
            return true;
    return false;
}

static inline void sse_line(struct reader *r, const char *p, size_t n)
{
    if (n && p[n - 1] == '\r')
        n--;
    if (n == 0) {
        if (r->event_seq)
            on_event_end(r);
        r->event_seq = 0;
        r->control = false;
    } else if (is_field(p, n, "data:", 5)) {
        if (!r->control)
            read_markers(r, p + 5, p + n);
    } else if (is_field(p, n, "id: ", 4)) {
        size_t len = n - 4 < ID_BYTES - 1 ? n - 4 : ID_BYTES - 1;
        memcpy(r->id, p + 4, len);
        r->id[len] = 0;
    } else if (is_field(p, n, "event: ", 7)) {
        r->control = is_control(p + 7, n - 7);
    }
}

static inline void head_line(struct reader *r, const char *p, size_t n)
{
    if (n && p[n - 1] == '\r')
        n--;
    if (n == 0 && r->dialect) {
        websocket_begin(r);
    } else if (n == 0) {
        r->state = r->chunked ? CHUNK_SIZE : PLAIN_BODY;
        r->refused = r->status != 200;
        on_head(r);
    } else if (is_field(p, n, "HTTP/1.1 ", 9)) {
        r->status = atoi(p + 9);
    } else if (n >= 26 && strncasecmp(p, "transfer-encoding: chunked", 26) == 0) {
        r->chunked = true;
    }
}

/* Hands each whole line of [p, p+n) to sse_line; keeps a cut one. */
static inline void sse_bytes(struct reader *r, const char *p, size_t n)
{
    while (n) {
        const char *nl = memchr(p, '\n', n);
        size_t len = nl ? (size_t)(nl - p) : n;
        if (!nl || r->line_len) {
            size_t room = LINE_BYTES - r->line_len, part = len < room ? len : room;
            memcpy(r->line + r->line_len, p, part);
            r->line_len += (uint32_t)part;
        }
        if (!nl)
            return;
        if (r->line_len)
            sse_line(r, r->line, r->line_len);
        else
            sse_line(r, p, len);
        r->line_len = 0;
        n -= len + 1;
        p = nl + 1;
    }
}

/* Lines of the response head always go through the line buffer. True when one is whole. */
static inline bool take_line(struct reader *r, const char **p, size_t *n, char *out, size_t *out_len)
{
    const char *nl = memchr(*p, '\n', *n);
    size_t len = nl ? (size_t)(nl - *p) : *n;
    size_t room = LINE_BYTES - r->line_len, part = len < room ? len : room;
    memcpy(r->line + r->line_len, *p, part);
    r->line_len += (uint32_t)part;
    *p += len + (nl != NULL);
    *n -= len + (nl != NULL);
    if (!nl)
        return false;
    memcpy(out, r->line, r->line_len);
    *out_len = r->line_len;
    r->line_len = 0;
    return true;
}

/* Chunk framing has a line of its own while a data line may be cut: the size is gathered in chunk_left. */
static inline void chunk_size_bytes(struct reader *r, const char **p, size_t *n)
{
    while (*n) {
        char c = *(*p)++;
        (*n)--;
        if (c >= '0' && c <= '9')
            r->chunk_left = r->chunk_left * 16 + (uint64_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            r->chunk_left = r->chunk_left * 16 + (uint64_t)((c | 32) - 'a' + 10);
        else if (c == '\n') {
            on_chunk();
            r->state = r->chunk_left ? CHUNK_BODY : ENDED;
            return;
        }
    }
}

static inline void chunk_body_bytes(struct reader *r, const char **p, size_t *n)
{
    size_t part = *n < r->chunk_left ? *n : (size_t)r->chunk_left;
    sse_bytes(r, *p, part);
    *p += part;
    *n -= part;
    r->chunk_left -= part;
    if (!r->chunk_left)
        r->state = CHUNK_END;
}

static inline void reader_bytes(struct reader *r, const char *p, size_t n)
{
    char line[LINE_BYTES];
    size_t len;
    while (n && r->state != ENDED) {
        switch (r->state) {
        case HEAD:
            if (take_line(r, &p, &n, line, &len))
                head_line(r, line, len);
            break;
        case CHUNK_SIZE:
            chunk_size_bytes(r, &p, &n);
            break;
        case CHUNK_BODY:
            chunk_body_bytes(r, &p, &n);
            break;
        case CHUNK_END: {
            const char *nl = memchr(p, '\n', n);
            size_t used = nl ? (size_t)(nl - p) + 1 : n;
            p += used;
            n -= used;
            if (nl)
                r->state = CHUNK_SIZE;
            break;
        }
        case FRAMES:
            websocket_bytes(r, p, n);
            n = 0;
            break;
        default:
            sse_bytes(r, p, n);
            n = 0;
        }
    }
}
#endif
