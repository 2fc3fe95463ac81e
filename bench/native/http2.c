#include "http2.h"
#include <stdlib.h>
#include <string.h>

void append(struct buffer *buffer, const void *bytes, size_t length) {
  if (buffer->length + length > buffer->room) {
    buffer->room = (buffer->length + length) * 2;
    buffer->at = realloc(buffer->at, buffer->room);
  }
  memcpy(buffer->at + buffer->length, bytes, length);
  buffer->length += length;
}

void append_frame(struct buffer *buffer, int type, int flags, uint32_t stream, const void *payload,
                  size_t length) {
  unsigned char head[FRAME_HEAD_BYTES] = {
      (unsigned char)(length >> 16), (unsigned char)(length >> 8), (unsigned char)length,
      (unsigned char)type,           (unsigned char)flags,         (unsigned char)(stream >> 24),
      (unsigned char)(stream >> 16), (unsigned char)(stream >> 8), (unsigned char)stream};
  append(buffer, head, sizeof head);
  append(buffer, payload, length);
}

void append_preface(struct buffer *buffer) {
  static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  // ENABLE_PUSH 0, INITIAL_WINDOW_SIZE 2^30; then the connection's own window.
  static const unsigned char settings[] = {0, 2, 0, 0, 0, 0, 0, 4, 0x40, 0, 0, 0};
  static const unsigned char window[] = {0x3f, 0, 0, 0};
  append(buffer, preface, sizeof preface - 1);
  append_frame(buffer, FRAME_SETTINGS, 0, 0, settings, sizeof settings);
  append_frame(buffer, 8, 0, 0, window, sizeof window);
}

// RFC 7541 §5.1 and §5.2: a length of seven bits and more, then the bytes as they are.
static void append_string(struct buffer *block, const char *text, size_t length) {
  unsigned char head[6];
  size_t count = 0, rest = length;
  if (rest < 127) {
    head[count++] = (unsigned char)rest;
  } else {
    head[count++] = 127;
    for (rest -= 127; rest > 127; rest >>= 7) head[count++] = (unsigned char)(128 | (rest & 127));
    head[count++] = (unsigned char)rest;
  }
  append(block, head, count);
  append(block, text, length);
}

void append_header_block(struct buffer *block, bool is_tls, const char *authority, const char *path,
                         const char *const *fields) {
  // RFC 7541 appendix A: 3 is `:method: POST`, 6 and 7 are the schemes, 4 is `:path`, 1 `:authority`.
  // Nothing is put into the dynamic table, so a block serves any stream of any connection.
  append(block, is_tls ? "\x83\x87\x04" : "\x83\x86\x04", 3);
  append_string(block, path, strlen(path));
  append(block, "\x01", 1);
  append_string(block, authority, strlen(authority));
  for (; *fields != NULL && **fields != 0; fields++) {
    const char *colon = strchr(*fields, ':'), *value = colon + 1;
    while (*value == ' ') value++;
    append(block, "\0", 1);
    append_string(block, *fields, (size_t)(colon - *fields));
    append_string(block, value, strlen(value));
  }
}

static size_t payload_length(const unsigned char *head) {
  return (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
}

bool read_frames(struct frame_reader *reader, const char *bytes, size_t length,
                 bool (*take)(void *owner, const struct frame *frame), void *owner) {
  struct buffer *kept = &reader->kept;
  // Most of the time nothing is left over, and the bytes are read where they are.
  bool is_copied = kept->length > 0;
  if (is_copied) append(kept, bytes, length);
  const unsigned char *at = (const unsigned char *)(is_copied ? kept->at : bytes);
  size_t left = is_copied ? kept->length : length;
  while (left >= FRAME_HEAD_BYTES && payload_length(at) + FRAME_HEAD_BYTES <= left) {
    struct frame frame = {
        .type = at[3],
        .flags = at[4],
        .stream = (uint32_t)(at[5] & 127) << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8],
        .payload = (const char *)at + FRAME_HEAD_BYTES,
        .length = payload_length(at),
    };
    if (!take(owner, &frame)) return false;
    at += frame.length + FRAME_HEAD_BYTES;
    left -= frame.length + FRAME_HEAD_BYTES;
  }
  if (left >= FRAME_HEAD_BYTES && payload_length(at) > FRAME_BYTES_MAX) return false;
  if (is_copied) memmove(kept->at, at, left);
  kept->length = 0;
  if (is_copied) kept->length = left;
  else append(kept, at, left);
  return true;
}
