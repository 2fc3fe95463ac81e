// The client's half of HTTP/2 (RFC 9113) as far as measuring needs it: requests are encoded once, the
// answer's header fields are not decoded.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FRAME_BYTES_MAX = 16384, FRAME_HEAD_BYTES = 9 };
enum { FRAME_DATA = 0, FRAME_HEADERS = 1, FRAME_RESET = 3, FRAME_SETTINGS = 4, FRAME_PING = 6,
       FRAME_GOAWAY = 7 };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

struct buffer {
  char *at;
  size_t length, room;
};

void append(struct buffer *buffer, const void *bytes, size_t length);
void append_frame(struct buffer *buffer, int type, int flags, uint32_t stream, const void *payload,
                  size_t length);
// The preface, with windows that nobody will exhaust.
void append_preface(struct buffer *buffer);
// A header block for a POST: `fields` are `name: value` lines, ended by an empty one or by null.
void append_header_block(struct buffer *block, bool is_tls, const char *authority, const char *path,
                         const char *const *fields);

struct frame {
  int type, flags;
  uint32_t stream;
  const char *payload;
  size_t length;
};

struct frame_reader {
  struct buffer kept;
};

// Calls `take` for each whole frame; false as soon as `take` answers false or a frame is too large.
bool read_frames(struct frame_reader *reader, const char *bytes, size_t length,
                 bool (*take)(void *owner, const struct frame *frame), void *owner);
