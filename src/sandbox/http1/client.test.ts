// Goal: a request leaves as one, whole or broken, and never as two. Method: the transport against a
// server of a few lines on loopback that notes every byte.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { settled } from '../../../test/support/agent-port.ts'
import { isUpstreamError, OK, pulled, Vendor } from '../../../test/support/http1-vendor.ts'
import { WholeBody } from '../../router/exchange.ts'

for (const { name, request, expected } of [
  { name: 'no body', request: {}, expected: 'GET /p HTTP/1.1\r\nhost: HOST\r\n\r\n' },
  {
    name: 'no body where one is usual',
    request: { method: 'POST' },
    expected: 'POST /p HTTP/1.1\r\nhost: HOST\r\ncontent-length: 0\r\n\r\n',
  },
  {
    name: 'a whole body',
    request: {
      method: 'POST',
      body: new WholeBody([Buffer.from('a'), Buffer.from('bc')]),
      contentLength: 3,
    },
    expected: 'POST /p HTTP/1.1\r\nhost: HOST\r\ncontent-length: 3\r\n\r\nabc',
  },
  {
    name: 'a pulled body of known length',
    request: { method: 'POST', body: pulled('a', '', 'bc'), contentLength: 3 },
    expected: 'POST /p HTTP/1.1\r\nhost: HOST\r\ncontent-length: 3\r\n\r\nabc',
  },
  {
    name: 'fields, but for those of the connection',
    request: { headers: ['X-A', 'b', 'Connection', 'close', 'Transfer-Encoding', 'x', 'x-a', 'c'] },
    expected: 'GET /p HTTP/1.1\r\nhost: HOST\r\nX-A: b\r\nx-a: c\r\n\r\n',
  },
]) {
  test(`a request with ${name} is written as one`, async () => {
    const vendor = await new Vendor(() => `${OK}content-length: 0\r\n\r\n`).open()
    await vendor.ask(request)
    const host = new URL(vendor.request().origin).host
    assert.deepEqual(vendor.requests, [{ text: expected.replace('HOST', host), connection: 0 }])
  })
}

test('a body of unknown length leaves in chunks as it comes', async () => {
  const isSeen = Promise.withResolvers<void>()
  const vendor: Vendor = await new Vendor((_, socket) => {
    if (socket.bytesRead > 0) isSeen.resolve()
    return vendor.requests.at(-1)?.text.endsWith('0\r\n\r\n')
      ? `${OK}content-length: 0\r\n\r\n`
      : null
  }).open()
  async function* body(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('abc')
    // The first bytes are at the vendor before the last ones are there.
    await isSeen.promise
    yield Buffer.from('x'.repeat(26))
  }
  await vendor.ask({ method: 'POST', body: body() })
  const sent = vendor.requests.map(({ text }) => text).join('')
  assert.match(sent, /\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1a\r\nx{26}\r\n0\r\n\r\n$/)
})

test('a body that is not as long as it was said to be ends the request', async () => {
  for (const parts of [['ab'], ['abc', 'd']]) {
    const vendor = await new Vendor(() => null).open()
    const request = {
      method: 'POST',
      body: pulled('x'.repeat(70_000), ...parts),
      contentLength: 70_003,
    }
    await assert.rejects(vendor.send(request), isUpstreamError('broken'))
  }
})

test('a body that breaks off ends the request', async () => {
  const vendor = await new Vendor(() => null).open()
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a')
    throw new Error('the agent left')
  }
  await assert.rejects(
    vendor.send({ method: 'POST', body: broken() }),
    (error: unknown) => isUpstreamError('broken')(error) && /the agent left/.test(String(error)),
  )
  await once(vendor.sockets[0] ?? assert.fail(), 'close')
})

test('what would break the request open is refused before anything is sent', async () => {
  const vendor = await new Vendor(() => `${OK}content-length: 0\r\n\r\n`).open()
  for (const extra of [
    { headers: ['x', 'a\r\nx-api-key: b'] },
    { headers: ['x\r\ny', 'a'] },
    { headers: ['x', 'Ċ'] },
    { path: '/ HTTP/1.1\r\nx: y\r\n\r\nGET /' },
    { path: '/a b' },
    { path: '' },
    { method: 'GET / HTTP/1.1\r\nx:' },
  ]) {
    await assert.rejects(vendor.send(extra), TypeError)
  }
  assert.equal(vendor.sockets.length, 0)
})

test('a vendor that reads no request holds its source back', async () => {
  const vendor = await new Vendor((_, socket) => {
    socket.pause()
    return null
  }).open()
  let given = 0
  async function* endless(): AsyncGenerator<Uint8Array> {
    for (;;) {
      given += 1
      yield Buffer.alloc(65_536)
    }
  }
  const cancel = new AbortController()
  const sent = vendor.send({ method: 'POST', body: endless(), signal: cancel.signal })
  assert.ok((await settled(() => given)) < 500)
  cancel.abort()
  await assert.rejects(sent, isUpstreamError('broken'))
})
