// Goal: one request's whole way, agent to vendor and back, as a stream, broken, abandoned, and across
// a new token. Method: real listener, router and transport; a vendor on loopback of a few lines.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { after, before, beforeEach, test } from 'node:test'
import { type AgentPort, openAgentPort, portOf } from '../../test/support/agent-port.ts'
import type { ResolvedRoute } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { forward } from '../router/forward.ts'
import { DEFAULT_LIMITS } from '../router/limits.ts'
import { RefusedBetas } from '../router/refused-betas.ts'
import { createRouteTable } from '../router/route-table.ts'
import { silentLog } from '../system/log.ts'
import { atTurnEnd, realClock } from '../system/real.ts'
import { WriteRoom } from './http1/write-room.ts'
import { createUpstream } from './upstream.ts'

const table = createRouteTable()
const upstream = createUpstream({ caPem: null, writeRoom: new WriteRoom(atTurnEnd) })
let agents: AgentPort
let vendor: http.Server
let connections = 0
let answer: http.RequestListener

before(async () => {
  vendor = http.createServer((request, response) => answer(request, response))
  vendor.on('connection', () => {
    connections += 1
  })
  vendor.listen(0, '127.0.0.1')
  await once(vendor, 'listening')
  agents = await openAgentPort()
  const reportRejected = () => Promise.reject(new Error('nothing is rejected here'))
  const deps = {
    clock: realClock,
    log: silentLog,
    limits: DEFAULT_LIMITS,
    table,
    reportRejected,
    refusedBetas: new RefusedBetas(realClock),
  }
  agents.serve = async (request, response) => {
    await forward({ ...deps, upstream: upstream.send }, request, response)
  }
})

beforeEach(() => serveToken('one', 1))

after(async () => {
  await agents[Symbol.asyncDispose]()
  await upstream.close()
  vendor.closeAllConnections()
  vendor.close()
})

