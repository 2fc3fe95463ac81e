// The load generator: sends one prepared HTTP/1.1 request over and over, holds each answer against
// the expected bytes, and measures. It writes "begin" and "end" when its window opens and closes,
// then one line of JSON; latencies are whole nanoseconds from the intended instant to the last byte.
#define _GNU_SOURCE
#include "link.h"
#include "message.h"
#include "samples.h"
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

enum { READ_BYTES = 262144, EVENT_BYTES_MAX = 4096, BLANK_BYTES = 20 };
enum { DRAIN_S_MAX = 10 };
static const char BLANK[] = "@@@@@@@@@@@@@@@@@@@@";
static const uint64_t SECOND_NS = 1000000000u, MS_NS = 1000000u;

struct bytes {
  char *at;
  size_t length;
};

static struct {
  struct way way;
  int connections, rate;
  double warmup_s, seconds;
  struct bytes request, expected;
  size_t blank; // where the expected answer holds a number; its length: none
  size_t split; // the request's bytes that are sent before a pause
  uint64_t pause_ns;
  bool is_fresh, is_stream;
} options = {.connections = 1, .seconds = 1};

enum phase { CONNECTING, IDLE, ASKING };

struct connection {
  struct link link;
  enum phase phase;
  const char *out;
  size_t out_left, held; // `held`: bytes to be sent after the pause
  uint64_t wanted_ns, resumes_ns, last_byte_ns, stamp;
  struct message answer;
  size_t matched;
  bool is_wrong, is_writing, is_listed;
  // Of a stream: the event under way, and what came of it.
  char event[EVENT_BYTES_MAX];
  size_t event_length;
  unsigned sequence;
  uint64_t events, events_before;
};

static int epoll;
static struct connection *connections;
// Those that wait for their turn at a fixed rate, the longest waiting first.
static struct {
  struct connection **at;
  int first, length;
} idle;
static struct samples latencies, leads;
static struct {
  uint64_t answers, wrong, broken, handshakes, resumed, events;
} counts;
static bool is_measuring, is_draining;
static uint64_t asked_count;
static int under_way; // requests without their answer
static char scratch[READ_BYTES];

static void set_writing(struct connection *one, bool is_writing) {
  if (is_writing != one->is_writing)
    watch(epoll, EPOLL_CTL_MOD, one->link.fd, is_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, one);
  one->is_writing = is_writing;
}

static void open_connection(struct connection *one) {
  one->link = link_open(&options.way);
  one->phase = CONNECTING;
  one->out_left = one->held = 0;
  one->is_writing = true;
  watch(epoll, EPOLL_CTL_ADD, one->link.fd, EPOLLIN | EPOLLOUT, one);
}

static void reopen(struct connection *one) {
  link_close(&one->link);
  open_connection(one);
}

static void ask(struct connection *one, uint64_t wanted_ns) {
  size_t begun = options.split > 0 ? options.split : options.request.length;
  one->phase = ASKING;
  one->wanted_ns = wanted_ns;
  one->out = options.request.at;
  one->out_left = begun;
  one->held = options.request.length - begun;
  one->resumes_ns = one->held > 0 ? now_ns() + options.pause_ns : 0;
  one->matched = 0;
  one->is_wrong = false;
  message_reset(&one->answer);
  asked_count++;
  under_way++;
}

static bool flush(struct connection *one) {
  while (one->out_left > 0) {
    ssize_t moved = link_write(&one->link, one->out, one->out_left);
    if (moved == LINK_WAIT) break;
    if (moved <= 0) return false;
    one->out += moved;
    one->out_left -= (size_t)moved;
    if (one->out_left == 0 && one->held == 0) one->last_byte_ns = now_ns();
  }
  set_writing(one, one->out_left > 0);
  return true;
}

