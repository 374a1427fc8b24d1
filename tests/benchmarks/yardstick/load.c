/* Web requests at one server, as many as it takes or at a steady rate.
 *
 *     load PORT CONNECTIONS SESSIONS SIZE SECONDS RATE SLASH NAME [create | new]
 *
 * SESSIONS are shared out among the connections, so that no two ever ask for one at a time. A page is an
 * acquire and a set (70 %), an acquire and a release (20 %) or a get (10 %). RATE is in exchanges a second;
 * 0 is as fast as answers come. SLASH is "/" where targets have to begin with it, else "". NAME tells the
 * sessions of one load from another's. With `create` all sessions are stored first. With `new` each page is
 * the first one of a session that nobody has stored: an acquire that is answered 404, and a set.
 *
 * Connects, warms up, says "ready", waits for a line, works, and prints what it saw as JSON. Every answer
 * is looked at: anything but what is due, or a body that is not this session's, ends it with exit code 1. A
 * latency begins when its exchange was due, so a server that stalls is charged for all that had to wait.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP_PAGES 4
#define MOST_CONNECTIONS 16384

enum step { CREATE, GET, ACQUIRE, SET, RELEASE, MISS };

struct connection {
    int file, session, cookie, first, count, pages;
    enum step step;
    int sets_after;       /* what follows an acquire: a set, or a release */
    int waits_for_room;   /* in the network, to send the rest */
    long long due;
    char *out, *in;
    size_t out_length, out_sent, in_length, expected; /* expected: 0 until the answer's head is complete */
};

static struct connection connections[MOST_CONNECTIONS];
static const char *slash, *name;
static long size, session_count;
static int reactor, connection_count, is_creating, are_new, new_count;
static unsigned generator = 1;

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static unsigned throw_rng(unsigned sides) {
    generator ^= generator << 13, generator ^= generator >> 17, generator ^= generator << 5;
    return generator % sides;
}

static void give_up(struct connection *connection, const char *what) {
    static const char *steps[] = {"create", "get", "acquire", "set", "release", "first acquire"};
    fprintf(stderr, "%s of session %d: %s: %.*s\n", steps[connection->step], connection->session, what,
            (int)(connection->in_length < 200 ? connection->in_length : 200), connection->in);
    exit(1);
}

static void want_events(struct connection *connection, int waits_for_room) {
    if (connection->waits_for_room == waits_for_room) return;
    connection->waits_for_room = waits_for_room;
    struct epoll_event event = {.events = EPOLLIN | (waits_for_room ? EPOLLOUT : 0), .data.u32 = connection - connections};
    epoll_ctl(reactor, EPOLL_CTL_MOD, connection->file, &event);
}

static void flush_out(struct connection *connection) {
    while (connection->out_sent < connection->out_length) {
        ssize_t sent = write(connection->file, connection->out + connection->out_sent,
                             connection->out_length - connection->out_sent);
        if (sent < 0 && errno == EAGAIN) {
            want_events(connection, 1);
            return;
        }
        if (sent < 0) give_up(connection, strerror(errno));
        connection->out_sent += sent;
    }
    want_events(connection, 0);
}

static void ask(struct connection *connection, enum step step, long long due) {
    static const char *verbs[] = {"PUT", "GET", "GET", "PUT", "GET", "GET"};
    int has_body = step == CREATE || step == SET;
    connection->step = step;
    connection->due = due;
    char *out = connection->out;
    out += sprintf(out, "%s %s%%2fLM%%2fW3SVC%%2f2%%2fROOT(oXvpnxcuEWqKAgOETha32JavYZ6eCqrpTN5%%2fHxWS854%%3d)%%2f%s%020d"
                        " HTTP/1.1\r\nHost: localhost\r\n", verbs[step], slash, name, connection->session);
    if (has_body)
        out += sprintf(out, "Timeout:20\r\nContent-Length:%ld\r\nExtraFlags:0\r\nLockCookie:%d\r\n", size,
                       step == SET ? connection->cookie : 0);
    if (step == ACQUIRE || step == MISS) out += sprintf(out, "Exclusive: acquire\r\n");
    if (step == RELEASE) out += sprintf(out, "Exclusive: release\r\nLockCookie:%d\r\n", connection->cookie);
    out += sprintf(out, "\r\n");
    if (has_body) {
        memset(out, 'x', size);
        memcpy(out, &connection->session, sizeof connection->session);
        out += size;
    }
    connection->out_length = out - connection->out;
    connection->out_sent = connection->in_length = connection->expected = 0;
    flush_out(connection);
}

