import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { portOf } from '../../test/support/agent-port.ts'
import { Secret } from '../core/secret.ts'
import type { LogFields } from './log.ts'
import { createLog, realClock, realFetch, realRandom } from './real.ts'

function logged(fields: LogFields, format: 'json' | 'pretty' = 'json'): string {
  const lines: string[] = []
  const log = createLog({ format, level: 'debug', write: line => lines.push(line) })
  log.warn('thing.happened', fields)
  assert.equal(lines.length, 1)
  return lines[0] ?? ''
}

test('a line is JSON with time, level, event and fields', () => {
  const { time, ...line } = JSON.parse(logged({ provider: 'p', count: 2, none: null }))
  assert.deepEqual(line, {
    level: 'warn',
    event: 'thing.happened',
    provider: 'p',
    count: 2,
    none: null,
  })
  assert.ok(Math.abs(Date.parse(time) - Date.now()) < 10_000)
})

test('no secret prints, however deep, and of an error neither cause nor stack', () => {
  const secret = new Secret('hush')
  const error = Object.assign(new Error('Cannot', { cause: new Error('hush') }), {
    code: 'E1',
    body: 'hush',
  })
  for (const format of ['json', 'pretty'] as const) {
    const line = logged(
      { secret, list: [{ a: { secret } }], map: new Map([['k', secret]]), error },
      format,
    )
    assert.ok(!line.includes('hush') && !line.includes('real.test'), line)
    assert.match(line, /\[secret\]/)
    assert.match(line, /Error: Cannot \(E1\)/)
  }
})

test('lines below the level are not written', () => {
  const lines: string[] = []
  const log = createLog({ format: 'json', level: 'warn', write: line => lines.push(line) })
  log.debug('a.b')
  log.info('a.b')
  log.warn('c.d')
  log.error('e.f')
  assert.deepEqual(
    lines.map(line => JSON.parse(line).event),
    ['c.d', 'e.f'],
  )
})

test('a pretty line is one line, whatever a peer put into it', () => {
  const line = logged(
    { provider: 'p', message: 'two words', n: 3, evil: 'a\n12:00:00 error \u001b[2J' },
    'pretty',
  )
  assert.match(
    line,
    /^\d\d:\d\d:\d\d warn {2}thing\.happened provider=p message=two words n=3 evil="a\\n12/,
  )
  assert.equal(line.indexOf('\n'), line.length - 1)
  assert.ok(!line.includes('\u001b'))
})

test('a sleep ends when it should: after its span, at once when aborted, never before', async () => {
  const { signal } = new AbortController()
  for (const ms of [0, -5, 15]) {
    const startedMs = realClock.monotonicMs()
    await realClock.sleep(ms, signal)
    assert.ok(realClock.monotonicMs() - startedMs >= ms - 2)
  }
  const stop = new AbortController()
  // Longer than a timer can be: uncut, each would end at once.
  const sleeps = [2 ** 31, Number.MAX_SAFE_INTEGER, Infinity].map(async ms => {
    await realClock.sleep(ms, stop.signal)
    return stop.signal.aborted
  })
  await realClock.sleep(20, signal)
  stop.abort()
  assert.deepEqual(await Promise.all(sleeps), [true, true, true])
  await realClock.sleep(1_000_000, stop.signal)
})

test('chance has two faces', () => {
  assert.equal(realRandom.bytes(32).byteLength, 32)
  assert.notDeepEqual(realRandom.bytes(32), realRandom.bytes(32))
  const fraction = realRandom.fraction()
  assert.ok(fraction >= 0 && fraction < 1)
})

async function serve(listener: RequestListener) {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}
const ask = (url: string, signal = new AbortController().signal) =>
  realFetch({
    method: 'POST',
    url,
    headers: new Map([['x-a', 'b']]),
    body: Buffer.from('form'),
    signal,
  })
async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

test('a redirect is an answer, and nobody follows it', async () => {
  const seen: string[] = []
  await using server = await serve((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['x-a']}`)
    response.writeHead(307, { location: '/elsewhere' }).end()
  })
  const answer = await ask(`${server.url}/token`)
  assert.deepEqual([answer.status, answer.headers.get('location')], [307, '/elsewhere'])
  await bytesOf(answer.body)
  assert.deepEqual(seen, ['POST /token b'])
})

test('compressed bytes stay compressed, and none are asked for', async () => {
  const packed = gzipSync('x'.repeat(1_000))
  await using server = await serve((request, response) => {
    assert.equal(request.headers['accept-encoding'], 'identity')
    response.writeHead(200, { 'Content-Encoding': 'gzip', 'X-Twice': ['a', 'b'] }).end(packed)
  })
  const answer = await ask(server.url)
  assert.equal(answer.headers.get('x-twice'), 'a, b')
  assert.deepEqual(await bytesOf(answer.body), packed)
})

test('an abort ends the wait for the head and for the body', async () => {
  await using server = await serve((request, response) => {
    if (request.url === '/body') response.writeHead(200).write('begin')
  })
  for (const path of ['/head', '/body']) {
    const stop = new AbortController()
    const whole = ask(`${server.url}${path}`, stop.signal).then(answer => bytesOf(answer.body))
    setTimeout(() => stop.abort(), 20)
    await assert.rejects(whole, { name: 'AbortError' })
  }
})

test('a port where nobody listens is a rejection', async () => {
  await assert.rejects(ask('http://127.0.0.1:1/'), { code: 'ECONNREFUSED' })
})