// Holds a piece of an answer's body against what is expected; a blank takes any digits.
static void match(void *owner, const char *bytes, size_t length) {
  struct connection *one = owner;
  struct bytes expected = options.expected;
  if (one->matched + length > expected.length) {
    one->is_wrong = true;
    return;
  }
  for (size_t at = 0; at < length;) {
    size_t place = one->matched + at;
    bool is_before = place < options.blank;
    bool is_within = !is_before && place < options.blank + BLANK_BYTES;
    size_t end = is_before ? options.blank : is_within ? place + 1 : expected.length;
    size_t taken = end - place < length - at ? end - place : length - at;
    if (is_within) one->stamp = one->stamp * 10 + (uint64_t)(bytes[at] - '0');
    else if (memcmp(bytes + at, expected.at + place, taken) != 0) one->is_wrong = true;
    at += taken;
  }
  one->matched += length;
}

static void take_event(struct connection *one) {
  const char *sequence = strstr(one->event, "\"sequence\":"), *at = strstr(one->event, "\"at\":");
  bool is_next = sequence != NULL && at != NULL && (unsigned)atoi(sequence + 11) == one->sequence;
  if (!is_next && is_measuring) counts.wrong++;
  one->sequence = sequence == NULL ? 0 : (unsigned)atoi(sequence + 11) + 1;
  one->events++;
  if (!is_measuring || at == NULL) return;
  counts.events++;
  uint64_t sent_ns = strtoull(at + 5, NULL, 10), arrived_ns = now_ns();
  add_sample(&latencies, arrived_ns > sent_ns ? arrived_ns - sent_ns : 0);
}

// Cuts a stream's bytes into events at empty lines.
static void read_events(void *owner, const char *bytes, size_t length) {
  struct connection *one = owner;
  for (size_t at = 0; at < length;) {
    const char *end = memchr(bytes + at, '\n', length - at);
    size_t taken = end == NULL ? length - at : (size_t)(end - (bytes + at)) + 1;
    if (one->event_length + taken >= EVENT_BYTES_MAX) fail("an event has no end");
    memcpy(one->event + one->event_length, bytes + at, taken);
    one->event_length += taken;
    one->event[one->event_length] = 0;
    at += taken;
    if (one->event_length >= 2 && strcmp(one->event + one->event_length - 2, "\n\n") == 0) {
      take_event(one);
      one->event_length = 0;
    }
  }
}

static void take_answer(struct connection *one) {
  bool is_right = message_status(&one->answer) == 200 && !one->is_wrong &&
                  one->matched == options.expected.length;
  if (is_measuring) {
    counts.answers++;
    if (!is_right) counts.wrong++;
    add_sample(&latencies, now_ns() - one->wanted_ns);
    // How long before the request's last byte its first one was at the upstream.
    if (options.blank < options.expected.length)
      add_sample(&leads, one->last_byte_ns > one->stamp ? one->last_byte_ns - one->stamp : 0);
  }
  one->stamp = 0;
}

static void become_idle(struct connection *one) {
  one->phase = IDLE;
  if (is_draining) return;
  if (options.rate == 0) {
    ask(one, now_ns());
  } else if (!one->is_listed) {
    one->is_listed = true;
    idle.at[(idle.first + idle.length++) % options.connections] = one;
  }
}

// Null when all are at work; one that was closed while it waited is not there.
static struct connection *take_idle(void) {
  while (idle.length > 0) {
    struct connection *one = idle.at[idle.first];
    idle.first = (idle.first + 1) % options.connections;
    idle.length--;
    one->is_listed = false;
    if (one->phase == IDLE) return one;
  }
  return NULL;
}

static bool read_answer(struct connection *one) {
  for (;;) {
    ssize_t length = link_read(&one->link, scratch, READ_BYTES);
    if (length == LINK_WAIT) return true;
    if (length <= 0 || one->phase != ASKING) return false;
    size_t taken = message_read(&one->answer, scratch, (size_t)length,
                                options.is_stream ? read_events : match, one);
    if (one->answer.state == WRONG || taken < (size_t)length) return false;
    if (options.is_stream && message_status(&one->answer) != 200 && one->answer.state != IN_HEAD)
      return false;
    if (one->answer.state != WHOLE) continue;
    take_answer(one);
    under_way--;
    if (options.is_fresh) {
      reopen(one);
      return true;
    }
    become_idle(one);
    if (!flush(one)) return false;
    if (options.way.tls == NULL) return true;
  }
}

