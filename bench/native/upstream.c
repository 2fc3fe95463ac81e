// The mock upstream: takes HTTP/1.1 requests, checks what a proxy made of them, and answers from
// memory, or with server-sent events at a steady rate. `GET /counts` tells what it saw.
#define _GNU_SOURCE
#include "link.h"
#include "message.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { READ_BYTES = 262144, NEEDLE_MAX = 256, EVENT_BYTES_MAX = 4096, STREAMS_MAX = 65536 };

// In an answer, a run of these is where a number goes: see `stamp`.
static const char BLANK[] = "@@@@@@@@@@@@@@@@@@@@";
enum { BLANK_BYTES = 20, TICK_NS = 1000000 };

struct peer {
  struct link link;
  bool is_standing; // the handshake is done
  struct message request;
  uint64_t body_bytes, first_byte_ns;
  // The end of the body so far, where a needle may have begun.
  char tail[NEEDLE_MAX];
  size_t tail_length;
  bool has_needle;
  const char *out;
  size_t out_left;
  char *own_answer; // a stamped copy
  unsigned sequence;
  int stream; // its place among the streams; -1: none
  bool is_writing;
};

static struct {
  int port, events_per_s;
  size_t event_bytes, answer_length;
  char *answer;
  char *blank; // within the answer; null without
  enum { NO_STAMP, STAMP_SERIAL, STAMP_FIRST_BYTE } stamp;
  const char *want_header, *want_body;
  tls_context *tls;
} options = {.event_bytes = 200};

static struct {
  uint64_t connections, handshakes, resumed, requests, bytes, wrong, withheld;
} counts;

static int epoll;
static struct peer *streams[STREAMS_MAX];
static int stream_count;
static char scratch[READ_BYTES];

static void drop(struct peer *peer) {
  if (peer->stream >= 0) {
    streams[peer->stream] = streams[--stream_count];
    streams[peer->stream]->stream = peer->stream;
  }
  link_close(&peer->link);
  free(peer->own_answer);
  free(peer);
}

// False when the peer is gone.
static bool flush(struct peer *peer) {
  while (peer->out_left > 0) {
    ssize_t moved = link_write(&peer->link, peer->out, peer->out_left);
    if (moved == LINK_WAIT) break;
    if (moved <= 0) return false;
    peer->out += moved;
    peer->out_left -= (size_t)moved;
  }
  bool is_writing = peer->out_left > 0;
  if (is_writing != peer->is_writing)
    watch(epoll, EPOLL_CTL_MOD, peer->link.fd, is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, peer);
  peer->is_writing = is_writing;
  return true;
}

static void search_body(void *owner, const char *bytes, size_t length) {
  struct peer *peer = owner;
  if (peer->body_bytes == 0) peer->first_byte_ns = now_ns();
  peer->body_bytes += length;
  if (options.want_body == NULL || peer->has_needle) return;
  size_t needle = strlen(options.want_body);
  peer->has_needle = memmem(bytes, length, options.want_body, needle) != NULL;
  // The seam: the end of what came before, and the beginning of this piece.
  char seam[2 * NEEDLE_MAX];
  size_t taken = length < needle ? length : needle, seam_length = peer->tail_length + taken;
  memcpy(seam, peer->tail, peer->tail_length);
  memcpy(seam + peer->tail_length, bytes, taken);
  if (memmem(seam, seam_length, options.want_body, needle) != NULL) peer->has_needle = true;
  // A piece that is longer than the needle pushes all that came before out of the tail.
  const char *end = length < needle ? seam + seam_length : bytes + length;
  size_t known = length < needle ? seam_length : length;
  peer->tail_length = known < needle ? known : needle;
  memcpy(peer->tail, end - peer->tail_length, peer->tail_length);
}

static bool is_right(const struct peer *peer) {
  if (options.want_body != NULL && !peer->has_needle) return false;
  return options.want_header == NULL || strcasestr(peer->request.head, options.want_header) != NULL;
}

