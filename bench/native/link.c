#define _GNU_SOURCE
#include "link.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TUNNEL_BYTES = 1024 };

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

_Noreturn void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void be_prompt(int fd) {
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int listen_at(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in address = loopback(port);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(fd, 4096) < 0) fail("listen");
  return fd;
}

int accept_from(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED) fail("accept");
  if (fd >= 0) be_prompt(fd);
  return fd;
}

void watch(int epoll, int operation, int fd, uint32_t events, void *owner) {
  struct epoll_event event = {.events = events, .data.ptr = owner};
  if (epoll_ctl(epoll, operation, fd, &event) < 0) fail("epoll_ctl");
}

#ifdef WITHOUT_TLS

tls_context *tls_server(const char *cert_file, const char *key_file) {
  (void)cert_file, (void)key_file;
  errno = ENOTSUP;
  fail("built without OpenSSL");
}
tls_context *tls_client(const char *protocol, bool is_resuming) {
  (void)is_resuming;
  return tls_server(protocol, protocol);
}
void tls_start(struct link *link, tls_context *context, const char *server_name) {
  (void)link, (void)context, (void)server_name;
}
int tls_handshake(struct link *link) { return link->tls == NULL ? 1 : -1; }
bool tls_is_resumed(const struct link *link) { return link->tls != NULL; }
static ssize_t tls_outcome(struct link *link, int moved) { return link->tls ? moved : LINK_BROKEN; }
static int tls_read(void *tls, void *bytes, int length) { return tls && bytes ? length : -1; }
static int tls_write(void *tls, const void *bytes, int length) { return tls && bytes ? length : -1; }
static void tls_free(void *tls) { (void)tls; }

#else
#include <openssl/err.h>
#include <openssl/ssl.h>

#define tls_read SSL_read
#define tls_write SSL_write

// The newest session, offered to the next connection; the server decides whether it resumes.
static SSL_SESSION *newest_session;

static int keep_session(SSL *tls, SSL_SESSION *session) {
  (void)tls;
  if (newest_session != NULL) SSL_SESSION_free(newest_session);
  newest_session = session;
  return 1;
}

tls_context *tls_server(const char *cert_file, const char *key_file) {
  SSL_CTX *context = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_session_id_context(context, (const unsigned char *)"bench", 5);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (SSL_CTX_use_certificate_chain_file(context, cert_file) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM) != 1)
    fail("certificate");
  return (tls_context *)context;
}

tls_context *tls_client(const char *protocol, bool is_resuming) {
  SSL_CTX *context = SSL_CTX_new(TLS_client_method());
  unsigned char offered[32] = {(unsigned char)strlen(protocol)};
  memcpy(offered + 1, protocol, strlen(protocol));
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_alpn_protos(context, offered, 1u + (unsigned)strlen(protocol));
  SSL_CTX_set_mode(context,
                   SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (is_resuming) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(context, keep_session);
  }
  return (tls_context *)context;
}

void tls_start(struct link *link, tls_context *context, const char *server_name) {
  SSL *tls = SSL_new((SSL_CTX *)context);
  SSL_set_fd(tls, link->fd);
  if (server_name == NULL) {
    SSL_set_accept_state(tls);
  } else {
    SSL_set_connect_state(tls);
    SSL_set_tlsext_host_name(tls, server_name);
    if (newest_session != NULL) {
      // A copy, because OpenSSL forbids the one that was used to be used again, and what is measured
      // is the server, which takes it as often as it comes.
      SSL_SESSION *copy = SSL_SESSION_dup(newest_session);
      SSL_set_session(tls, copy);
      SSL_SESSION_free(copy);
    }
  }
  link->tls = tls;
}

int tls_handshake(struct link *link) {
  if (link->tls == NULL || SSL_is_init_finished(link->tls)) return 1;
  ERR_clear_error();
  int done = SSL_do_handshake(link->tls);
  if (done == 1) return 1;
  int reason = SSL_get_error(link->tls, done);
  return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

bool tls_is_resumed(const struct link *link) { return SSL_session_reused(link->tls) == 1; }

static ssize_t tls_outcome(struct link *link, int moved) {
  if (moved > 0) return moved;
  switch (SSL_get_error(link->tls, moved)) {
  case SSL_ERROR_WANT_READ:
  case SSL_ERROR_WANT_WRITE:
    return LINK_WAIT;
  case SSL_ERROR_ZERO_RETURN:
    return LINK_CLOSED;
  default:
    return LINK_BROKEN;
  }
}

static void tls_free(SSL *tls) {
  if (SSL_is_init_finished(tls)) SSL_shutdown(tls);
  SSL_free(tls);
}
#endif

ssize_t link_read(struct link *link, void *bytes, size_t length) {
  if (link->tls != NULL) return tls_outcome(link, tls_read(link->tls, bytes, (int)length));
  ssize_t moved = read(link->fd, bytes, length);
  if (moved >= 0) return moved;
  return errno == EAGAIN ? LINK_WAIT : LINK_BROKEN;
}

ssize_t link_write(struct link *link, const void *bytes, size_t length) {
  if (link->tls != NULL) return tls_outcome(link, tls_write(link->tls, bytes, (int)length));
  ssize_t moved = send(link->fd, bytes, length, MSG_NOSIGNAL);
  if (moved >= 0) return moved;
  return errno == EAGAIN ? LINK_WAIT : LINK_BROKEN;
}

void link_close(struct link *link) {
  if (link->tls != NULL) tls_free(link->tls);
  if (link->fd >= 0) close(link->fd);
  link->tls = NULL;
  link->fd = -1;
}

struct link link_open(const struct way *way) {
  struct link link = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
  struct sockaddr_in address = loopback(way->port);
  if (link.fd < 0) fail("socket");
  be_prompt(link.fd);
  if (connect(link.fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    fail("connect");
  return link;
}

// The tunnel's answer comes alone: what is behind it waits for us to speak.
static int proceed_tunnel(struct link *link, const struct way *way) {
  char text[TUNNEL_BYTES];
  if (link->phase == OPENING) {
    int length = snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nhost: %s\r\n\r\n",
                          way->authority, way->authority);
    ssize_t moved = link_write(link, text, (size_t)length);
    if (moved == LINK_WAIT) return 0;
    if (moved < length) return -1;
    link->phase = TUNNELLING;
  }
  ssize_t length = link_read(link, text, sizeof text - 1);
  if (length == LINK_WAIT) return 0;
  return length >= 12 && memcmp(text + 9, "200", 3) == 0 ? 1 : -1;
}

int link_proceed(struct link *link, const struct way *way) {
  if (link->phase == STANDING) return 1;
  if (link->phase != SHAKING) {
    int tunnel = way->authority == NULL ? 1 : proceed_tunnel(link, way);
    if (tunnel < 1) return tunnel;
    link->phase = SHAKING;
    if (way->tls != NULL) tls_start(link, way->tls, way->server_name);
  }
  int done = tls_handshake(link);
  if (done == 1) link->phase = STANDING;
  return done;
}
