// Goal: the transport passes heads and bytes untouched, reuses connections, holds back, and says how
// far a failed request came. Method: real servers on loopback that count connections.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import type { Writable } from 'node:stream'
import { after, test } from 'node:test'
import tls from 'node:tls'
import { createAuthority } from '../pki/authority.ts'
import { UpstreamError, type UpstreamRequest } from '../router/exchange.ts'
import { atTurnEnd } from '../system/real.ts'
import { WriteRoom } from './http1/write-room.ts'
import { createUpstream } from './upstream.ts'

const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async () => {},
}
const random = { fraction: () => 0, bytes: (count: number) => randomBytes(count) }
const authority = createAuthority({ clock, random })
const { certPem: cert, keyPem: key } = authority.issueLeaf('localhost')
const upstream = createUpstream({
  caPem: authority.certPem,
  writeRoom: new WriteRoom(atTurnEnd),
})
const cleanups: (() => void)[] = [() => void upstream.close()]
const never = new AbortController().signal

after(() => {
  for (const cleanup of cleanups) cleanup()
})

async function opened(server: net.Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const sockets = new Set<net.Socket>()
  server.on('connection', socket => sockets.add(socket))
  cleanups.push(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

async function* chunks(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield Buffer.from(part)
}

function post(origin: string, extra: Partial<UpstreamRequest> = {}): UpstreamRequest {
  const headers = ['content-type', 'text/plain', 'X-Twice', 'a', 'X-Twice', 'b']
  const contentLength = extra.body === undefined ? 5 : null
  const body = chunks('he', 'llo')
  return {
    origin,
    method: 'POST',
    path: '/p?q=1',
    headers,
    body,
    contentLength,
    signal: never,
    ...extra,
  }
}

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const part of body) parts.push(part)
  return Buffer.concat(parts).toString()
}

const answerBack: http.RequestListener = async (request, response) => {
  let body = ''
  for await (const chunk of request) body += chunk
  const { method, url, rawHeaders } = request
  response.writeHead(207, [
    'Set-Cookie',
    'a=1',
    'X-Mixed',
    'Case',
    'Set-Cookie',
    'b=2',
    'Content-Encoding',
    'gzip',
  ])
  response.end(JSON.stringify({ method, url, rawHeaders, body }))
}

test('an HTTP/1.1 exchange keeps bytes, order, case and repeats', async () => {
  const port = await opened(http.createServer(answerBack))
  const answer = await upstream.send(post(`http://127.0.0.1:${port}`))
  assert.equal(answer.status, 207)
  assert.deepEqual(answer.headers.slice(0, 8), [
    'Set-Cookie',
    'a=1',
    'X-Mixed',
    'Case',
    'Set-Cookie',
    'b=2',
    'Content-Encoding',
    'gzip',
  ])
  const seen = JSON.parse(await textOf(answer.body))
  assert.equal(seen.body, 'hello')
  assert.equal(seen.url, '/p?q=1')
  assert.deepEqual(seen.rawHeaders.slice(0, 2), ['host', `127.0.0.1:${port}`])
  assert.deepEqual(
    seen.rawHeaders.filter(
      (_: string, index: number, all: string[]) => all[index - 1] === 'X-Twice',
    ),
    ['a', 'b'],
  )
  assert.equal(seen.rawHeaders[seen.rawHeaders.indexOf('content-length') + 1], '5')
})

test('an HTTP/2 exchange keeps bytes and repeats', async () => {
  const server = http2.createSecureServer({ cert, key }, (request, response) => {
    const headers = { 'set-cookie': ['a=1', 'b=2'], 'x-version': request.httpVersion }
    response.writeHead(207, headers)
    request.pipe(response)
  })
  const port = await opened(server)
  const answer = await upstream.send(post(`https://localhost:${port}`))
  assert.equal(answer.status, 207)
  const cookies = answer.headers.filter((_, index, all) => all[index - 1] === 'set-cookie')
  assert.deepEqual(cookies, ['a=1', 'b=2'])
  assert.equal(answer.headers[answer.headers.indexOf('x-version') + 1], '2.0')
  assert.ok(!answer.headers.some(part => part.startsWith(':')))
  assert.equal(await textOf(answer.body), 'hello')
})

