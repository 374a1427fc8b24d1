/* Stand-ins for state servers that are never the bottleneck: one process, as many ports as are asked for.
 *
 *     standin COUNT VERSION        VERSION stands before the status: "" as state servers do, or "HTTP/1.1 "
 *
 * Prints the ports, then serves until it is killed. A session is what its target says, undecoded. It is
 * stored, read, locked, released and removed as protocol.md 6 has it, except that nothing ever expires.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_ROOM 10240
#define BUCKETS 65536
#define MOST_FILES 16384

struct session {
    struct session *next;
    char *target, *body;
    size_t target_length, body_length;
    int cookie, is_locked;
};

struct connection {
    struct session **sessions; /* of the port that it came to; NULL for the port itself */
    char *in, *out;
    size_t held, room, out_length, out_sent;
};

static struct connection *connections[MOST_FILES];
static const char *version;
static int reactor;

static void *must(void *memory) {
    if (memory == NULL) abort();
    return memory;
}

static struct session **place_of(struct session **sessions, const char *target, size_t length) {
    unsigned hash = 2166136261u;
    for (size_t i = 0; i < length; i++) hash = (hash ^ (unsigned char)target[i]) * 16777619u;
    struct session **place = &sessions[hash % BUCKETS];
    while (*place && ((*place)->target_length != length || memcmp((*place)->target, target, length)))
        place = &(*place)->next;
    return place;
}

static void drop(int file) {
    struct connection *connection = connections[file];
    connections[file] = NULL;
    free(connection->in);
    free(connection->out);
    free(connection);
    close(file);
}

/* What the network does not take at once is kept, and goes out when it does. */
static void send_answer(int file, struct iovec *parts, int count) {
    struct connection *connection = connections[file];
    ssize_t sent = connection->out_length ? 0 : writev(file, parts, count);
    size_t skip = sent > 0 ? (size_t)sent : 0;
    for (int i = 0; i < count; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        size_t left = parts[i].iov_len - skip;
        connection->out = must(realloc(connection->out, connection->out_length + left));
        memcpy(connection->out + connection->out_length, (char *)parts[i].iov_base + skip, left);
        connection->out_length += left;
        skip = 0;
    }
    if (connection->out_length) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = file};
        epoll_ctl(reactor, EPOLL_CTL_MOD, file, &event);
    }
}

static void send_rest(int file) {
    struct connection *connection = connections[file];
    ssize_t sent = write(file, connection->out + connection->out_sent, connection->out_length - connection->out_sent);
    if (sent > 0) connection->out_sent += sent;
    if (connection->out_sent < connection->out_length) return;
    connection->out_sent = connection->out_length = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    epoll_ctl(reactor, EPOLL_CTL_MOD, file, &event);
}

static void answer(int file, const char *status, const char *fields, const char *body, size_t length) {
    char head[512];
    int head_length = snprintf(head, sizeof head,
        "%s%s\r\nX-AspNet-Version: 4.0.30319\r\n%sCache-Control: private\r\nContent-Length: %zu\r\n\r\n",
        version, status, fields, length);
    struct iovec parts[2] = {{head, head_length}, {(char *)body, length}};
    send_answer(file, parts, length ? 2 : 1);
}

/* HAProxy writes the names of fields in lower case. */
static long number_after(const char *head, const char *field, long otherwise) {
    const char *found = strcasestr(head, field);
    return found ? atol(found + strlen(field)) : otherwise;
}

static void answer_locked(int file, struct session *session) {
    char fields[96];
    snprintf(fields, sizeof fields, "LockDate: 638456778000000000\r\nLockAge: 1\r\nLockCookie: %d\r\n", session->cookie);
    answer(file, "423 Locked", fields, "", 0);
}

static void get(int file, struct session *session, const char *head, long cookie) {
    char fields[96] = "Timeout: 20\r\n";
    int releases = strcasestr(head, "\r\nExclusive: release\r\n") != NULL;
    if (session->is_locked && (!releases || cookie != session->cookie)) {
        answer_locked(file, session);
    } else if (releases) {
        session->is_locked = 0;
        answer(file, "200 OK", "", "", 0);
    } else {
        if (strcasestr(head, "\r\nExclusive: acquire\r\n")) {
            session->is_locked = 1;
            snprintf(fields, sizeof fields, "LockCookie: %d\r\nTimeout: 20\r\n", ++session->cookie);
        }
        answer(file, "200 OK", fields, session->body, session->body_length);
    }
}