static enum step begin_page(struct connection *connection) {
    if (are_new) {
        connection->session = new_count++;
        connection->cookie = 0;
        return MISS;
    }
    connection->session = connection->first + throw_rng(connection->count);
    unsigned kind = throw_rng(10);
    connection->sets_after = kind < 7;
    return kind == 9 ? GET : ACQUIRE;
}

/* What comes next of the page that this connection is in; -1 when it is over. */
static int next_step(struct connection *connection) {
    if (connection->step == CREATE && ++connection->session < connection->first + connection->count) return CREATE;
    if (connection->step == MISS) return SET;
    if (connection->step == ACQUIRE) return connection->sets_after ? SET : RELEASE;
    return -1;
}

static void check_head(struct connection *connection) {
    char *end = memmem(connection->in, connection->in_length, "\r\n\r\n", 4);
    if (end == NULL) return;
    char kept = end[2];
    end[2] = '\0';
    char *status = strncmp(connection->in, "HTTP/1.1 ", 9) ? connection->in : connection->in + 9;
    const char *due = connection->step == MISS ? "404 " : "200 ";
    if (strncasecmp(status, due, 4)) give_up(connection, "another status than was due");
    char *length = strcasestr(connection->in, "\r\ncontent-length: ");
    char *cookie = strcasestr(connection->in, "\r\nlockcookie: ");
    if (length == NULL || (cookie == NULL) != (connection->step != ACQUIRE)) give_up(connection, "an odd answer");
    long body = atol(length + 18);
    if (body != (connection->step == GET || connection->step == ACQUIRE ? size : 0)) give_up(connection, "odd length");
    if (cookie) connection->cookie = atoi(cookie + 14);
    end[2] = kept;
    connection->expected = end + 4 - connection->in + body;
}

/* Take in what has come; return whether the answer is complete. */
static int receive(struct connection *connection) {
    size_t room = size + 20480;
    ssize_t count = read(connection->file, connection->in + connection->in_length, room - connection->in_length);
    if (count < 0 && errno == EAGAIN) return 0;
    if (count <= 0) give_up(connection, count ? strerror(errno) : "closed");
    connection->in_length += count;
    if (!connection->expected) check_head(connection);
    if (!connection->expected || connection->in_length < connection->expected) return 0;
    if (connection->in_length > connection->expected) give_up(connection, "more than was asked for");
    if ((connection->step == GET || connection->step == ACQUIRE) &&
        memcmp(connection->in + connection->expected - size, &connection->session, sizeof connection->session))
        give_up(connection, "another session's body");
    return 1;
}

static void open_connection(struct connection *connection, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    connection->file = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection->file, (struct sockaddr *)&address, sizeof address)) give_up(connection, "cannot connect");
    setsockopt(connection->file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(connection->file, F_SETFL, O_NONBLOCK);
    connection->out = malloc(size + 2048);
    connection->in = malloc(size + 20480);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = connection - connections};
    epoll_ctl(reactor, EPOLL_CTL_ADD, connection->file, &event);
}

static int compare(const void *one, const void *other) {
    unsigned a = *(const unsigned *)one, b = *(const unsigned *)other;
    return (a > b) - (a < b);
}

static unsigned *latencies; /* in tenths of a microsecond */
static size_t latency_count, latency_room;

static void note_latency(long long latency) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[latency_count++] = latency / 100;
}

static int idle[MOST_CONNECTIONS], idle_first, idle_count; /* a ring, so that all connections have their turn */

static void rest(struct connection *connection) {
    idle[(idle_first + idle_count++) % MOST_CONNECTIONS] = connection - connections;
}

static struct connection *wake_one(void) {
    struct connection *connection = &connections[idle[idle_first]];
    idle_first = (idle_first + 1) % MOST_CONNECTIONS;
    idle_count--;
    return connection;
}