for (const { name, extra, expected } of [
  { name: 'no body', extra: { method: 'GET', body: null, contentLength: null }, expected: '' },
  { name: 'an empty body', extra: { body: chunks(), contentLength: 0 }, expected: '' },
  { name: 'a body of unknown length', extra: { body: chunks('a', 'b', 'c') }, expected: 'abc' },
  {
    name: 'a long body of known length',
    extra: { body: chunks('x'.repeat(60_000), 'y'.repeat(60_000)), contentLength: 120_000 },
    expected: 'x'.repeat(60_000) + 'y'.repeat(60_000),
  },
] as const) {
  test(`a request with ${name} arrives whole on both protocols`, async () => {
    const plain = await opened(http.createServer(answerBack))
    const secure = await opened(
      http2.createSecureServer({ cert, key }, (request, response) => void request.pipe(response)),
    )
    const first = await upstream.send(post(`http://127.0.0.1:${plain}`, extra))
    assert.equal(JSON.parse(await textOf(first.body)).body, expected)
    if (name !== 'no body' && name !== 'an empty body') return
    const second = await upstream.send(post(`https://localhost:${secure}`, extra))
    assert.equal(await textOf(second.body), expected)
  })
}

for (const { name, alpn } of [
  { name: 'HTTP/1.1', alpn: ['http/1.1'] },
  { name: 'HTTP/2', alpn: ['h2'] },
]) {
  test(`64 concurrent requests over TLS and ${name} are served at once, then reuse connections`, async () => {
    let arrived = 0
    let full = Promise.withResolvers<void>()
    const answer = async (_: unknown, response: { end(text: string): void }) => {
      arrived += 1
      if (arrived % 64 === 0) full.resolve()
      // None is answered before all have arrived: a cap on connections would never end.
      await full.promise
      response.end('ok')
    }
    const server: tls.Server = alpn.includes('h2')
      ? http2.createSecureServer(
          { cert, key },
          (request, response) => void answer(request, response),
        )
      : https(answer)
    const port = await opened(server)
    let handshakes = 0
    let resumed = 0
    server.on('secureConnection', (socket: tls.TLSSocket) => {
      handshakes += 1
      if (socket.isSessionReused()) resumed += 1
    })
    const handshakesByRound: number[] = []
    for (let round = 0; round < 5; round += 1) {
      full = Promise.withResolvers()
      const answers = Array.from({ length: 64 }, async () => {
        const { body } = await upstream.send(post(`https://localhost:${port}`))
        return textOf(body)
      })
      assert.deepEqual(new Set(await Promise.all(answers)), new Set(['ok']))
      handshakesByRound.push(handshakes)
    }
    if (alpn.includes('h2')) {
      assert.deepEqual(handshakesByRound, [1, 1, 1, 1, 1])
    } else {
      // Each connection is free again as soon as its answer has ended.
      assert.deepEqual(handshakesByRound, [64, 64, 64, 64, 64])
      assert.equal(resumed, 0)
    }
  })
}

function https(
  answer: (request: unknown, response: http.ServerResponse) => Promise<void>,
): tls.Server {
  const plain = http.createServer((request, response) => {
    request.resume()
    void answer(request, response)
  })
  return tls.createServer({ cert, key, ALPNProtocols: ['http/1.1'] }, socket => {
    plain.emit('connection', socket)
  })
}

test('a host that is not there is told apart: no byte left', async () => {
  const port = await opened(net.createServer())
  const gone = net.createServer()
  gone.listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const address = gone.address()
  assert.ok(address !== null && typeof address === 'object' && address.port !== port)
  gone.close()
  await assert.rejects(
    upstream.send(post(`http://127.0.0.1:${address.port}`)),
    isUpstreamError('connect'),
  )
})

test('a certificate of someone else counts as not connected', async () => {
  const stranger = createAuthority({ clock, random }).issueLeaf('localhost')
  const server = tls.createServer({ cert: stranger.certPem, key: stranger.keyPem })
  server.on('tlsClientError', () => {})
  const port = await opened(server)
  await assert.rejects(upstream.send(post(`https://localhost:${port}`)), isUpstreamError('connect'))
})

