// Goal: one port serves gRPC and HTTP/1.1, whatever the bytes and however they come.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { credentials, makeGenericClientConstructor, status } from '@grpc/grpc-js'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { openPort } from './port.ts'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const dial = (at = world): Socket => {
  const { hostname, port } = new URL(at.origin)
  return connect({ host: hostname, port: Number(port), noDelay: true })
}
const closed = (socket: Socket): Promise<void> =>
  new Promise(resolve => {
    socket.on('error', () => {})
    if (socket.closed) resolve()
    else socket.on('close', () => resolve())
  })
const readAll = async (socket: Socket): Promise<string> => {
  let text = ''
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
  })
  await closed(socket)
  return text
}

test('HTTP/1.1 is answered beside gRPC', async t => {
  await world.call(OpenShell.method.listProviders, {})
  const rows: readonly [string, string, number][] = [
    ['GET', '/healthz', 200],
    ['GET', '/healthz?x=1', 200],
    ['HEAD', '/healthz', 200],
    ['GET', '/readyz', 200],
    ['GET', '/health', 200],
    ['GET', '/metrics', 200],
    ['GET', '/', 404],
    ['GET', '/healthz/x', 404],
    ['GET', '//evil', 404],
    ['POST', '/healthz', 405],
    ['PUT', '/metrics', 405],
    ['DELETE', '/nowhere', 405],
  ]
  for (const [verb, path, expected] of rows) {
    await t.test(`${verb} ${path}`, async () => {
      const answer = await fetch(`${world.origin}${path}`, { method: verb })
      assert.equal(answer.status, expected)
      if (expected === 405) assert.equal(answer.headers.get('allow'), 'GET, HEAD')
      const text = await answer.text()
      assert.equal(text === '', verb === 'HEAD')
    })
  }
  const health = await (await fetch(`${world.origin}/healthz`)).json()
  assert.deepEqual(health, { status: 'ok', version: '1.2.3' })
})

test('readiness and health tell that the store is away; metrics go on', async () => {
  await using own = await startTestGateway()
  await own.call(OpenShell.method.listProviders, {})
  await own.store.close()
  const ready = await fetch(`${own.origin}/readyz`)
  assert.equal(ready.status, 503)
  const { status: word, reason } = Object(await ready.json())
  assert.equal(word, 'not_ready')
  assert.match(reason, /Cannot use the database/)
  assert.equal((await fetch(`${own.origin}/healthz`)).status, 200)
  assert.equal((await fetch(`${own.origin}/metrics`)).status, 200)
  assert.equal((await own.call(OpenShell.method.health, {})).status, 2)
  await assert.rejects(own.call(OpenShell.method.listProviders, {}), refusal('store_unavailable'))
})

