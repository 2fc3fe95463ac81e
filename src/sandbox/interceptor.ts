import type { Http2Server } from 'node:http2'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer, type Server as TlsServer } from 'node:tls'
import { unreachable } from '../core/unreachable.ts'
import type { ServerCertificate } from '../pki/authority.ts'
import type { Log } from '../system/log.ts'
import { decideConnect, type TunnelAllowList } from './destination.ts'
import type { Http1Server } from './http1/server.ts'
import { malformed, refuseSocket } from './refusal.ts'
import { openTunnel } from './tunnel.ts'

/** The servers that take over a connection after its CONNECT. */
export interface InterceptorServers {
  readonly tls: TlsServer
  readonly http1: Http1Server
}

/** The TLS side of `inference.local`: each connection goes to the server of its ALPN protocol. */
export function createTlsInterceptor(
  certificate: ServerCertificate,
  deps: { readonly http1: Http1Server; readonly http2: Http2Server; readonly log: Log },
): TlsServer {
  const tls = createServer({
    cert: certificate.certPem,
    key: certificate.keyPem,
    ALPNProtocols: ['h2', 'http/1.1'],
    minVersion: 'TLSv1.2',
  })
  tls.on('secureConnection', socket => {
    if (socket.alpnProtocol === 'h2') deps.http2.emit('connection', socket)
    else deps.http1.accept(socket)
  })
  tls.on('tlsClientError', error => {
    const code = 'code' in error ? String(error.code) : ''
    const isDistrusted = /UNKNOWN_CA|CERTIFICATE_UNKNOWN|BAD_CERTIFICATE/.test(code)
    if (isDistrusted) deps.log.warn('tls.distrusted', { advice: DISTRUST_ADVICE })
    else deps.log.debug('tls.failed', { error })
  })
  return tls
}

const DISTRUST_ADVICE =
  "The agent does not trust this run's certificate authority; point its CA setting at the file named in NODE_EXTRA_CA_CERTS"

/**
 * Answers a CONNECT to `authority`: `inference.local` is ours, hosts that were allowed get a tunnel,
 * others 403. The socket is paused and holds what followed the CONNECT.
 */
export function answerConnect(
  servers: InterceptorServers,
  rules: { readonly allowList: TunnelAllowList; readonly log: Log },
  authority: string,
  socket: Duplex,
): void {
  if (!(socket instanceof Socket) || 'encrypted' in socket) {
    refuseSocket(socket, malformed('CONNECT is not possible inside a tunnel'))
    return
  }
  const decision = decideConnect(authority, rules.allowList)
  switch (decision.kind) {
    case 'intercept': {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      // As at an ordinary TLS server: HTTP/2 would never notice an agent that only ends its half.
      socket.allowHalfOpen = !decision.isTls
      if (decision.isTls) servers.tls.emit('connection', socket)
      else servers.http1.accept(socket)
      break
    }
    case 'tunnel': {
      const refuse = (reason: string) => {
        const text = `Cannot connect to "${authority}": ${reason}`
        refuseSocket(socket, { status: 502, code: 'tunnel_failed', text })
      }
      openTunnel({ log: rules.log, refuse }, socket, decision.target)
      break
    }
    case 'refuse': {
      rules.log.info('connect.refused', { host: decision.host })
      const text = `Connecting to "${decision.host}" is not allowed in this sandbox; to allow it, start the sandbox with --allow ${decision.host}`
      refuseSocket(socket, { status: 403, code: 'host_forbidden', text })
      break
    }
    case 'malformed':
      refuseSocket(socket, malformed('CONNECT needs HOST:PORT'))
      break
    default:
      unreachable(decision)
  }
}