static bool progress(struct connection *one) {
  if (one->phase == CONNECTING) {
    int done = link_proceed(&one->link, &options.way);
    if (done == 0) set_writing(one, one->link.phase == OPENING);
    if (done < 1) return done == 0;
    if (options.way.tls != NULL && is_measuring) {
      counts.handshakes++;
      if (tls_is_resumed(&one->link)) counts.resumed++;
    }
    become_idle(one);
  }
  return flush(one) && read_answer(one);
}

static void attend(struct connection *one) {
  if (progress(one)) return;
  // Whoever closes a connection that waits breaks nothing.
  if (is_measuring && one->phase != IDLE) counts.broken++;
  if (one->phase == ASKING) under_way--;
  reopen(one);
}

// Sends the rest of requests whose pause is over.
static void resume_due(uint64_t at_ns) {
  for (int at = 0; at < options.connections; at++) {
    struct connection *one = &connections[at];
    if (one->held == 0 || one->out_left > 0 || one->resumes_ns > at_ns) continue;
    one->out_left = one->held;
    one->held = 0;
    if (!flush(one)) attend(one);
  }
}

// At a fixed rate requests are due at fixed instants, whether or not a connection is free by then.
// A request that had to wait for a connection counts from when it was due; one that is late because
// this program was woken late counts from when it leaves.
static uint64_t ask_due(uint64_t next_ns, uint64_t at_ns) {
  static bool is_waiting;
  uint64_t every_ns = SECOND_NS / (uint64_t)options.rate;
  struct connection *one;
  while (next_ns <= at_ns && (one = take_idle()) != NULL) {
    ask(one, is_waiting ? next_ns : now_ns());
    next_ns += every_ns;
    if (!flush(one)) attend(one);
  }
  is_waiting = next_ns <= at_ns;
  return next_ns;
}

static bool is_every_stream_there(void) {
  for (int at = 0; at < options.connections; at++)
    if (connections[at].events == 0) return false;
  return true;
}

static void begin_window(void) {
  is_measuring = true;
  for (int at = 0; at < options.connections; at++)
    connections[at].events_before = connections[at].events;
  puts("begin");
  fflush(stdout);
}

static void print_result(uint64_t window_ns) {
  uint64_t fewest = UINT64_MAX;
  for (int at = 0; at < options.connections; at++) {
    uint64_t events = connections[at].events - connections[at].events_before;
    if (events < fewest) fewest = events;
  }
  putchar('{');
  print_samples("latency", &latencies);
  print_samples("lead", &leads);
  printf("\"windowNs\":%lu,\"answers\":%lu,\"wrong\":%lu,\"broken\":%lu,\"handshakes\":%lu,"
         "\"resumed\":%lu,\"events\":%lu,\"fewest\":%lu}\n",
         window_ns, counts.answers, counts.wrong, counts.broken, counts.handshakes, counts.resumed,
         counts.events, fewest);
}

static void attend_all(uint64_t wait_ns) {
  struct timespec wait = {0, (long)wait_ns};
  struct epoll_event ready[256];
  int length = epoll_pwait2(epoll, ready, 256, &wait, NULL);
  for (int at = 0; at < length; at++) attend(ready[at].data.ptr);
}

// What is under way when the window closes is finished, so that it burdens nobody's next run.
static void drain(void) {
  uint64_t until_ns = now_ns() + DRAIN_S_MAX * SECOND_NS;
  is_measuring = false;
  is_draining = true;
  while (!options.is_stream && under_way > 0 && now_ns() < until_ns) {
    if (options.split > 0) resume_due(now_ns());
    attend_all(MS_NS);
  }
}

