import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { createAuthority } from '../../src/pki/authority.ts'
import type { AgentRequest, AgentResponse } from '../../src/router/exchange.ts'
import { parseTunnelAllowList } from '../../src/sandbox/destination.ts'
import { WriteRoom } from '../../src/sandbox/http1/write-room.ts'
import { openListener } from '../../src/sandbox/listener.ts'
import { silentLog } from '../../src/system/log.ts'
import { atTurnEnd, realClock } from '../../src/system/real.ts'

/** A router of a few lines, as a test wants it. */
type Serve = (request: AgentRequest, response: AgentResponse) => Promise<void>

/** How a curl ended. */
interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A real agents' port on loopback with a router of the test's own behind it. */
export interface AgentPort extends AsyncDisposable {
  readonly port: number
  readonly caPem: string
  readonly caFile: string
  /** A folder that ends with the port. */
  readonly folder: string
  /** The router; replace it at will. */
  serve: Serve
  /** Runs curl without the environment's proxy settings. */
  curl(...args: readonly string[]): Promise<Ran>
  /** Runs curl with the port as its proxy, trusting the port's authority. */
  throughProxy(...args: readonly string[]): Promise<Ran>
  /** Sends bytes as they are and returns all that comes back. */
  rawly(text: string): Promise<string>
  /** A TLS connection to inference.local through the proxy, HTTP/2 by choice. */
  tunnelled(options?: tls.ConnectionOptions): Promise<tls.TLSSocket>
  /** An HTTP/2 session with inference.local through the proxy. */
  openSession(): Promise<http2.ClientHttp2Session>
}

const clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: async () => {},
}
const random = { fraction: () => 0, bytes: (count: number) => randomBytes(count) }

/** Opens one; its router says what arrived (`echo`) until a test replaces it. */
export async function openAgentPort(allow: readonly string[] = []): Promise<AgentPort> {
  const authority = createAuthority({ clock, random })
  const folder = mkdtempSync(path.join(tmpdir(), 'agent-port-'))
  const caFile = path.join(folder, 'ca.pem')
  writeFileSync(caFile, authority.certPem)
  const listener = await openListener({
    host: '127.0.0.1',
    port: 0,
    allowList: parseTunnelAllowList(allow),
    certificate: authority.issueLeaf('inference.local'),
    serve: (request, response) => agentPort.serve(request, response),
    writeRoom: new WriteRoom(atTurnEnd),
    clock: realClock,
    log: silentLog,
  })
  const { port } = listener
  const agentPort: AgentPort = {
    port,
    caPem: authority.certPem,
    caFile,
    folder,
    serve: echo,
    curl,
    throughProxy: (...args) => curl('-x', `http://127.0.0.1:${port}`, '--cacert', caFile, ...args),
    rawly: text => sendRaw(port, text),
    async tunnelled(options = {}) {
      const socket = net.connect(port, '127.0.0.1')
      socket.write('CONNECT inference.local:443 HTTP/1.1\r\nHost: inference.local:443\r\n\r\n')
      await once(socket, 'data')
      const offer = { servername: 'inference.local', ca: authority.certPem, ALPNProtocols: ['h2'] }
      return tls.connect({ socket, ...offer, ...options })
    },
    async openSession() {
      const socket = await agentPort.tunnelled()
      return http2.connect('https://inference.local', { createConnection: () => socket })
    },
    async [Symbol.asyncDispose]() {
      await listener.close()
      rmSync(folder, { recursive: true })
    },
  }
  return agentPort
}

/** Answers with what arrived, so that a test sees the request as a router would. */
export async function echo(request: AgentRequest, response: AgentResponse): Promise<void> {
  let bytes = 0
  for await (const chunk of request.body) bytes += chunk.byteLength
  const { method, target, headers } = request
  response.start(200, ['content-type', 'application/json', 'X-Twice', 'a', 'X-Twice', 'b'])
  await response.write(Buffer.from(JSON.stringify({ method, target, headers, bytes })))
  await response.end()
}

/** The port that a server listens on. */
export function portOf(server: net.Server): number {
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}

/** The value of a count once it has risen and then stood still for 200 ms. */
export async function settled(count: () => number): Promise<number> {
  let [before, stillFor] = [count(), 0]
  while (stillFor < 10) {
    await new Promise(resolve => setTimeout(resolve, 20))
    const now = count()
    stillFor = now === before && now > 0 ? stillFor + 1 : 0
    before = now
  }
  return before
}

function curl(...args: readonly string[]): Promise<Ran> {
  const { promise, resolve } = Promise.withResolvers<Ran>()
  const env = { PATH: process.env.PATH ?? '' }
  execFile('curl', ['-sS', '-m', '10', ...args], { env }, (error, stdout, stderr) =>
    resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
  )
  return promise
}

async function sendRaw(port: number, text: string): Promise<string> {
  const socket = net.connect(port, '127.0.0.1')
  socket.write(text)
  let answer = ''
  socket.on('data', chunk => {
    answer += chunk
  })
  socket.on('error', () => {})
  await once(socket, 'close')
  return answer
}