function serveToken(token: string, generation: number): void {
  const route: ResolvedRoute = {
    name: 'inference.local',
    providerName: 'p',
    providerId: 'provider-1',
    providerType: 'anthropic',
    baseUrl: `http://127.0.0.1:${portOf(vendor)}/v1`,
    modelId: 'the-model',
    operations: [
      {
        protocol: 'anthropic_messages',
        path: '/messages',
        streamPath: '',
        model: 'replace',
        version: null,
        dropQuery: [],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
    ],
    auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
    defaultHeaders: new Map(),
    allowHeaders: [],
    betas: null,
    deadToken: [],
    credential: new Secret(token),
    expiresAtMs: null,
    mandatoryAtMs: null,
    generation,
    timeoutMs: 60_000,
  }
  table.swap({ revision: token, generatedAtMs: 1, changes: 0, routes: [route], failures: [] })
}

const MESSAGE = ['-d', '{"model":"any","stream":true}', '-H', 'content-type: application/json']
const MESSAGES_URL = 'https://inference.local/v1/messages'

test('the vendor gets the token and the model, and nothing that the agent held', async () => {
  answer = async (request, response) => {
    response.end(JSON.stringify({ headers: request.rawHeaders, body: await text(request) }))
  }
  const keys = ['-H', 'x-api-key: placeholder', '-H', 'authorization: Bearer placeholder']
  for (const version of ['--http2', '--http1.1']) {
    const { stdout } = await agents.throughProxy(version, ...keys, ...MESSAGE, MESSAGES_URL)
    const { headers, body } = JSON.parse(stdout)
    assert.ok(headers.includes('Bearer one'))
    assert.ok(!stdout.includes('placeholder'))
    assert.equal(body, '{"model":"the-model","stream":true}')
  }
})

test('the vendor gets the first bytes of a body before the agent sends the last ones', async () => {
  const first = Promise.withResolvers<void>()
  answer = async (request, response) => {
    request.once('data', () => first.resolve())
    const body = await text(request)
    response.end(
      `${request.headers['content-length'] === String(body.length)} ${body.slice(0, 40)}`,
    )
  }
  const long = 'x'.repeat(200_000)
  const body = `{"messages":["${long}"],"model":"any"}`
  const agent = net.connect(agents.port, '127.0.0.1')
  const lines = ['POST /v1/messages HTTP/1.1', 'host: 127.0.0.1', 'connection: close']
  agent.write(`${lines.join('\r\n')}\r\ncontent-length: ${body.length}\r\n\r\n`)
  agent.write(body.slice(0, 100_000))
  await first.promise
  agent.write(body.slice(100_000))
  const heard = await text(agent)
  assert.match(heard, /true \{"model":"the-model","messages":\["x+$/)
})

test('events reach the agent one by one, not at the end', async () => {
  const agentHasFirst = Promise.withResolvers<void>()
  answer = async (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
    // The second is held back until the first was seen by the agent.
    await agentHasFirst.promise
    response.end('data: 2\n\n')
  }
  const session = await agents.openSession()
  const stream = session.request({ ':method': 'POST', ':path': '/v1/messages' })
  stream.end('{"model":"any","stream":true}')
  const [first] = await once(stream, 'data')
  assert.equal(String(first), 'data: 1\n\n')
  agentHasFirst.resolve()
  assert.equal(await text(stream), 'data: 2\n\n')
  session.close()
})

test('a vendor that breaks off leaves the agent an error event and a broken stream', async () => {
  answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n', () => response.destroy())
  }
  for (const { version, code } of [
    { version: '--http2', code: 92 },
    { version: '--http1.1', code: 18 },
  ]) {
    const broken = await agents.throughProxy(version, ...MESSAGE, MESSAGES_URL)
    assert.equal(broken.code, code, broken.stderr)
    assert.match(broken.stdout, /^data: 1\n+event: error\n/)
  }
})

test('an agent that leaves cancels its request at the vendor', async () => {
  const { promise: cancelled, resolve } = Promise.withResolvers<void>()
  answer = (_, response) => {
    response.on('close', resolve)
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
  }
  const session = await agents.openSession()
  const stream = session.request({ ':method': 'POST', ':path': '/v1/messages' })
  stream.end('{"model":"any","stream":true}')
  await once(stream, 'data')
  session.destroy()
  await cancelled
})

test('64 streams run at once, keep their token across a new one, and reuse connections', async () => {
  const seen: string[] = []
  const all = Promise.withResolvers<void>()
  const mayEnd = Promise.withResolvers<void>()
  answer = async (request, response) => {
    seen.push(request.headers.authorization ?? '')
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
    if (seen.length === 64) all.resolve()
    await mayEnd.promise
    response.end('data: 2\n\n')
  }
  const session = await agents.openSession()
  const send = async (): Promise<string> => {
    const stream = session.request({ ':method': 'POST', ':path': '/v1/messages' })
    stream.end('{"model":"any"}')
    return text(stream)
  }
  const streams = Array.from({ length: 64 }, send)
  await all.promise
  serveToken('two', 2)
  mayEnd.resolve()
  assert.deepEqual(new Set(await Promise.all(streams)), new Set(['data: 1\n\ndata: 2\n\n']))
  const connectionsBefore = connections
  await send()
  assert.equal(connections, connectionsBefore)
  assert.deepEqual(seen, [...Array.from({ length: 64 }, () => 'Bearer one'), 'Bearer two'])
  session.close()
})

test("Node's own fetch finds its way by the environment alone", async () => {
  answer = (_, response) => response.end('from the vendor')
  const script = `fetch(${JSON.stringify(MESSAGES_URL)}, { method: 'POST', body: '{"model":"m"}' })
    .then(answer => answer.text()).then(text => process.stdout.write(text))`
  const env = {
    HTTPS_PROXY: `http://127.0.0.1:${agents.port}`,
    NODE_USE_ENV_PROXY: '1',
    NODE_EXTRA_CA_CERTS: agents.caFile,
  }
  const child = spawn(process.execPath, ['-e', script], { env })
  assert.equal(await text(child.stdout), 'from the vendor')
})

test('plain HTTP to the port takes the same way', async () => {
  answer = (_, response) => response.end('from the vendor')
  const url = `http://127.0.0.1:${agents.port}/v1/messages`
  assert.equal((await agents.curl(...MESSAGE, url)).stdout, 'from the vendor')
})

test('an agent without the authority is not served', async () => {
  const proxy = `http://127.0.0.1:${agents.port}`
  assert.equal((await agents.curl('-x', proxy, ...MESSAGE, MESSAGES_URL)).code, 60)
})
