// Many routers that watch one gateway, each on a connection of its own, as lean as can be: a request
// that was encoded once, and an acknowledgement for each bundle. It says "connected N" when all have
// their first bundle. Then `expect TEXT` on standard input makes it wait until every router has a
// bundle with that text; it says "expecting", and at the end one line of JSON with the instants, in
// nanoseconds of the monotonic clock.
#define _GNU_SOURCE
#include "http2.h"
#include "link.h"
#include "samples.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { READ_BYTES = 262144, TEXT_MAX = 256, STREAM = 1, GRPC_HEAD_BYTES = 5, OPENING_MAX = 128 };

static struct {
  struct way way;
  int routers;
  const char *tokens_file;
} options;

struct router {
  struct link link;
  struct frame_reader frames;
  struct buffer out, message;
  size_t sent;
  bool is_writing, has_bundle, has_text;
};

static int epoll, opened, connected, awaited;
static struct router *routers;
static FILE *tokens;
static char expected[TEXT_MAX];
static struct samples arrivals;
static uint64_t first_ns;
static char scratch[READ_BYTES];

static void set_writing(struct router *router, bool is_writing) {
  if (is_writing != router->is_writing)
    watch(epoll, EPOLL_CTL_MOD, router->link.fd, is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, router);
  router->is_writing = is_writing;
}

// WatchInferenceBundleRequest: field 1 is the revision.
static void say_revision(struct router *router, const char *revision, size_t length) {
  char message[GRPC_HEAD_BYTES + 2 + TEXT_MAX] = {0};
  size_t total = length == 0 ? 0 : length + 2;
  if (length >= 128) fail("a revision is too long");
  message[4] = (char)total;
  message[5] = 0x0a;
  message[6] = (char)length;
  memcpy(message + 7, revision, length);
  append_frame(&router->out, FRAME_DATA, 0, STREAM, message, GRPC_HEAD_BYTES + total);
}

