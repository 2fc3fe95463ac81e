// The load generator over HTTP/2: one request at a time on each connection, over and over; each
// answer must have as many body bytes as expected. It speaks as `load` does.
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

enum { READ_BYTES = 262144, FIELDS_MAX = 32 };
static const uint64_t SECOND_NS = 1000000000u, MS_NS = 1000000u, DRAIN_S_MAX = 10;

static struct {
  struct way way;
  int connections;
  double warmup_s, seconds;
  const char *host, *path;
  const char *fields[FIELDS_MAX + 1];
  int field_count;
  struct buffer body;
  // Credentials, one a connection in turn; none: those among the fields.
  char **tokens;
  int token_count;
  size_t expected; // 0: what the first answer had
} options = {.connections = 1, .seconds = 1, .host = "127.0.0.1", .path = "/"};

struct connection {
  struct link link;
  bool is_writing, is_asking;
  struct frame_reader frames;
  struct buffer block, out;
  size_t sent;
  uint32_t stream;
  uint64_t wanted_ns;
  size_t received;
  bool is_ended;
};

static int epoll, under_way;
static struct connection *connections;
static struct samples latencies;
static struct {
  uint64_t answers, wrong, broken;
} counts;
static bool is_measuring, is_draining;
static char scratch[READ_BYTES];

static void set_writing(struct connection *one, bool is_writing) {
  if (is_writing != one->is_writing)
    watch(epoll, EPOLL_CTL_MOD, one->link.fd, is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, one);
  one->is_writing = is_writing;
}

static void open_connection(struct connection *one) {
  one->link = link_open(&options.way);
  one->is_writing = true;
  one->is_asking = false;
  one->frames.kept.length = one->out.length = one->sent = 0;
  one->stream = 0;
  append_preface(&one->out);
  watch(epoll, EPOLL_CTL_ADD, one->link.fd, EPOLLIN | EPOLLOUT, one);
}

static void ask(struct connection *one) {
  // Stream identifiers of a client are odd (RFC 9113 §5.1.1).
  one->stream = one->stream == 0 ? 1 : one->stream + 2;
  one->received = 0;
  one->is_asking = true;
  one->is_ended = false;
  one->wanted_ns = now_ns();
  append_frame(&one->out, FRAME_HEADERS, END_HEADERS, one->stream, one->block.at,
               one->block.length);
  append_frame(&one->out, FRAME_DATA, END_STREAM, one->stream, options.body.at,
               options.body.length);
  under_way++;
}

static bool take_frame(void *owner, const struct frame *frame) {
  struct connection *one = owner;
  if (frame->type == FRAME_GOAWAY || frame->type == FRAME_RESET) return false;
  if ((frame->type == FRAME_SETTINGS || frame->type == FRAME_PING) && !(frame->flags & ACK)) {
    size_t echoed = frame->type == FRAME_PING ? frame->length : 0;
    append_frame(&one->out, frame->type, ACK, 0, frame->payload, echoed);
  }
  if (frame->type != FRAME_DATA && frame->type != FRAME_HEADERS) return true;
  if (frame->type == FRAME_DATA) one->received += frame->length;
  one->is_ended = frame->flags & END_STREAM;
  return true;
}

static void take_answer(struct connection *one) {
  one->is_asking = false;
  under_way--;
  if (options.expected == 0) options.expected = one->received;
  if (!is_measuring) return;
  counts.answers++;
  if (one->received == 0 || one->received != options.expected) counts.wrong++;
  add_sample(&latencies, now_ns() - one->wanted_ns);
}

static bool flush(struct connection *one) {
  while (one->sent < one->out.length) {
    ssize_t moved = link_write(&one->link, one->out.at + one->sent, one->out.length - one->sent);
    if (moved == LINK_WAIT) break;
    if (moved <= 0) return false;
    one->sent += (size_t)moved;
  }
  bool is_left = one->sent < one->out.length;
  if (!is_left) one->out.length = one->sent = 0;
  set_writing(one, is_left);
  return true;
}

static bool progress(struct connection *one) {
  int done = link_proceed(&one->link, &options.way);
  if (done == 0) set_writing(one, one->link.phase == OPENING);
  if (done < 1) return done == 0;
  if (one->stream == 0) ask(one);
  for (;;) {
    if (!flush(one)) return false;
    ssize_t length = link_read(&one->link, scratch, READ_BYTES);
    if (length == LINK_WAIT) return true;
    if (length <= 0 || !read_frames(&one->frames, scratch, (size_t)length, take_frame, one))
      return false;
    if (!one->is_asking || !one->is_ended) continue;
    take_answer(one);
    if (!is_draining) ask(one);
  }
}