// Whoever asks is not counted.
static void answer_counts(struct peer *peer) {
  counts.connections--;
  if (options.tls != NULL) {
    counts.handshakes--;
    if (tls_is_resumed(&peer->link)) counts.resumed--;
  }
  char body[512];
  int length = snprintf(body, sizeof body,
                        "{\"connections\":%lu,\"handshakes\":%lu,\"resumed\":%lu,\"requests\":%lu,"
                        "\"bytes\":%lu,\"wrong\":%lu,\"withheld\":%lu}\n",
                        counts.connections, counts.handshakes, counts.resumed, counts.requests,
                        counts.bytes, counts.wrong, counts.withheld);
  free(peer->own_answer);
  int total = asprintf(&peer->own_answer, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s", length,
                       body);
  peer->out = peer->own_answer;
  peer->out_left = (size_t)total;
}

static void answer_stamped(struct peer *peer, uint64_t number) {
  char digits[BLANK_BYTES + 1];
  snprintf(digits, sizeof digits, "%020lu", number);
  if (peer->own_answer == NULL) peer->own_answer = malloc(options.answer_length);
  memcpy(peer->own_answer, options.answer, options.answer_length);
  memcpy(peer->own_answer + (options.blank - options.answer), digits, BLANK_BYTES);
  peer->out = peer->own_answer;
}

static void begin_stream(struct peer *peer) {
  static const char head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                             "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
  peer->out = head;
  peer->out_left = sizeof head - 1;
  if (stream_count == STREAMS_MAX) fail("streams");
  peer->stream = stream_count;
  streams[stream_count++] = peer;
}

static void answer(struct peer *peer) {
  if (strncmp(peer->request.head, "GET /counts ", 12) == 0) {
    answer_counts(peer);
  } else {
    counts.requests++;
    counts.bytes += peer->body_bytes;
    if (!is_right(peer)) counts.wrong++;
    if (options.events_per_s > 0) {
      begin_stream(peer);
    } else {
      peer->out = options.answer;
      peer->out_left = options.answer_length;
      if (options.stamp == STAMP_SERIAL) answer_stamped(peer, counts.requests);
      if (options.stamp == STAMP_FIRST_BYTE) answer_stamped(peer, peer->first_byte_ns);
    }
  }
  message_reset(&peer->request);
  peer->body_bytes = 0;
  peer->tail_length = 0;
  peer->has_needle = false;
}

// False when the peer is gone.
static bool serve(struct peer *peer) {
  if (!peer->is_standing) {
    int done = tls_handshake(&peer->link);
    if (done < 1) return done == 0;
    peer->is_standing = true;
    counts.handshakes++;
    if (tls_is_resumed(&peer->link)) counts.resumed++;
  }
  if (!flush(peer)) return false;
  // An answer that does not leave holds up the next request.
  while (peer->out_left == 0) {
    ssize_t length = link_read(&peer->link, scratch, READ_BYTES);
    if (length == LINK_WAIT) return true;
    if (length <= 0) return false;
    for (size_t at = 0; at < (size_t)length;) {
      at += message_read(&peer->request, scratch + at, (size_t)length - at, search_body, peer);
      if (peer->request.state == WRONG) return false;
      if (peer->request.state != WHOLE) continue;
      // No proxy here sends a request before the answer to the one before it has come.
      if (at < (size_t)length || peer->stream >= 0) return false;
      answer(peer);
    }
    if (!flush(peer)) return false;
    if (options.tls == NULL && length < READ_BYTES) return true;
  }
  return true;
}

static void send_event(struct peer *peer) {
  char event[EVENT_BYTES_MAX];
  if (peer->out_left > 0) {
    counts.withheld++;
    return;
  }
  int length = snprintf(event, sizeof event, "%zx\r\ndata: {\"sequence\":%010u,\"at\":%020lu,\"text\":\"",
                        options.event_bytes, peer->sequence++, now_ns());
  size_t total = options.event_bytes + (size_t)(strchr(event, '\n') - event) + 1;
  memset(event + length, 'x', total - (size_t)length - 4);
  memcpy(event + total - 4, "\"}\n\n", 4);
  memcpy(event + total, "\r\n", 2);
  peer->out = event;
  peer->out_left = total + 2;
  // What the socket does not take at once would outlive the buffer.
  if (flush(peer) && peer->out_left > 0) {
    free(peer->own_answer);
    peer->own_answer = malloc(peer->out_left);
    memcpy(peer->own_answer, peer->out, peer->out_left);
    peer->out = peer->own_answer;
  }
}

