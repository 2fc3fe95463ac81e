// Goal: answers leave in order, framed as their request allows, in as few writes as it takes. Method:
// the server over one end of a pair of streams, and a router of a few lines.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { test } from 'node:test'
import { portOf, settled } from '../../../test/support/agent-port.ts'
import { Agent, answer, GET, rest } from '../../../test/support/http1-agent.ts'
import { WholeBody } from '../../router/exchange.ts'

test('head and first bytes leave in one write, and a small body is there whole', async () => {
  let body: unknown
  const agent = new Agent(async exchange => {
    body = exchange.body
    await answer(exchange, 'hello')
  })
  await agent.send('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc')
  assert.equal(agent.chunks.length, 1)
  assert.match(
    agent.text,
    /^HTTP\/1\.1 200 OK\r\ncontent-length: 5\r\nDate: \w{3}, [^\r]+ GMT\r\n\r\nhello$/,
  )
  assert.ok(body instanceof WholeBody)
  assert.equal(Buffer.concat(body.pieces).toString(), 'abc')
})

test('an answer without a length is chunked, and an event leaves as one chunk in one write', async () => {
  const agent = new Agent(async exchange => {
    exchange.response.start(200, ['Date', 'of the vendor'])
    await rest()
    await exchange.response.write(Buffer.from('data: 1\n\n'))
    await exchange.response.end()
  })
  await agent.send(GET)
  await rest()
  assert.deepEqual(agent.chunks, [
    'HTTP/1.1 200 OK\r\nDate: of the vendor\r\nTransfer-Encoding: chunked\r\n\r\n',
    '9\r\ndata: 1\n\n\r\n',
    '0\r\n\r\n',
  ])
})

test('pipelined requests are served one by one and answered in order', async () => {
  const waiting: (() => void)[] = []
  const agent = new Agent(async exchange => {
    await new Promise<void>(resolve => waiting.push(resolve))
    await answer(exchange, exchange.head.target)
  })
  const targets = ['/1', '/2', '/3']
  await agent.send(targets.map(target => GET.replace('/', target)).join(''))
  for (const [index] of targets.entries()) {
    assert.equal(agent.served.length, index + 1)
    waiting[index]?.()
    await rest()
  }
  assert.deepEqual(agent.bodies, targets)
})

test('pipelined requests that are answered at once are all answered, however they are cut', async () => {
  const text = `${GET}POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody${GET}`
  for (let cut = 0; cut < text.length; cut += 7) {
    const agent = new Agent()
    await agent.send(text.slice(0, cut), text.slice(cut))
    assert.deepEqual(agent.bodies, ['/', '/2', '/'], `cut ${cut}`)
  }
})

test('an agent that sends far ahead of its answers is not read any more', async () => {
  const agent = new Agent(() => {})
  const server = net.createServer(socket => agent.server.accept(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = net.connect(portOf(server), '127.0.0.1')
  socket.on('error', () => {})
  const block = Buffer.from(GET.repeat(2_000))
  let sent = 0
  const feed = (): void => {
    while (sent < 2_000 && socket.write(block)) sent += 1
  }
  socket.on('drain', feed)
  feed()
  assert.ok((await settled(() => sent)) < 1_000)
  assert.equal(agent.served.length, 1)
  socket.destroy()
  agent.server.close()
  server.close()
})

for (const { name, request, status, expected } of [
  { name: 'HEAD', request: 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n', status: 200, expected: true },
  { name: '204', request: GET, status: 204, expected: true },
  { name: '304', request: GET, status: 304, expected: true },
  { name: 'an ordinary answer', request: GET, status: 200, expected: false },
]) {
  test(`${name} ${expected ? 'has no body, whatever is written' : 'has its body'}`, async () => {
    const agent = new Agent(async ({ response }) => {
      response.start(status, ['Content-Length', '5'])
      await response.write(Buffer.from('hello'))
      await response.end()
    })
    await agent.send(request, GET)
    assert.equal(agent.served.length, 2)
    assert.equal(agent.text.split('HTTP/1.1')[1]?.endsWith('\r\n\r\n'), expected)
    assert.match(agent.text, /Content-Length: 5/)
  })
}

for (const { name, request, headers, isLast, expected } of [
  {
    name: 'HTTP/1.0',
    request: 'GET / HTTP/1.0\r\n\r\n',
    headers: [],
    isLast: true,
    expected: /\r\nConnection: close\r\n\r\nx$/,
  },
  {
    name: 'HTTP/1.0 with keep-alive and a length',
    request: 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    headers: ['content-length', '1'],
    isLast: false,
    expected: /\r\nConnection: keep-alive\r\n\r\nx$/,
  },
  {
    name: 'HTTP/1.0 with keep-alive and no length',
    request: 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n',
    headers: [],
    isLast: true,
    expected: /\r\nConnection: close\r\n\r\nx$/,
  },
  {
    name: 'HTTP/1.1',
    request: GET,
    headers: ['content-length', '1'],
    isLast: false,
    expected: /GMT\r\n\r\nx$/,
  },
  {
    name: 'Connection: close',
    request: 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    headers: ['content-length', '1'],
    isLast: true,
    expected: /\r\nConnection: close\r\n\r\nx$/,
  },
] as const) {
  test(`${name} ${isLast ? 'ends the connection with the answer' : 'keeps the connection'}`, async () => {
    const agent = new Agent(exchange => answer(exchange, 'x', headers))
    await agent.send(request)
    assert.match(agent.text, expected)
    assert.equal(agent.isEnded, isLast)
  })
}

test('fields of the connection that a router would pass are left out', async () => {
  const agent = new Agent(exchange =>
    answer(exchange, 'x', [
      'Transfer-Encoding',
      'gzip',
      'Keep-Alive',
      'x',
      'Upgrade',
      'y',
      'X-A',
      'b',
      'Content-Length',
      '1',
    ]),
  )
  await agent.send(GET)
  assert.doesNotMatch(agent.text, /Transfer|Keep|Upgrade/)
  assert.match(agent.text, /X-A: b\r\nContent-Length: 1\r\n/)
})

test('a field that would break the answer open is refused, and nothing of it leaves', async () => {
  for (const headers of [
    ['x', 'a\r\nSet-Cookie: b'],
    ['x\r\ny', 'a'],
    ['x', 'a\0'],
    ['', 'a'],
    ['x', 'Ċ'],
  ]) {
    const agent = new Agent(({ response }) => {
      assert.throws(() => response.start(200, headers), TypeError)
      response.destroy()
    })
    await agent.send(GET)
    assert.equal(agent.text, '')
    assert.ok(agent.isEnded)
  }
})

test('an answer keeps to the length it has promised', async () => {
  for (const text of ['four', 'sixsix']) {
    const agent = new Agent(async ({ response }) => {
      response.start(200, ['content-length', '5'])
      await assert.rejects(async () => {
        await response.write(Buffer.from(text))
        await response.end()
      }, /than its Content-Length/)
      response.destroy()
    })
    await agent.send(GET, GET)
    assert.equal(agent.served.length, 1)
    assert.ok(agent.isEnded)
  }
})
