// Goal: streams and tunnels under stress: breaks, departures, slow readers, many at once. Method: a real
// listener on loopback with a router made of a few lines.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { after, before, test } from 'node:test'
import {
  type AgentPort,
  echo,
  openAgentPort,
  portOf,
  settled,
} from '../../test/support/agent-port.ts'

let agents: AgentPort
/** An allowed host that answers after the other side ended its half. */
let far: net.Server

before(async () => {
  far = net.createServer({ allowHalfOpen: true }, socket => {
    socket.on('error', () => socket.destroy())
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    socket.on('end', () => socket.end(`heard ${text}`))
  })
  far.listen(0, '127.0.0.1')
  await once(far, 'listening')
  agents = await openAgentPort([`127.0.0.1:${portOf(far)}`, '127.0.0.1:1'])
})

after(async () => {
  await agents[Symbol.asyncDispose]()
  far.close()
})

test('a tunnel to an allowed host carries each half by itself', async () => {
  const socket = net.connect({ port: agents.port, host: '127.0.0.1', allowHalfOpen: true })
  const authorityForm = `127.0.0.1:${portOf(far)}`
  socket.write(`CONNECT ${authorityForm} HTTP/1.1\r\nHost: ${authorityForm}\r\n\r\n`)
  await once(socket, 'data')
  socket.end('a question')
  const [answer] = await once(socket, 'data')
  assert.equal(String(answer), 'heard a question')
  await once(socket, 'close')
})

test('bytes that came with the CONNECT reach the allowed host', async () => {
  const authorityForm = `127.0.0.1:${portOf(far)}`
  const socket = net.connect({ port: agents.port, host: '127.0.0.1', allowHalfOpen: true })
  socket.end(`CONNECT ${authorityForm} HTTP/1.1\r\nHost: ${authorityForm}\r\n\r\nearly`)
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /heard early$/)
})

test('a tunnel to an allowed host that is not there is answered with 502', async () => {
  const answer = await agents.rawly('CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n')
  assert.match(answer, /^HTTP\/1.1 502 [\s\S]*tunnel_failed/)
})

test('an answer that breaks never looks complete', async () => {
  agents.serve = async (_, response) => {
    response.start(200, ['content-type', 'text/event-stream'])
    await response.write(Buffer.from('event: error\n\n'))
    response.destroy()
  }
  for (const { version, code } of [
    { version: '--http2', code: 92 },
    { version: '--http1.1', code: 18 },
  ]) {
    const broken = await agents.throughProxy(version, 'https://inference.local/v1/m')
    assert.equal(broken.code, code, broken.stderr)
    assert.equal(broken.stdout, 'event: error\n\n')
  }
  const old = await agents.throughProxy('--http1.0', 'http://inference.local/v1/m')
  assert.notEqual(old.code, 0)
})

test('a router that throws breaks the answer and nothing else', async () => {
  agents.serve = () => Promise.reject(new TypeError('a fault'))
  assert.notEqual((await agents.throughProxy('--http2', 'https://inference.local/v1/m')).code, 0)
  assert.notEqual((await agents.throughProxy('--http1.1', 'https://inference.local/v1/m')).code, 0)
  agents.serve = echo
  assert.equal((await agents.throughProxy('https://inference.local/v1/m')).code, 0)
})

for (const way of ['HTTP/2', 'HTTP/1.1'] as const) {
  test(`an agent that leaves aborts its request at once over ${way}`, async () => {
    const { promise: left, resolve } = Promise.withResolvers<void>()
    const { promise: refused, resolve: refuse } = Promise.withResolvers<void>()
    agents.serve = async (request, response) => {
      request.signal.addEventListener('abort', () => resolve())
      response.start(200, [])
      await response.write(Buffer.from('one'))
      await left
      await response.write(Buffer.from('two')).catch(refuse)
    }
    const agent = await (way === 'HTTP/2' ? agents.openSession() : connected())
    const stream = agent instanceof net.Socket ? agent : agent.request({ ':path': '/v1/m' })
    await once(stream, 'data')
    agent.destroy()
    await left
    await refused
  })
}

async function connected(): Promise<net.Socket> {
  const socket = net.connect(agents.port, '127.0.0.1')
  socket.write('GET /v1/m HTTP/1.1\r\nHost: localhost\r\n\r\n')
  return socket
}

test('an agent that stops reading stops the router, and goes on where it was', async () => {
  const chunk = Buffer.alloc(65_536, 'x')
  const total = 400
  let written = 0
  agents.serve = async (_, response) => {
    response.start(200, ['content-length', String(chunk.byteLength * total)])
    for (; written < total; written += 1) await response.write(chunk)
    await response.end()
  }
  const socket = net.connect(agents.port, '127.0.0.1')
  socket.write('GET /v1/m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
  await once(socket, 'readable')
  const stalledAt = await settled(() => written)
  assert.ok(stalledAt < 200, `${stalledAt} chunks were taken by nobody`)
  let received = 0
  for await (const part of socket) received += part.length
  assert.ok(received > chunk.byteLength * total)
})

test('an agent that sends faster than the router reads is held back', async () => {
  const { promise: mayRead, resolve: read } = Promise.withResolvers<void>()
  let bytes = 0
  agents.serve = async (request, response) => {
    await mayRead
    for await (const chunk of request.body) bytes += chunk.byteLength
    response.start(200, [])
    await response.end()
  }
  const size = 64 * 1_048_576
  const session = await agents.openSession()
  const stream = session.request({ ':method': 'POST', ':path': '/v1/m' })
  let sent = 0
  const block = Buffer.alloc(1_048_576)
  const feed = () => {
    while (sent < size) {
      sent += block.byteLength
      if (!stream.write(block)) return
    }
    stream.end()
  }
  stream.on('drain', feed)
  feed()
  assert.ok((await settled(() => sent)) < size / 4)
  read()
  await once(stream, 'response')
  assert.equal(bytes, size)
  session.close()
})

test('64 streams share one HTTP/2 connection, each with its own answer', async () => {
  agents.serve = echo
  const session = await agents.openSession()
  const targets = Array.from({ length: 64 }, (_, index) => `/v1/${index}`)
  const answers = await Promise.all(
    targets.map(async target => {
      const stream = session.request({ ':path': target })
      let text = ''
      for await (const chunk of stream) text += chunk
      return JSON.parse(text).target
    }),
  )
  assert.deepEqual(answers, targets)
  session.close()
})

test('a second TLS connection resumes the first one', async () => {
  agents.serve = echo
  const first = await agents.tunnelled()
  const [session] = await once(first, 'session')
  first.destroy()
  const second = await agents.tunnelled({ session })
  await once(second, 'secureConnect')
  assert.ok(second.isSessionReused())
  second.destroy()
})

test('an answer before the end of the request leaves the connection usable', async () => {
  agents.serve = async (_, response) => {
    response.start(413, ['content-length', '0'])
    await response.end()
  }
  const socket = net.connect(agents.port, '127.0.0.1')
  const head = 'POST /v1/m HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n'
  socket.write(head)
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 413/)
  socket.write(Buffer.alloc(200_000))
  socket.write(head)
  assert.match(String((await once(socket, 'data'))[0]), /^HTTP\/1.1 413/)
  socket.destroy()
})