static void put(int file, struct session **place, const char *target, size_t target_length, const char *head,
                const char *body, size_t length, long cookie) {
    struct session *session = *place;
    int is_insert_only = number_after(head, "\r\nExtraFlags:", 0) == 1;
    if (session && !is_insert_only && session->is_locked && cookie != session->cookie) {
        answer_locked(file, session);
        return;
    }
    if (session == NULL) {
        session = *place = must(calloc(1, sizeof *session));
        session->target = must(malloc(target_length));
        memcpy(session->target, target, target_length);
        session->target_length = target_length;
        session->cookie = 1;
        is_insert_only = 0;
    }
    if (!is_insert_only) {
        session->is_locked = 0;
        if (session->body_length != length) session->body = must(realloc(session->body, length));
        memcpy(session->body, body, length);
        session->body_length = length;
    }
    answer(file, "200 OK", "", "", 0);
}

static void take_out(int file, struct session **place, long cookie) {
    struct session *session = *place;
    if (session->is_locked && cookie != session->cookie) {
        answer_locked(file, session);
        return;
    }
    *place = session->next;
    free(session->target);
    free(session->body);
    free(session);
    answer(file, "200 OK", "", "", 0);
}

/* Carry out one request of those that have come in; return its length, or 0 if it is not complete. */
static size_t serve_one(int file) {
    struct connection *connection = connections[file];
    char *end = memmem(connection->in, connection->held, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    size_t head_length = end + 4 - connection->in;
    end[2] = '\0'; /* the head becomes a text that ends with its last line */
    long length = number_after(connection->in, "\r\nContent-Length:", 0);
    if (connection->held < head_length + length) {
        end[2] = '\r';
        return 0;
    }
    char *target = strchr(connection->in, ' ') + 1;
    size_t target_length = strchr(target, ' ') - target;
    long cookie = number_after(connection->in, "\r\nLockCookie:", -1);
    struct session **place = place_of(connection->sessions, target, target_length);
    if (connection->in[0] == 'P')
        put(file, place, target, target_length, connection->in, connection->in + head_length, length, cookie);
    else if (*place == NULL)
        answer(file, "404 Not Found", "", "", 0);
    else if (connection->in[0] == 'G')
        get(file, *place, connection->in, cookie);
    else if (connection->in[0] == 'D')
        take_out(file, place, cookie);
    else
        answer(file, "200 OK", "", "", 0);
    return head_length + length;
}

static void receive(int file) {
    struct connection *connection = connections[file];
    if (connection->room - connection->held < HEAD_ROOM) {
        connection->room = connection->room * 2 + 4 * HEAD_ROOM;
        connection->in = must(realloc(connection->in, connection->room));
    }
    ssize_t count = read(file, connection->in + connection->held, connection->room - connection->held);
    if (count <= 0) {
        if (count == 0 || errno != EAGAIN) drop(file);
        return;
    }
    connection->held += count;
    size_t served;
    while ((served = serve_one(file)) > 0) {
        connection->held -= served;
        memmove(connection->in, connection->in + served, connection->held);
    }
}

static void take_in(int file, struct session **sessions) {
    int on = 1;
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connections[file] = must(calloc(1, sizeof *connections[file]));
    connections[file]->sessions = sessions;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
    epoll_ctl(reactor, EPOLL_CTL_ADD, file, &event);
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    version = arguments[2];
    reactor = epoll_create1(0);
    struct session **sessions_of[MOST_FILES] = {NULL}; /* by listening file */
    for (int i = 0; i < atoi(arguments[1]); i++) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        int file = socket(AF_INET, SOCK_STREAM, 0);
        if (bind(file, (struct sockaddr *)&address, length) || listen(file, 4096)) return 1;
        getsockname(file, (struct sockaddr *)&address, &length);
        printf("%d\n", ntohs(address.sin_port));
        sessions_of[file] = must(calloc(BUCKETS, sizeof **sessions_of));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = file};
        epoll_ctl(reactor, EPOLL_CTL_ADD, file, &event);
    }
    fflush(stdout);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(reactor, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int file = events[i].data.fd;
            if (sessions_of[file]) {
                int accepted = accept4(file, NULL, NULL, SOCK_NONBLOCK);
                if (accepted >= MOST_FILES) close(accepted);
                else if (accepted >= 0) take_in(accepted, sessions_of[file]);
                continue;
            }
            if (connections[file] && events[i].events & EPOLLOUT) send_rest(file);
            if (connections[file] && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(file);
        }
    }
}
