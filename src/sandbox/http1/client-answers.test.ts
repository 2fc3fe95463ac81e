// Goal: no byte of one answer is ever taken for another's, a connection is used again only when it is
// certain to be clean, and a request is sent once. Method: the transport against a server of a few
// lines on loopback that writes what a test tells it to.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import {
  isUpstreamError,
  OK,
  textOf,
  Vendor,
  vendorKeys,
} from '../../../test/support/http1-vendor.ts'
import { WholeBody } from '../../router/exchange.ts'

for (const { name, answer, expected, isReused, request } of [
  { name: 'a length', answer: `${OK}content-length: 2\r\n\r\nhi`, expected: 'hi', isReused: true },
  {
    name: 'chunks',
    answer: `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n`,
    expected: 'hi',
    isReused: true,
  },
  {
    name: 'interim answers before it',
    answer: `HTTP/1.1 103 Early Hints\r\n\r\n${OK}content-length: 2\r\n\r\nhi`,
    expected: 'hi',
    isReused: true,
  },
  {
    name: 'HEAD',
    answer: `${OK}content-length: 2\r\n\r\n`,
    expected: '',
    isReused: true,
    request: { method: 'HEAD' },
  },
  { name: '204', answer: 'HTTP/1.1 204 No Content\r\n\r\n', expected: '', isReused: true },
  {
    name: '304',
    answer: 'HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n',
    expected: '',
    isReused: true,
  },
  {
    name: 'Connection: close',
    answer: `${OK}connection: close\r\ncontent-length: 2\r\n\r\nhi`,
    expected: 'hi',
    isReused: false,
  },
  {
    name: 'HTTP/1.0',
    answer: 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi',
    expected: 'hi',
    isReused: false,
  },
  {
    name: 'bytes behind its end',
    answer: `${OK}content-length: 2\r\n\r\nhi!`,
    expected: 'hi',
    isReused: false,
  },
  {
    name: 'a whole other answer behind its end',
    answer: `${OK}content-length: 2\r\n\r\nhi${OK}content-length: 5\r\n\r\nstale`,
    expected: 'hi',
    isReused: false,
  },
  {
    name: 'a body to HEAD',
    answer: `${OK}content-length: 2\r\n\r\nhi`,
    expected: '',
    isReused: false,
    request: { method: 'HEAD' },
  },
] as const) {
  test(`a connection is ${isReused ? '' : 'not '}used again behind an answer with ${name}`, async () => {
    const vendor = await new Vendor(turn =>
      turn === 0 ? answer : `${OK}content-length: 4\r\n\r\nnext`,
    ).open()
    assert.equal(await vendor.ask(request), expected)
    assert.equal(await vendor.ask(), 'next')
    assert.deepEqual(
      vendor.requests.map(({ connection }) => connection),
      [0, isReused ? 0 : 1],
    )
  })
}

test('an answer that ends with its connection is whole, wherever it is cut', async () => {
  const vendor = await new Vendor((_, socket) => {
    socket.end(`${OK}content-type: text/plain\r\n\r\nhello`)
    return null
  }).open()
  assert.equal(await vendor.ask(), 'hello')
})