static uint64_t read_varint(const unsigned char **at, const unsigned char *end) {
  uint64_t value = 0;
  for (int shift = 0; *at < end && shift < 64; shift += 7) {
    unsigned char byte = *(*at)++;
    value |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  return value;
}

// The bytes of a length-delimited field; null when the message has none.
static const unsigned char *find_field(const unsigned char *at, const unsigned char *end,
                                       uint64_t wanted, size_t *length) {
  while (at < end) {
    uint64_t tag = read_varint(&at, end), value = read_varint(&at, end);
    if ((tag & 7) == 0) continue;
    if ((tag & 7) != 2 || value > (uint64_t)(end - at)) return NULL;
    *length = value;
    if (tag >> 3 == wanted) return at;
    at += value;
  }
  return NULL;
}

// WatchInferenceBundleResponse: field 1 is the bundle, whose field 2 is the revision.
static void take_bundle(struct router *router, const char *message, size_t length) {
  const unsigned char *begin = (const unsigned char *)message;
  size_t bundle_length = 0, revision_length = 0;
  const unsigned char *bundle = find_field(begin, begin + length, 1, &bundle_length);
  const unsigned char *revision =
      bundle == NULL ? NULL : find_field(bundle, bundle + bundle_length, 2, &revision_length);
  if (revision == NULL) fail("a message holds no bundle");
  uint64_t at_ns = now_ns();
  if (!router->has_bundle) connected++;
  router->has_bundle = true;
  if (awaited > 0 && !router->has_text &&
      memmem(message, length, expected, strlen(expected)) != NULL) {
    if (first_ns == 0) first_ns = at_ns;
    router->has_text = true;
    awaited--;
    add_sample(&arrivals, at_ns);
  }
  say_revision(router, (const char *)revision, revision_length);
}

static bool take_frame(void *owner, const struct frame *frame) {
  struct router *router = owner;
  if (frame->type == FRAME_GOAWAY || frame->type == FRAME_RESET) return false;
  if ((frame->type == FRAME_SETTINGS || frame->type == FRAME_PING) && !(frame->flags & ACK)) {
    size_t echoed = frame->type == FRAME_PING ? frame->length : 0;
    append_frame(&router->out, frame->type, ACK, 0, frame->payload, echoed);
  }
  if (frame->flags & END_STREAM && frame->type <= FRAME_HEADERS) return false;
  if (frame->type != FRAME_DATA) return true;
  struct buffer *message = &router->message;
  append(message, frame->payload, frame->length);
  for (;;) {
    if (message->length < GRPC_HEAD_BYTES) return true;
    const unsigned char *head = (const unsigned char *)message->at;
    size_t length = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    size_t whole = GRPC_HEAD_BYTES + length;
    if (message->length < whole) return true;
    take_bundle(router, message->at + GRPC_HEAD_BYTES, length);
    memmove(message->at, message->at + whole, message->length - whole);
    message->length -= whole;
  }
}

static bool flush(struct router *router) {
  while (router->sent < router->out.length) {
    ssize_t moved = link_write(&router->link, router->out.at + router->sent,
                               router->out.length - router->sent);
    if (moved == LINK_WAIT) break;
    if (moved <= 0) return false;
    router->sent += (size_t)moved;
  }
  bool is_left = router->sent < router->out.length;
  if (!is_left) router->out.length = router->sent = 0;
  set_writing(router, is_left);
  return true;
}

static bool progress(struct router *router) {
  if (link_proceed(&router->link, &options.way) < 1) return false;
  for (;;) {
    if (!flush(router)) return false;
    ssize_t length = link_read(&router->link, scratch, READ_BYTES);
    if (length == LINK_WAIT) return true;
    if (length <= 0 || !read_frames(&router->frames, scratch, (size_t)length, take_frame, router))
      return false;
  }
}

static void open_next(void) {
  struct router *router = &routers[opened++];
  char token[2048] = "authorization: Bearer ";
  size_t label = strlen(token);
  if (fgets(token + label, (int)(sizeof token - label), tokens) == NULL) fail("tokens");
  token[strcspn(token, "\n")] = 0;
  const char *fields[] = {"content-type: application/grpc", "te: trailers", token, NULL};
  struct buffer block = {0};
  append_header_block(&block, false, "127.0.0.1",
                      "/openshell.delivery.v1.Delivery/WatchInferenceBundle", fields);
  router->link = link_open(&options.way);
  router->is_writing = true;
  append_preface(&router->out);
  append_frame(&router->out, FRAME_HEADERS, END_HEADERS, STREAM, block.at, block.length);
  say_revision(router, "", 0);
  free(block.at);
  watch(epoll, EPOLL_CTL_ADD, router->link.fd, EPOLLIN | EPOLLOUT, router);
}

static void take_command(void) {
  char line[TEXT_MAX];
  if (fgets(line, sizeof line, stdin) == NULL) exit(0);
  if (strncmp(line, "expect ", 7) != 0) exit(2);
  line[strcspn(line, "\n")] = 0;
  strcpy(expected, line + 7);
  arrivals.length = 0;
  first_ns = 0;
  awaited = options.routers;
  for (int at = 0; at < options.routers; at++) routers[at].has_text = false;
  puts("expecting");
  fflush(stdout);
}

static void read_options(int count, char **words) {
  static const struct option known[] = {
      {"port", 1, NULL, 'p'}, {"routers", 1, NULL, 'n'}, {"tokens", 1, NULL, 'k'}, {NULL, 0, NULL, 0}};
  for (int one; (one = getopt_long(count, words, "", known, NULL)) >= 0;) {
    if (one == 'p') options.way.port = atoi(optarg);
    else if (one == 'n') options.routers = atoi(optarg);
    else if (one == 'k') options.tokens_file = optarg;
    else exit(2);
  }
}

int main(int count, char **words) {
  bool is_told = false, was_awaiting = false;
  signal(SIGPIPE, SIG_IGN);
  read_options(count, words);
  tokens = fopen(options.tokens_file, "r");
  if (tokens == NULL) fail(options.tokens_file);
  routers = calloc((size_t)options.routers, sizeof *routers);
  epoll = epoll_create1(0);
  watch(epoll, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, NULL);
  for (;;) {
    while (opened < options.routers && opened - connected < OPENING_MAX) open_next();
    struct epoll_event ready[256];
    int length = epoll_wait(epoll, ready, 256, -1);
    for (int at = 0; at < length; at++) {
      struct router *router = ready[at].data.ptr;
      if (router == NULL) take_command();
      else if (!progress(router)) fail("the gateway ended a stream");
    }
    if (!is_told && connected == options.routers) {
      printf("connected %d\n", connected);
      fflush(stdout);
      is_told = true;
    }
    if (was_awaiting && awaited == 0) {
      printf("{");
      print_samples("arrivals", &arrivals);
      printf("\"firstNs\":%lu}\n", first_ns);
      fflush(stdout);
    }
    was_awaiting = awaited > 0;
  }
}