static void attend(struct connection *one) {
  if (progress(one)) return;
  if (is_measuring) counts.broken++;
  if (one->is_asking) under_way--;
  link_close(&one->link);
  open_connection(one);
}

static void attend_all(void) {
  struct timespec wait = {0, (long)MS_NS};
  struct epoll_event ready[256];
  int length = epoll_pwait2(epoll, ready, 256, &wait, NULL);
  for (int at = 0; at < length; at++) attend(ready[at].data.ptr);
}

static void say(const char *word) {
  puts(word);
  fflush(stdout);
}

static void run(void) {
  uint64_t until_ns = now_ns() + (uint64_t)(options.warmup_s * 1e9);
  while (now_ns() < until_ns) attend_all();
  uint64_t begun_ns = now_ns();
  is_measuring = true;
  say("begin");
  until_ns = begun_ns + (uint64_t)(options.seconds * 1e9);
  while (now_ns() < until_ns) attend_all();
  uint64_t window_ns = now_ns() - begun_ns;
  say("end");
  is_measuring = false;
  is_draining = true;
  until_ns = now_ns() + DRAIN_S_MAX * SECOND_NS;
  while (under_way > 0 && now_ns() < until_ns) attend_all();
  putchar('{');
  print_samples("latency", &latencies);
  printf("\"lead\":{\"count\":0},\"windowNs\":%lu,\"answers\":%lu,\"wrong\":%lu,\"broken\":%lu,"
         "\"handshakes\":0,\"resumed\":0,\"events\":0,\"fewest\":0}\n",
         window_ns, counts.answers, counts.wrong, counts.broken);
}

static void read_body(const char *file) {
  FILE *stream = fopen(file, "rb");
  if (stream == NULL) fail(file);
  for (size_t length; (length = fread(scratch, 1, READ_BYTES, stream)) > 0;)
    append(&options.body, scratch, length);
  fclose(stream);
  if (options.body.length > FRAME_BYTES_MAX) exit(2);
}

static void read_tokens(const char *file) {
  FILE *stream = fopen(file, "r");
  char *line = NULL;
  size_t room = 0;
  if (stream == NULL) fail(file);
  for (ssize_t length; (length = getline(&line, &room, stream)) > 0;) {
    line[strcspn(line, "\n")] = 0;
    options.tokens = realloc(options.tokens, sizeof(char *) * (size_t)(options.token_count + 1));
    if (asprintf(&options.tokens[options.token_count++], "authorization: Bearer %s", line) < 0)
      fail("tokens");
  }
  fclose(stream);
}

static void read_options(int count, char **words) {
  static const struct option known[] = {
      {"port", 1, NULL, 'p'},    {"connections", 1, NULL, 'n'}, {"warmup", 1, NULL, 'w'},
      {"seconds", 1, NULL, 's'}, {"tls", 1, NULL, 't'},         {"connect", 1, NULL, 'c'},
      {"host", 1, NULL, 'h'},    {"path", 1, NULL, 'u'},        {"field", 1, NULL, 'f'},
      {"body", 1, NULL, 'b'},    {"tokens", 1, NULL, 'k'},      {"expect-bytes", 1, NULL, 'x'},
      {NULL, 0, NULL, 0},
  };
  for (int one; (one = getopt_long(count, words, "", known, NULL)) >= 0;) {
    if (one == 'p') options.way.port = atoi(optarg);
    else if (one == 'n') options.connections = atoi(optarg);
    else if (one == 'w') options.warmup_s = atof(optarg);
    else if (one == 's') options.seconds = atof(optarg);
    else if (one == 't') options.way.server_name = optarg;
    else if (one == 'c') options.way.authority = optarg;
    else if (one == 'h') options.host = optarg;
    else if (one == 'u') options.path = optarg;
    else if (one == 'f' && options.field_count < FIELDS_MAX - 1)
      options.fields[options.field_count++] = optarg;
    else if (one == 'b') read_body(optarg);
    else if (one == 'k') read_tokens(optarg);
    else if (one == 'x') options.expected = strtoull(optarg, NULL, 10);
    else exit(2);
  }
  if (options.way.server_name != NULL) options.way.tls = tls_client("h2", false);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  read_options(count, words);
  epoll = epoll_create1(0);
  connections = calloc((size_t)options.connections, sizeof *connections);
  for (int at = 0; at < options.connections; at++) {
    struct connection *one = &connections[at];
    if (options.token_count > 0)
      options.fields[options.field_count] = options.tokens[at % options.token_count];
    append_header_block(&one->block, options.way.tls != NULL, options.host, options.path,
                        options.fields);
    open_connection(one);
  }
  run();
}
