// A non-blocking TCP connection, plain or TLS, and what goes with it: the clock and epoll.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct tls_context tls_context;

struct link {
  int fd;
  void *tls; // null: plain
  enum { OPENING, TUNNELLING, SHAKING, STANDING } phase;
};

// How a client gets to a server.
struct way {
  int port;
  const char *authority; // asked for by CONNECT first; null: directly
  tls_context *tls;      // null: plain
  const char *server_name;
};

enum { LINK_CLOSED = 0, LINK_WAIT = -1, LINK_BROKEN = -2 };

uint64_t now_ns(void);
_Noreturn void fail(const char *what);

int listen_at(int port);
// -1 when nobody waits.
int accept_from(int listener);
void watch(int epoll, int operation, int fd, uint32_t events, void *owner);

// Bytes moved, or LINK_CLOSED, LINK_WAIT, LINK_BROKEN.
ssize_t link_read(struct link *link, void *bytes, size_t length);
ssize_t link_write(struct link *link, const void *bytes, size_t length);
void link_close(struct link *link);

// Begins to open a connection to 127.0.0.1.
struct link link_open(const struct way *way);
// To be called whenever something happened: 1 when it stands, 0 while it goes on, -1 when it failed.
// While it is OPENING it is to be watched for writing, then for reading only: what is said until it
// stands fits into any socket's buffer.
int link_proceed(struct link *link, const struct way *way);

// Server: certificate and key in PEM files. Sessions may be resumed.
tls_context *tls_server(const char *cert_file, const char *key_file);
// Client: TLS 1.3 only, trusts anybody; `protocol` is offered by ALPN.
tls_context *tls_client(const char *protocol, bool is_resuming);
void tls_start(struct link *link, tls_context *context, const char *server_name);
// 1 when it stands, 0 while it goes on, -1 when it failed.
int tls_handshake(struct link *link);
bool tls_is_resumed(const struct link *link);