for (const { name, answer } of [
  { name: 'two lengths', answer: `${OK}content-length: 2\r\ncontent-length: 3\r\n\r\nhi` },
  {
    name: 'both framings',
    answer: `${OK}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
  },
  { name: 'a folded line', answer: `${OK}a: b\r\n c\r\ncontent-length: 0\r\n\r\n` },
  { name: 'another protocol', answer: 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n' },
  { name: 'no HTTP', answer: 'SSH-2.0-OpenSSH_9.6\r\n' },
]) {
  test(`an answer with ${name} is none, and its connection goes`, async () => {
    const vendor = await new Vendor(() => answer).open()
    await assert.rejects(vendor.send(), isUpstreamError('broken'))
    await once(vendor.sockets[0] ?? assert.fail(), 'close')
  })
}

test('an answer that turns out wrong in the middle breaks there', async () => {
  const vendor = await new Vendor(
    () => `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\nzz\r\n`,
  ).open()
  await assert.rejects(async () => textOf(await vendor.send()), isUpstreamError('broken'))
  await once(vendor.sockets[0] ?? assert.fail(), 'close')
})

test('a server that speaks unasked is not asked again', async () => {
  const vendor = await new Vendor(() => `${OK}content-length: 2\r\n\r\nhi`).open()
  await vendor.ask()
  const [socket] = vendor.sockets
  assert.ok(socket !== undefined)
  socket.write(`${OK}content-length: 5\r\n\r\nstale`)
  await once(socket, 'close')
  assert.equal(await vendor.ask(), 'hi')
  assert.equal(vendor.sockets.length, 2)
})

test('an answer before the end of its request ends the request, and the connection with it', async () => {
  const left = Promise.withResolvers<void>()
  const vendor = await new Vendor(
    () => 'HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno',
  ).open()
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        yield Buffer.alloc(65_536)
        await new Promise(resolve => setImmediate(resolve))
      }
    } finally {
      left.resolve()
    }
  }
  const answer = await vendor.send({ method: 'POST', body: endless() })
  assert.equal(answer.status, 413)
  assert.equal(await textOf(answer), 'no')
  await left.promise
  await once(vendor.sockets[0] ?? assert.fail(), 'close')
})

test('the connection that was used last is used first', async () => {
  const full = Promise.withResolvers<void>()
  const vendor = await new Vendor(turn => {
    if (turn === 2) full.resolve()
    return turn < 3 ? null : `${OK}content-length: 0\r\n\r\n`
  }).open()
  const first = [vendor.ask(), vendor.ask(), vendor.ask()]
  await full.promise
  for (const at of [2, 0, 1]) {
    vendor.sockets[at]?.write(`${OK}content-length: 0\r\n\r\n`)
    const connection = vendor.requests.findIndex(request => request.connection === at)
    await first[connection]
  }
  await vendor.ask()
  assert.equal(vendor.requests.at(-1)?.connection, 1)
  assert.equal(vendor.upstream.counts().connections, 3)
})

test('a request to a connection that died unnoticed is sent once, on another', async () => {
  const vendor = await new Vendor(() => `${OK}content-length: 2\r\n\r\nhi`).open()
  await vendor.ask()
  // The reset is at our system, and our program has not been told.
  vendor.sockets[0]?.resetAndDestroy()
  const body = new WholeBody([Buffer.from('once')])
  assert.equal(await vendor.ask({ method: 'POST', body, contentLength: 4 }), 'hi')
  assert.equal(vendor.requests.filter(({ text }) => text.endsWith('once')).length, 1)
  assert.deepEqual(
    vendor.requests.map(({ connection }) => connection),
    [0, 1],
  )
})

test('what a vendor says before a request has left is no answer to it', async () => {
  const vendor = await new Vendor(() => `${OK}content-length: 2\r\n\r\nhi`).open()
  await vendor.ask()
  await turn()
  vendor.sockets[0]?.write('HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n')
  const body = new WholeBody([Buffer.from('once')])
  assert.equal(await vendor.ask({ method: 'POST', body, contentLength: 4 }), 'hi')
  assert.equal(vendor.requests.filter(({ text }) => text.endsWith('once')).length, 1)
})

test('a request that a dying connection may have taken is not repeated', async () => {
  const vendor = await new Vendor((turn, socket) => {
    if (turn === 1) socket.resetAndDestroy()
    return turn === 1 ? null : `${OK}content-length: 2\r\n\r\nhi`
  }).open()
  await vendor.ask()
  await assert.rejects(vendor.send({ method: 'POST' }), isUpstreamError('broken'))
  assert.equal(vendor.requests.length, 2)
})

for (const protocol of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`a second connection over ${protocol} resumes the session of the first, and speaks HTTP/1.1`, async () => {
    const offers: (readonly string[])[] = []
    const vendor = await new Vendor(() => `${OK}connection: close\r\ncontent-length: 2\r\n\r\nhi`, {
      ...{ ...vendorKeys(), minVersion: protocol, maxVersion: protocol },
      ALPNCallback({ protocols }) {
        offers.push(protocols)
        return 'http/1.1'
      },
    }).open()
    assert.equal(await vendor.ask(), 'hi')
    assert.equal(await vendor.ask(), 'hi')
    assert.deepEqual(vendor.upstream.counts(), { connections: 2, handshakes: 2, resumed: 1 })
    assert.deepEqual(offers[0], ['http/1.1'])
  })
}
