/* Readers that share connections (RFC 9113, in the clear): each is a stream of one, so many to a connection.
 *
 * Windows are opened as far as they go at the start, so that nothing has to be said while figures are taken. Headers
 * are written without compression; of the response's only `:status: 200` is looked for, which servers send as one byte.
 */
#ifndef HTTP2_H
#define HTTP2_H
#include "reader.h"

enum { H2_DATA = 0, H2_HEADERS = 1, H2_RST_STREAM = 3, H2_SETTINGS = 4, H2_PING = 6, H2_GOAWAY = 7,
       H2_WINDOW_UPDATE = 8, H2_ACK = 1, H2_END_STREAM = 1, H2_END_HEADERS = 4, H2_FRAME_HEAD = 9, H2_STATUS_200 = 0x88 };

struct session {
    int fd;
    struct reader *first; /* reader k has stream 2k + 1 */
    unsigned streams, head_bytes;
    unsigned char head[H2_FRAME_HEAD];
    uint32_t left;        /* of the frame being read */
    bool first_bytes;     /* of its payload */
};

static inline void put32(unsigned char *p, uint32_t v)
{
    p[0] = (unsigned char)(v >> 24), p[1] = (unsigned char)(v >> 16), p[2] = (unsigned char)(v >> 8), p[3] = (unsigned char)v;
}

static inline uint32_t get32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline size_t h2_frame(unsigned char *out, unsigned type, unsigned flags, uint32_t stream, const void *p, size_t n)
{
    put32(out, (uint32_t)(n << 8) | type);
    out[4] = (unsigned char)flags;
    put32(out + 5, stream);
    memcpy(out + H2_FRAME_HEAD, p, n);
    return H2_FRAME_HEAD + n;
}

/* The preface, settings (no push, the largest window for each stream), and the largest window for all. */
static inline size_t h2_opening(unsigned char *out)
{
    static const unsigned char settings[] = {0, 2, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff};
    unsigned char window[4];
    put32(window, 0x7fffffff - 65535);
    memcpy(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    size_t n = 24 + h2_frame(out + 24, H2_SETTINGS, 0, 0, settings, sizeof settings);
    return n + h2_frame(out + n, H2_WINDOW_UPDATE, 0, 0, window, sizeof window);
}

/* A header of which the name is in the static table (RFC 7541 §6.2.2); values are shorter than 127 bytes. */
static inline size_t h2_header(unsigned char *out, unsigned name, const char *value)
{
    size_t n = strlen(value), at = 0;
    if (name < 15)
        out[at++] = (unsigned char)name;
    else
        out[at++] = 0x0f, out[at++] = (unsigned char)(name - 15);
    out[at++] = (unsigned char)n;
    memcpy(out + at, value, n);
    return at + n;
}

static inline size_t h2_get(unsigned char *out, uint32_t stream, const char *path)
{
    unsigned char block[512] = {0x82, 0x86}; /* :method GET, :scheme http */
    size_t n = 2;
    n += h2_header(block + n, 4, path);
    n += h2_header(block + n, 1, "127.0.0.1");
    n += h2_header(block + n, 19, "text/event-stream");
    return h2_frame(out, H2_HEADERS, H2_END_STREAM | H2_END_HEADERS, stream, block, n);
}

static inline struct reader *h2_reader(const struct session *s)
{
    uint32_t stream = get32(s->head + 5) & 0x7fffffff;
    return stream & 1 && stream / 2 < s->streams ? s->first + stream / 2 : NULL;
}

static inline void h2_answer(const struct session *s, unsigned type, const void *payload, size_t n)
{
    unsigned char out[H2_FRAME_HEAD + 8];
    send_bytes(s->first, out, h2_frame(out, type, H2_ACK, 0, payload, n));
}

/* What lies of a frame's payload; a PING is short and comes whole, or is not answered. */
static inline void h2_payload(struct session *s, const char *p, size_t n)
{
    struct reader *r = h2_reader(s);
    unsigned type = s->head[3];
    if (type == H2_DATA && r)
        sse_bytes(r, p, n);
    else if (type == H2_HEADERS && r && s->first_bytes && r->state == HEAD) {
        r->state = PLAIN_BODY;
        r->refused = (unsigned char)p[0] != H2_STATUS_200;
        on_head(r);
    } else if (type == H2_PING && !(s->head[4] & H2_ACK) && n == 8)
        h2_answer(s, H2_PING, p, n);
    s->first_bytes = false;
}

static inline void h2_frame_begins(struct session *s)
{
    unsigned type = s->head[3];
    struct reader *r = h2_reader(s);
    s->left = get32(s->head) >> 8;
    s->first_bytes = true;
    if (type == H2_SETTINGS && !(s->head[4] & H2_ACK))
        h2_answer(s, H2_SETTINGS, "", 0);
    if (r && (type == H2_RST_STREAM || (type == H2_DATA && s->head[4] & H2_END_STREAM)))
        r->state = ENDED;
    if (type == H2_DATA)
        on_chunk();
}

static inline void session_bytes(struct session *s, const char *p, size_t n)
{
    while (n) {
        size_t part = s->left < n ? s->left : n;
        if (s->head_bytes < H2_FRAME_HEAD) {
            s->head[s->head_bytes++] = (unsigned char)*p++;
            n--;
            if (s->head_bytes == H2_FRAME_HEAD)
                h2_frame_begins(s);
        } else {
            h2_payload(s, p, part);
            p += part;
            n -= part;
            s->left -= (uint32_t)part;
        }
        if (s->head_bytes == H2_FRAME_HEAD && !s->left)
            s->head_bytes = 0;
    }
}
#endif