// Each stream has its own place within the period, so that events leave evenly.
static void send_due(uint64_t tick) {
  uint64_t period = 1000000000u / TICK_NS / (uint64_t)options.events_per_s;
  for (int at = (int)(tick % period); at < stream_count; at += (int)period) send_event(streams[at]);
}

static void accept_all(int listener) {
  for (int fd; (fd = accept_from(listener)) >= 0;) {
    struct peer *peer = calloc(1, sizeof *peer);
    peer->link.fd = fd;
    peer->stream = -1;
    peer->is_standing = options.tls == NULL;
    message_reset(&peer->request);
    if (options.tls != NULL) tls_start(&peer->link, options.tls, NULL);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, peer);
    counts.connections++;
  }
}

static void read_answer(const char *file) {
  FILE *stream = fopen(file, "rb");
  if (stream == NULL) fail(file);
  options.answer = calloc(1, READ_BYTES + 1);
  options.answer_length = fread(options.answer, 1, READ_BYTES, stream);
  fclose(stream);
  options.blank = memmem(options.answer, options.answer_length, BLANK, BLANK_BYTES);
}

static void read_options(int count, char **words) {
  static const struct option known[] = {
      {"port", 1, NULL, 'p'},        {"answer", 1, NULL, 'a'},     {"stamp", 1, NULL, 's'},
      {"want-header", 1, NULL, 'h'}, {"want-body", 1, NULL, 'b'},  {"events", 1, NULL, 'e'},
      {"event-bytes", 1, NULL, 'z'}, {"cert", 1, NULL, 'c'},       {"key", 1, NULL, 'k'},
      {NULL, 0, NULL, 0},
  };
  const char *cert = NULL, *key = NULL;
  for (int one; (one = getopt_long(count, words, "", known, NULL)) >= 0;) {
    if (one == 'p') options.port = atoi(optarg);
    else if (one == 'a') read_answer(optarg);
    else if (one == 's') options.stamp = strcmp(optarg, "serial") == 0 ? STAMP_SERIAL : STAMP_FIRST_BYTE;
    else if (one == 'h') options.want_header = optarg;
    else if (one == 'b') options.want_body = optarg;
    else if (one == 'e') options.events_per_s = atoi(optarg);
    else if (one == 'z') options.event_bytes = strtoull(optarg, NULL, 10);
    else if (one == 'c') cert = optarg;
    else if (one == 'k') key = optarg;
    else exit(2);
  }
  if (options.want_body != NULL && strlen(options.want_body) > NEEDLE_MAX) exit(2);
  if (options.stamp != NO_STAMP && options.blank == NULL) exit(2);
  if (cert != NULL) options.tls = tls_server(cert, key);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  read_options(count, words);
  int listener = listen_at(options.port);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct itimerspec every = {{0, TICK_NS}, {0, TICK_NS}};
  epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, &listener);
  if (options.events_per_s > 0) {
    timerfd_settime(timer, 0, &every, NULL);
    watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, &timer);
  }
  puts("ready");
  fflush(stdout);
  for (uint64_t tick = 0;;) {
    struct epoll_event ready[256];
    int length = epoll_wait(epoll, ready, 256, -1);
    for (int at = 0; at < length; at++) {
      void *owner = ready[at].data.ptr;
      uint64_t passed = 0;
      if (owner == &listener) accept_all(listener);
      else if (owner == &timer) {
        if (read(timer, &passed, sizeof passed) < 0) continue;
        while (passed-- > 0) send_due(tick++);
      } else if (!serve(owner)) drop(owner);
    }
  }
}