/* Give a connection its next exchange; return whether there is one: when it is over, pages are finished. */
static int go_on(struct connection *connection, int is_over, long long due) {
    int step = next_step(connection);
    if (step < 0 && is_over) return 0;
    ask(connection, step < 0 ? begin_page(connection) : (enum step)step, due);
    return 1;
}

/* Before anything is counted: sessions are created if need be, and each connection makes a few pages. */
static void warm_up(void) {
    int busy = connection_count;
    for (int i = 0; i < connection_count; i++) {
        connections[i].session = connections[i].first;
        if (is_creating) ask(&connections[i], CREATE, 0);
        else go_on(&connections[i], 0, 0);
    }
    while (busy) {
        struct epoll_event events[256];
        int ready = epoll_wait(reactor, events, 256, 10000);
        if (ready == 0) give_up(&connections[0], "no answer for 10 s");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];
            if (connection->waits_for_room) flush_out(connection);
            if (!(events[i].events & ~EPOLLOUT) || !receive(connection)) continue;
            if (connection->step != CREATE && connection->step != ACQUIRE && connection->step != MISS) connection->pages++;
            if (!go_on(connection, connection->pages == WARM_UP_PAGES, 0)) {
                rest(connection);
                busy--;
            }
        }
    }
}

/* Work until `until`, an exchange each `gap` nanoseconds; 0 is as fast as can be. */
static void work(long long until, long long gap) {
    int busy = 0;
    long long next_due = now_ns();
    for (;;) {
        long long now = now_ns();
        int is_over = now >= until;
        for (int left = idle_count; left && (is_over || !gap || next_due <= now); left--) {
            struct connection *connection = wake_one();
            if (go_on(connection, is_over, gap && !is_over ? next_due : now)) busy++;
            next_due += gap;
        }
        if (!busy && is_over) return;
        long long wait = is_over ? 10000000000 : (gap && idle_count && next_due < until ? next_due : until) - now;
        struct timespec timeout = {wait > 0 ? wait / 1000000000 : 0, wait > 0 ? wait % 1000000000 : 0};
        struct epoll_event events[256];
        int ready = epoll_pwait2(reactor, events, 256, &timeout, NULL);
        if (ready == 0 && is_over) give_up(&connections[0], "no answer for 10 s");
        now = now_ns();
        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];
            if (connection->waits_for_room) flush_out(connection);
            if (!(events[i].events & ~EPOLLOUT) || !receive(connection)) continue;
            note_latency(now - connection->due);
            if (!gap && go_on(connection, now >= until, now)) continue;
            rest(connection);
            busy--;
        }
    }
}

int main(int count, char **arguments) {
    if (count < 9) return 2;
    int port = atoi(arguments[1]);
    connection_count = atoi(arguments[2]);
    session_count = atol(arguments[3]);
    size = atol(arguments[4]);
    double seconds = atof(arguments[5]), rate = atof(arguments[6]);
    slash = arguments[7];
    name = arguments[8];
    is_creating = count > 9 && !strcmp(arguments[9], "create");
    are_new = count > 9 && !strcmp(arguments[9], "new");
    generator = (unsigned)now_ns() | 1;
    reactor = epoll_create1(0);
    for (int i = 0; i < connection_count; i++) {
        long first = session_count * i / connection_count, next = session_count * (i + 1) / connection_count;
        connections[i].first = first;
        connections[i].count = next - first;
        connections[i].step = GET;
        open_connection(&connections[i], port);
    }
    warm_up();
    printf("ready\n");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    latency_count = 0;
    long long began_at = now_ns();
    work(began_at + (long long)(seconds * 1e9), rate > 0 ? (long long)(1e9 / rate) : 0);
    double took = (now_ns() - began_at) / 1e9;
    qsort(latencies, latency_count, sizeof *latencies, compare);
    printf("{\"exchanges\": %zu, \"seconds\": %.6f, \"p50\": %.1f, \"p99\": %.1f}\n", latency_count, took,
           latencies[latency_count / 2] / 10.0, latencies[latency_count * 99 / 100] / 10.0);
    return 0;
}
