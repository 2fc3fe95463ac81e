// Goal: every way in that an agent may take, and every door that stays shut. Method: a real listener
// on loopback, a router made of a few lines, and curl and raw sockets before it.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { type AgentPort, echo, openAgentPort } from '../../test/support/agent-port.ts'
import { silentLog } from '../system/log.ts'
import { atTurnEnd, realClock } from '../system/real.ts'
import { WriteRoom } from './http1/write-room.ts'
import { openListener } from './listener.ts'

let agents: AgentPort

before(async () => {
  agents = await openAgentPort()
})

after(() => agents[Symbol.asyncDispose]())

const WAYS_IN = [
  {
    name: 'HTTP/2 by CONNECT',
    args: ['--http2', 'https://inference.local/v1/m?x=1'],
    version: '2',
  },
  {
    name: 'HTTP/1.1 by CONNECT',
    args: ['--http1.1', 'https://inference.local/v1/m?x=1'],
    version: '1.1',
  },
  { name: 'an absolute-form request', args: ['http://inference.local/v1/m?x=1'], version: '1.1' },
  {
    name: 'plain HTTP by CONNECT',
    args: ['-p', 'http://inference.local/v1/m?x=1'],
    version: '1.1',
  },
] as const

for (const { name, args, version } of WAYS_IN) {
  test(`${name} reaches the router with the request as sent`, async () => {
    agents.serve = echo
    const body = 'x'.repeat(300_000)
    const file = path.join(agents.folder, 'body')
    writeFileSync(file, body)
    const write = ['-w', '\n%{http_version}', '--data-binary', `@${file}`, '-H', 'X-Api-Key: k']
    const { stdout, stderr } = await agents.throughProxy(...write, ...args)
    const [json = '', seenVersion] = stdout.split('\n')
    assert.notEqual(json, '', stderr)
    const seen = JSON.parse(json)
    assert.equal(seen.method, 'POST')
    assert.equal(seen.target, '/v1/m?x=1')
    assert.equal(seen.bytes, body.length)
    assert.ok(seen.headers.includes('inference.local'))
    assert.ok(seen.headers.some((part: string) => part.toLowerCase() === 'x-api-key'))
    assert.equal(seenVersion, version)
  })
}

test('plain requests to the port itself reach the router', async () => {
  agents.serve = echo
  for (const host of ['127.0.0.1', 'localhost']) {
    const { stdout } = await agents.curl(
      '--noproxy',
      '*',
      `http://${host}:${agents.port}/v1/models`,
    )
    assert.equal(JSON.parse(stdout).target, '/v1/models')
  }
})

test('repeated answer headers keep their order and their number', async () => {
  agents.serve = echo
  for (const version of ['--http2', '--http1.1']) {
    const { stdout } = await agents.throughProxy(version, '-i', 'https://inference.local/v1/models')
    assert.deepEqual(
      stdout.match(/^x-twice: \w/gim)?.map(line => line.at(-1)),
      ['a', 'b'],
    )
  }
})

test('an Expect: 100-continue is answered on both protocols', async () => {
  agents.serve = echo
  for (const version of ['--http2', '--http1.1']) {
    const expect = ['-H', 'Expect: 100-continue', '--expect100-timeout', '9', '-d', 'abc']
    const { stdout } = await agents.throughProxy(version, ...expect, 'https://inference.local/v1/m')
    assert.equal(JSON.parse(stdout).bytes, 3)
  }
})

for (const { name, args, status, code } of [
  {
    name: 'a CONNECT to a host not allowed',
    args: ['https://api.example.com/'],
    status: 403,
    code: 'host_forbidden',
  },
  {
    name: 'a CONNECT to another port of inference.local',
    args: ['https://inference.local:444/'],
    status: 403,
    code: 'host_forbidden',
  },
  {
    name: 'a CONNECT to an address not allowed',
    args: ['https://169.254.169.254/'],
    status: 403,
    code: 'host_forbidden',
  },
  {
    name: 'an absolute-form request elsewhere',
    args: ['http://example.com/'],
    status: 403,
    code: 'host_forbidden',
  },
  {
    name: 'an absolute-form request to another port of this machine',
    args: ['http://127.0.0.1:9/'],
    status: 403,
    code: 'host_forbidden',
  },
] as const) {
  test(`${name} is refused with ${status}`, async () => {
    const { stdout, stderr } = await agents.throughProxy('-i', ...args)
    const answer = stdout + stderr
    assert.match(answer, new RegExp(`HTTP/1.1 ${status}|response ${status}`))
    if (stdout !== '') assert.match(stdout, new RegExp(`^x-openshell-error: ${code}`, 'im'))
  })
}

for (const { name, request, expected } of [
  {
    name: 'another Host',
    request: 'GET /v1/models HTTP/1.1\r\nHost: evil.example:80\r\nConnection: close\r\n\r\n',
    expected: /^HTTP\/1.1 403 [\s\S]*host_forbidden/,
  },
  {
    name: 'no Host',
    request: 'GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'two Hosts',
    request: 'GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'both framings',
    request:
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'two lengths',
    request:
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'a folded line',
    request: 'GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'a head beyond 32 KiB',
    request: `GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ${'a'.repeat(33_000)}\r\n\r\n`,
    expected: /^HTTP\/1.1 431 /,
  },
  {
    name: '101 header fields',
    request: `GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${'A: b\r\n'.repeat(99)}\r\n`,
    expected: /^HTTP\/1.1 431 [\s\S]*too_many_headers/,
  },
  {
    name: 'a WebSocket upgrade',
    request:
      'GET /v1/responses HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    expected: /^HTTP\/1.1 426 [\s\S]*upgrade_unsupported/,
  },
  {
    name: 'a CONNECT without a port',
    request: 'CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
  {
    name: 'a target that is no URL',
    request: 'GET nonsense HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    expected: /^HTTP\/1.1 400 /,
  },
]) {
  test(`a request with ${name} is refused`, async () => {
    agents.serve = echo
    assert.match(await agents.rawly(request), expected)
  })
}

test('exactly 100 header fields and a head below 32 KiB pass', async () => {
  agents.serve = echo
  const head = `GET /v1/m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${'A: b\r\n'.repeat(97)}`
  assert.match(await agents.rawly(`${head}X: ${'a'.repeat(31_000)}\r\n\r\n`), /^HTTP\/1.1 200 /)
})

test('an upgrade to h2c is ignored, not refused', async () => {
  agents.serve = echo
  const upgrade =
    'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n'
  assert.match(
    await agents.rawly(`GET /v1/m HTTP/1.1\r\nHost: localhost\r\n${upgrade}\r\n`),
    /^HTTP\/1.1 200 /,
  )
})

test('a taken port is said in words', async () => {
  const options = {
    host: '127.0.0.1',
    port: agents.port,
    allowList: new Set<string>(),
    serve: echo,
    writeRoom: new WriteRoom(atTurnEnd),
  }
  const certificate = { certPem: '', keyPem: '' }
  const opening = openListener({ ...options, certificate, clock: realClock, log: silentLog })
  await assert.rejects(opening, { code: 'port_taken' })
})