test('a connection that closes without an answer is broken: a byte may have arrived', async () => {
  const port = await opened(net.createServer(socket => socket.once('data', () => socket.destroy())))
  await assert.rejects(upstream.send(post(`http://127.0.0.1:${port}`)), isUpstreamError('broken'))
})

test('an answer that stops before its length breaks its body, after what came', async () => {
  const port = await opened(
    net.createServer(socket =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf')),
    ),
  )
  const { body } = await upstream.send(post(`http://127.0.0.1:${port}`))
  let text = ''
  await assert.rejects(async () => {
    for await (const chunk of body) text += chunk
  }, isUpstreamError('broken'))
  assert.equal(text, 'half')
})

test('redirects are handed back, not followed', async () => {
  const server = http.createServer((_, response) =>
    response.writeHead(302, { location: '/x' }).end(),
  )
  const port = await opened(server)
  const { status, body } = await upstream.send(post(`http://127.0.0.1:${port}`))
  assert.equal(status, 302)
  assert.equal(await textOf(body), '')
})

for (const moment of ['before connecting', 'before the answer', 'within the answer'] as const) {
  test(`a cancellation ${moment} reaches the vendor at once`, async () => {
    const cancel = new AbortController()
    const { promise: gone, resolve } = Promise.withResolvers<void>()
    const arrived = Promise.withResolvers<void>()
    const server = http.createServer((_, response) => {
      response.on('close', resolve)
      if (moment === 'within the answer') response.write('one')
      arrived.resolve()
    })
    const port = await opened(server)
    const request = post(`http://127.0.0.1:${port}`, { signal: cancel.signal })
    if (moment === 'before connecting') {
      cancel.abort()
      return assert.rejects(upstream.send(request), isUpstreamError('connect'))
    }
    const sent = upstream.send(request)
    await arrived.promise
    if (moment === 'before the answer') {
      cancel.abort()
      await assert.rejects(sent, isUpstreamError('broken'))
    } else {
      const { body } = await sent
      const reader = body[Symbol.asyncIterator]()
      await reader.next()
      cancel.abort()
      await assert.rejects(reader.next(), isUpstreamError('broken'))
    }
    await gone
  })
}

test('an answer left unread ends the request at the vendor', async () => {
  const { promise: gone, resolve } = Promise.withResolvers<void>()
  const server = http.createServer((_, response) => {
    response.on('close', resolve)
    response.write('one')
  })
  const port = await opened(server)
  const { body } = await upstream.send(post(`http://127.0.0.1:${port}`))
  for await (const chunk of body) if (chunk.byteLength > 0) break
  await gone
})

for (const protocol of ['HTTP/1.1', 'HTTP/2'] as const) {
  test(`a slow reader holds back the vendor over ${protocol}`, async () => {
    const block = Buffer.alloc(65_536)
    const total = 800
    let written = 0
    const flood = async (response: Writable) => {
      for (; written < total; written += 1) {
        if (!response.write(block)) await once(response, 'drain')
      }
      response.end()
    }
    const server =
      protocol === 'HTTP/2'
        ? http2.createSecureServer({ cert, key }, (_, response) => void flood(response))
        : http.createServer((_, response) => void flood(response))
    const port = await opened(server)
    const origin = protocol === 'HTTP/2' ? `https://localhost:${port}` : `http://127.0.0.1:${port}`
    const { body } = await upstream.send(post(origin))
    const reader = body[Symbol.asyncIterator]()
    let bytes = (await reader.next()).value?.byteLength ?? 0
    assert.ok((await settled(() => written)) < total / 2)
    for (let part = await reader.next(); part.done !== true; part = await reader.next()) {
      bytes += part.value.byteLength
    }
    assert.equal(bytes, block.byteLength * total)
  })
}

function isUpstreamError(kind: UpstreamError['kind']): (error: unknown) => boolean {
  return error => error instanceof UpstreamError && error.kind === kind
}

/** The value of a count once it has stood still for a while. */
async function settled(count: () => number): Promise<number> {
  let [before, stillFor] = [count(), 0]
  while (stillFor < 10) {
    await new Promise(resolve => setTimeout(resolve, 20))
    stillFor = count() === before ? stillFor + 1 : 0
    before = count()
  }
  return before
}
