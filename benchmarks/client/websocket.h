/* One reader on a WebSocket (RFC 6455): the opening frames of a dialect, and the frames of the server.
 *
 * A message that lies whole in what was read is parsed where it lies; one that is cut, or fragmented, is gathered
 * first, however long it is. Pings are answered, those of the dialect too. Only messages that begin as the dialect's
 * messages do are searched for markers (see reader.h), so that no answer, gap or snapshot is counted as one.
 */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H
#include "reader.h"

struct dialect {
    const char *name, *subprotocol;
    const char *cue;         /* what the server says before the client may subscribe; NULL: nothing */
    const char *subscribe;   /* the client's opening; NULL: none */
    const char *ready;       /* the server's answer, from when on this reader counts; NULL: the handshake's end */
    const char *message;     /* how a message begins that carries a marker */
    const char *ping, *pong; /* of the dialect itself */
};

static const struct dialect dialects[] = {
    {"plain", NULL, NULL, NULL, NULL, "", NULL, NULL},
    {"patinox.v1", "patinox.v1", NULL, "{\"op\":\"subscribe\",\"stream\":\"0\"}", "{\"op\":\"subscribed\"",
     "{\"op\":\"chunk\"", NULL, NULL},
    /* engine.io: "0…" opens the session; socket.io: "40" joins the namespace, "42" is an event. */
    {"socket.io", NULL, "0", "40", "40", "42", "2", "3"},
};

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10, CONTROL_OP = 8 };
enum { FIN = 0x80, MASK_BIT = 0x80, MAX_SENT = 125, MAX_MESSAGE = 1 << 26 };

static const struct dialect *dialect_named(const char *name)
{
    for (unsigned i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (strcmp(dialects[i].name, name) == 0)
            return &dialects[i];
    return NULL;
}

static inline bool begins(const char *p, size_t n, const char *with)
{
    return with && n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

/* Sends one short frame, masked as a client's must be; what doesn't fit into a control frame isn't needed here. */
static inline void say(struct reader *r, unsigned opcode, const char *payload, size_t n)
{
    static const unsigned char mask[4] = {0x5a, 0xa5, 0x3c, 0xc3};
    unsigned char frame[6 + MAX_SENT] = {(unsigned char)(FIN | opcode), (unsigned char)(MASK_BIT | n)};
    if (n > MAX_SENT)
        return;
    memcpy(frame + 2, mask, 4);
    for (size_t i = 0; i < n; i++)
        frame[6 + i] = (unsigned char)payload[i] ^ mask[i & 3];
    send_bytes(r, frame, 6 + n);
}

static inline void websocket_begin(struct reader *r)
{
    r->state = r->status == 101 ? FRAMES : ENDED;
    r->refused = r->status != 101;
    if (r->refused || !r->dialect->ready)
        on_head(r);
    if (!r->refused && !r->dialect->cue && r->dialect->subscribe)
        say(r, OP_TEXT, r->dialect->subscribe, strlen(r->dialect->subscribe));
}

static inline void take_message(struct reader *r, const char *p, size_t n)
{
    const struct dialect *d = r->dialect;
    if (!r->is_ready && begins(p, n, d->ready)) {
        r->is_ready = true;
        on_head(r);
    } else if (begins(p, n, d->message)) {
        read_markers(r, p, p + n);
    } else if (!r->is_ready && begins(p, n, d->cue)) {
        say(r, OP_TEXT, d->subscribe, strlen(d->subscribe));
    } else if (begins(p, n, d->ping)) {
        say(r, OP_TEXT, d->pong, strlen(d->pong));
    }
}

static inline void take_control(struct reader *r, unsigned opcode, const char *p, size_t n)
{
    if (opcode == OP_PING)
        say(r, OP_PONG, p, n);
    if (opcode == OP_CLOSE) {
        say(r, OP_CLOSE, p, n < 2 ? 0 : 2);
        r->state = ENDED;
    }
}

/* Adds to what is held of a message or frame that isn't whole. False when nobody should hold so much. */
static inline bool hold_bytes(struct reader *r, const char *p, size_t n)
{
    if (r->held_bytes + n > r->held_room) {
        size_t room = (r->held_bytes + n) * 2;
        char *grown = room <= MAX_MESSAGE ? realloc(r->held, room) : NULL;
        if (!grown)
            return false;
        r->held = grown;
        r->held_room = room;
    }
    memcpy(r->held + r->held_bytes, p, n);
    r->held_bytes += n;
    return true;
}

/* The bytes that a frame's header takes, and its payload's length; 0 when more must be read to know. */
static inline size_t frame_header(const unsigned char *p, size_t n, uint64_t *payload)
{
    size_t extra = n < 2 ? 0 : p[1] == 126 ? 2 : p[1] == 127 ? 8 : 0;
    if (n < 2 + extra)
        return 0;
    *payload = extra ? 0 : p[1];
    for (size_t i = 0; i < extra; i++)
        *payload = *payload << 8 | p[2 + i];
    return 2 + extra;
}

static inline void take_frame(struct reader *r, unsigned first, const char *p, size_t n)
{
    unsigned opcode = first & 0xf;
    if (opcode & CONTROL_OP) {
        take_control(r, opcode, p, n);
    } else if (first & FIN && opcode != OP_CONTINUATION) {
        take_message(r, p, n);
    } else {
        char *whole = realloc(r->parts, r->parts_bytes + n);
        if (!whole) {
            r->state = ENDED;
            return;
        }
        memcpy(whole + r->parts_bytes, p, n);
        r->parts = whole;
        r->parts_bytes += n;
        if (first & FIN) {
            take_message(r, r->parts, r->parts_bytes);
            r->parts_bytes = 0;
        }
    }
}

/* Takes the whole frames of [p, p+n); returns how much of it they were. */
static inline size_t whole_frames(struct reader *r, const char *p, size_t n)
{
    size_t at = 0;
    while (r->state == FRAMES) {
        uint64_t payload = 0;
        const unsigned char *frame = (const unsigned char *)p + at;
        size_t header = frame_header(frame, n - at, &payload);
        if (header && (frame[1] & MASK_BIT || payload > MAX_MESSAGE)) {
            r->state = ENDED; /* a server masks nothing */
            break;
        }
        if (!header || n - at - header < payload)
            break;
        take_frame(r, frame[0], p + at + header, (size_t)payload);
        at += header + (size_t)payload;
    }
    return at;
}

static inline void websocket_bytes(struct reader *r, const char *p, size_t n)
{
    if (!r->held_bytes) {
        size_t used = whole_frames(r, p, n);
        if (r->state == FRAMES && used < n && !hold_bytes(r, p + used, n - used))
            r->state = ENDED;
        return;
    }
    if (!hold_bytes(r, p, n)) {
        r->state = ENDED;
        return;
    }
    size_t used = whole_frames(r, r->held, r->held_bytes);
    r->held_bytes -= used;
    memmove(r->held, r->held + used, r->held_bytes);
}
#endif