static void run(void) {
  uint64_t warm_ns = now_ns() + (uint64_t)(options.warmup_s * 1e9), begun_ns = 0;
  uint64_t window_ns = (uint64_t)(options.seconds * 1e9);
  uint64_t next_ns = 0, every_ns = options.rate > 0 ? SECOND_NS / (uint64_t)options.rate : 0;
  for (;;) {
    uint64_t at_ns = now_ns();
    if (options.is_stream && !is_measuring && !is_every_stream_there())
      warm_ns = at_ns + (uint64_t)(options.warmup_s * 1e9);
    if (!is_measuring && at_ns >= warm_ns) {
      begun_ns = at_ns;
      begin_window();
    }
    if (is_measuring && at_ns >= begun_ns + window_ns) {
      puts("end");
      fflush(stdout);
      drain();
      return print_result(at_ns - begun_ns);
    }
    uint64_t wait_ns = 10 * MS_NS;
    if (options.rate > 0) {
      // Requests that were due while the connections were being opened are not asked for.
      if (asked_count == 0) next_ns = at_ns;
      next_ns = ask_due(next_ns, at_ns);
      wait_ns = next_ns > at_ns ? next_ns - at_ns : every_ns;
    }
    if (options.split > 0) {
      resume_due(at_ns);
      wait_ns = MS_NS;
    }
    attend_all(wait_ns);
  }
}

static struct bytes read_file(const char *file) {
  FILE *stream = fopen(file, "rb");
  if (stream == NULL) fail(file);
  fseek(stream, 0, SEEK_END);
  struct bytes bytes = {.length = (size_t)ftell(stream)};
  rewind(stream);
  bytes.at = calloc(1, bytes.length + 1);
  if (fread(bytes.at, 1, bytes.length, stream) < bytes.length) fail(file);
  fclose(stream);
  return bytes;
}

static void read_options(int count, char **words) {
  static const struct option known[] = {
      {"port", 1, NULL, 'p'},    {"request", 1, NULL, 'q'}, {"expect", 1, NULL, 'x'},
      {"connections", 1, NULL, 'n'}, {"rate", 1, NULL, 'r'}, {"warmup", 1, NULL, 'w'},
      {"seconds", 1, NULL, 's'}, {"tls", 1, NULL, 't'},     {"connect", 1, NULL, 'c'},
      {"split", 1, NULL, 'l'},   {"pause-ms", 1, NULL, 'u'}, {"fresh", 0, NULL, 'f'},
      {"resume", 0, NULL, 'm'},  {"streams", 0, NULL, 'e'}, {NULL, 0, NULL, 0},
  };
  bool is_resuming = false;
  for (int one; (one = getopt_long(count, words, "", known, NULL)) >= 0;) {
    if (one == 'p') options.way.port = atoi(optarg);
    else if (one == 'q') options.request = read_file(optarg);
    else if (one == 'x') options.expected = read_file(optarg);
    else if (one == 'n') options.connections = atoi(optarg);
    else if (one == 'r') options.rate = atoi(optarg);
    else if (one == 'w') options.warmup_s = atof(optarg);
    else if (one == 's') options.seconds = atof(optarg);
    else if (one == 't') options.way.server_name = optarg;
    else if (one == 'c') options.way.authority = optarg;
    else if (one == 'l') options.split = strtoull(optarg, NULL, 10);
    else if (one == 'u') options.pause_ns = strtoull(optarg, NULL, 10) * MS_NS;
    else if (one == 'f') options.is_fresh = true;
    else if (one == 'm') is_resuming = true;
    else if (one == 'e') options.is_stream = true;
    else exit(2);
  }
  if (options.request.length == 0) exit(2);
  if (options.way.server_name != NULL) options.way.tls = tls_client("http/1.1", is_resuming);
  const char *blank = options.expected.at == NULL ? NULL : strstr(options.expected.at, BLANK);
  options.blank = blank == NULL ? options.expected.length : (size_t)(blank - options.expected.at);
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  // Waits end when they should, not up to 50 µs later.
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
  read_options(count, words);
  epoll = epoll_create1(0);
  connections = calloc((size_t)options.connections, sizeof *connections);
  idle.at = calloc((size_t)options.connections, sizeof *idle.at);
  for (int at = 0; at < options.connections; at++) open_connection(&connections[at]);
  run();
}