test('several requests go over one connection', async () => {
  const socket = dial()
  const text = readAll(socket)
  socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(socket, 'data')
  socket.write('GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  assert.equal((await text).match(/HTTP\/1\.1 200 OK/g)?.length, 2)
})

test('bytes that dribble in one at a time are understood', async () => {
  for (const [bytes, answer] of [
    ['GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n', /^HTTP\/1\.1 200 OK/],
    // A preface and empty settings; the server's own settings come back.
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', /^[^H]{9}/s],
    ['PUT /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', /405/],
    ['PRIVATE /x HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400/],
  ] as const) {
    const socket = dial()
    const text = readAll(socket)
    for (const byte of bytes) {
      socket.write(byte, 'latin1')
      await new Promise(setImmediate)
    }
    if (bytes.startsWith('PRI ')) {
      await once(socket, 'data')
      socket.destroy()
    }
    assert.match(await text, answer)
  }
})

test('garbage is refused and harms nobody', async () => {
  for (const bytes of [
    '\0\0\0\0',
    '\x16\x03\x01\x02\0\x01\0',
    'PRI * HTTP/3.0\r\n\r\n',
    'x'.repeat(100_000),
  ]) {
    const socket = dial()
    const text = readAll(socket)
    socket.write(bytes, 'latin1')
    assert.match(await text, /^(HTTP\/1\.1 4\d\d |$)/)
  }
  for (const half of ['', 'P', 'PRI * HT']) {
    const socket = dial()
    socket.end(half)
    await readAll(socket)
  }
  await world.call(OpenShell.method.listProviders, {})
})

test('connections that say nothing, or not enough, are closed', { timeout: 25_000 }, async () => {
  const startedMs = performance.now()
  const closings = ['', 'PRI * H', 'GET /healthz HTTP/1.1\r\nHost: a\r\n'].map(async bytes => {
    const socket = dial()
    socket.write(bytes)
    const text = await readAll(socket)
    return { text, afterMs: performance.now() - startedMs }
  })
  for (const { text, afterMs } of await Promise.all(closings)) {
    assert.match(text, /^$|408/)
    assert.ok(afterMs > 4_500 && afterMs < 9_000, `${afterMs}`)
  }
})

test('a method that nobody serves is UNIMPLEMENTED', async () => {
  const Stranger = makeGenericClientConstructor({}, 'Stranger')
  const client = new Stranger(new URL(world.origin).host, credentials.createInsecure())
  const pass = (bytes: Buffer) => bytes
  const code = await new Promise(resolve =>
    client.makeUnaryRequest(
      '/openshell.v1.OpenShell/ExecSandbox',
      pass,
      pass,
      Buffer.alloc(0),
      error => resolve(error?.code),
    ),
  )
  assert.equal(code, status.UNIMPLEMENTED)
  client.close()
})

test('bytes that are no message are refused, and the connection lives on', async () => {
  const Stranger = makeGenericClientConstructor({}, 'Stranger')
  const client = new Stranger(new URL(world.origin).host, credentials.createInsecure())
  const pass = (bytes: Buffer) => bytes
  const call = (bytes: Buffer) =>
    new Promise<number | undefined>(resolve =>
      client.makeUnaryRequest('/openshell.v1.OpenShell/Health', pass, pass, bytes, error =>
        resolve(error?.code),
      ),
    )
  assert.notEqual(await call(Buffer.from([0xff, 0xff, 0xff])), undefined)
  assert.equal(await call(Buffer.alloc(0)), undefined)
  client.close()
})

test('stopping lets calls under way finish, and takes no new ones', async () => {
  const own = await startTestGateway()
  own.lab.faults.set('google.token delay=400ms count=1')
  const slow = own.call(OpenShell.method.createProvider, {
    provider: vertexProvider(own.lab, 'slow'),
  })
  await until(() => own.lab.journal.entries().length === 1, 'the mint under way')
  const closing = own.gateway.close()
  const socket = dial(own)
  await closed(socket)
  assert.equal((await slow).provider?.metadata?.name, 'slow')
  await closing
  await assert.rejects(own.call(OpenShell.method.health, {}), refusal('gateway_unreachable'))
  await own.store.close()
  await own.lab.close()
})

test('a silent connection does not hold up the stop', async () => {
  const own = await startTestGateway()
  const sockets = [dial(own), dial(own), dial(own)]
  for (const socket of sockets) socket.on('error', () => {})
  sockets[1]?.write('PRI * H')
  sockets[2]?.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(sockets[2] ?? dial(own), 'data')
  const startedMs = performance.now()
  await own[Symbol.asyncDispose]()
  assert.ok(performance.now() - startedMs < 2_000)
})

test('a port that is taken is named', async () => {
  const { hostname: host, port } = new URL(world.origin)
  const second = openPort({ host, port: Number(port) }, { register() {}, http() {} })
  await assert.rejects(
    second,
    refusal('port_taken', new RegExp(`${port}: the port is taken.*--listen`)),
  )
  const unknown = openPort({ host: '192.0.2.1', port: 0 }, { register() {}, http() {} })
  await assert.rejects(unknown, refusal('port_taken', /EADDRNOTAVAIL/))
})

test('a large request goes through on a connection that does nothing else', async () => {
  const provider = openaiProvider(world.lab, 'large')
  const config = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`K${i}`, 'v'.repeat(8_000)]),
  )
  await world.call(OpenShell.method.createProvider, {
    provider: { ...provider, config: { ...provider.config, ...config } },
  })
  const { provider: read } = await world.call(OpenShell.method.getProvider, { name: 'large' })
  assert.equal(read?.config.K59?.length, 8_000)
})
