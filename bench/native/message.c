#define _GNU_SOURCE
#include "message.h"
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES_MAX = 256 };

void message_reset(struct message *message) {
  message->state = IN_HEAD;
  message->left = 0;
  message->head_length = 0;
  message->line_length = 0;
}

int message_status(const struct message *message) {
  return strncmp(message->head, "HTTP/1.1 ", 9) == 0 ? atoi(message->head + 9) : 0;
}

// Reads the framing: a length, chunks, or no body. A body that ends with the connection is WRONG:
// every proxy here keeps its connections.
static void begin_body(struct message *message) {
  const char *length = strcasestr(message->head, "\r\ncontent-length:");
  const char *coding = strcasestr(message->head, "\r\ntransfer-encoding: chunked");
  bool is_answer = message_status(message) != 0;
  if (length != NULL) message->left = strtoull(length + 17, NULL, 10);
  if (coding != NULL && length != NULL) message->state = WRONG;
  else if (coding != NULL) message->state = IN_CHUNK_SIZE;
  else if (length == NULL && is_answer) message->state = WRONG;
  else message->state = message->left > 0 ? IN_BODY : WHOLE;
}

static size_t read_head(struct message *message, const char *bytes, size_t length) {
  size_t before = message->head_length;
  size_t room = HEAD_BYTES_MAX - before;
  size_t taken = length < room ? length : room;
  memcpy(message->head + before, bytes, taken);
  message->head[before + taken] = 0;
  size_t from = before > 3 ? before - 3 : 0;
  const char *end = memmem(message->head + from, before + taken - from, "\r\n\r\n", 4);
  if (end == NULL) {
    message->head_length += taken;
    if (taken == room) message->state = WRONG;
    return taken;
  }
  message->head_length = (size_t)(end - message->head) + 4;
  message->head[message->head_length] = 0;
  begin_body(message);
  return message->head_length - before;
}

// One byte of a chunk's size line, of the line end after a chunk, or of the trailer.
static void read_line(struct message *message, char byte) {
  if (byte != '\n') {
    int digit = byte >= '0' && byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
    if (message->line_length++ > LINE_BYTES_MAX) message->state = WRONG;
    else if (byte != '\r' && message->state == IN_CHUNK_SIZE) {
      if (digit < 0 || digit > 15) message->state = WRONG;
      message->left = message->left * 16 + (uint64_t)digit;
    }
    return;
  }
  bool is_empty = message->line_length == 1;
  message->line_length = 0;
  if (message->state == AFTER_CHUNK) message->state = is_empty ? IN_CHUNK_SIZE : WRONG;
  else if (message->state == IN_TRAILER && is_empty) message->state = WHOLE;
  else if (message->state == IN_CHUNK_SIZE) message->state = message->left > 0 ? IN_CHUNK : IN_TRAILER;
}

size_t message_read(struct message *message, const char *bytes, size_t length, on_body *body,
                    void *owner) {
  size_t at = 0;
  while (at < length && message->state != WHOLE && message->state != WRONG) {
    if (message->state == IN_HEAD) {
      at += read_head(message, bytes + at, length - at);
    } else if (message->state == IN_BODY || message->state == IN_CHUNK) {
      size_t taken = length - at < message->left ? length - at : message->left;
      body(owner, bytes + at, taken);
      at += taken;
      message->left -= taken;
      if (message->left == 0) message->state = message->state == IN_BODY ? WHOLE : AFTER_CHUNK;
    } else {
      read_line(message, bytes[at++]);
    }
  }
  return at;
}
