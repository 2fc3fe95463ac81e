// An incremental reader of one HTTP/1.1 message: enough for what proxies write, strict about it.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HEAD_BYTES_MAX = 8192 };

enum message_state { IN_HEAD, IN_BODY, IN_CHUNK_SIZE, IN_CHUNK, AFTER_CHUNK, IN_TRAILER, WHOLE, WRONG };

struct message {
  enum message_state state;
  uint64_t left;    // of the body or of the chunk
  size_t head_length;
  size_t line_length;
  char head[HEAD_BYTES_MAX + 1];
};

typedef void on_body(void *owner, const char *bytes, size_t length);

void message_reset(struct message *message);
// Reads bytes and answers how many it took: all, unless the message became WHOLE or WRONG before.
size_t message_read(struct message *message, const char *bytes, size_t length, on_body *body,
                    void *owner);
// The status of an answer's head; 0 when it is none.
int message_status(const struct message *message);
