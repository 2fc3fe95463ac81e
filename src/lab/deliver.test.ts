// Goal: each fault of the line is what it says on the wire. Method: plain HTTP and raw sockets.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import {
  CLAUDE_PATH,
  claudeCall,
  mintToken,
  type Received,
  send,
  startTestLab,
  type TestLab,
} from '../../test/support/lab.ts'

const STREAM_PATH = `${CLAUDE_PATH}/claude-3-7-sonnet:streamRawPredict`

let testLab: TestLab
let token: string
before(async () => {
  testLab = await startTestLab()
  token = await mintToken(testLab)
})
beforeEach(() => testLab.lab.faults.clear())
after(() => testLab.lab.close())

function stream(script: string, signal?: AbortSignal): Promise<Received> {
  const call = claudeCall(token, { stream: true, messages: [{ role: 'user', content: script }] })
  const sent = signal === undefined ? call : { ...call, signal }
  return send(`${testLab.lab.origin}${STREAM_PATH}`, sent)
}

/** Any call will do where a fault decides alone. */
function call(): Promise<Received> {
  return send(`${testLab.lab.origin}/token`)
}

async function openSocket(): Promise<Socket> {
  const socket = connect(Number(new URL(testLab.lab.origin).port), '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

const lastEntry = () => testLab.lab.journal.entries().at(-1)

/** Waits until the lab has noticed how its last call ended. */
async function lastOutcome(): Promise<string | undefined> {
  while (lastEntry()?.outcome === 'open') await turn()
  return lastEntry()?.outcome
}

test('status, headers and body are as told', async () => {
  const rows: readonly (readonly [string, number, RegExp])[] = [
    ['status=503', 503, /internal_failure/],
    ['status=429', 429, /rate_limit_exceeded/],
    ['status=200 body=<html>', 200, /^<html>$/],
    ['body={"a": 1}', 200, /^\{"a": 1\}$/],
    ['error=invalid_grant', 200, /^\{"error":"invalid_grant",/],
    ['status=400 error=x description=y', 400, /^\{"error":"x","error_description":"y"\}$/],
  ]
  for (const [text, status, body] of rows) {
    testLab.lab.faults.set(`google.token ${text} header='X-A: b' count=1`)
    const received = await call()
    assert.deepEqual([received.status, received.headers['x-a']], [status, 'b'])
    assert.match(received.text, body)
  }
})

test('a fault header takes the place of the usual one', async () => {
  testLab.lab.faults.set("google.token status=500 header='Content-Type: text/plain' age=30")
  const { headers } = await call()
  assert.deepEqual([headers['content-type'], headers.age], ['text/plain', '30'])
})

test('a redirect is 307 unless another status is told', async () => {
  testLab.lab.faults.set('google.token redirect=http://127.0.0.1:9/ count=1')
  testLab.lab.faults.set('google.token redirect=http://127.0.0.1:9/ status=302')
  for (const status of [307, 302]) {
    const received = await call()
    assert.deepEqual([received.status, received.headers.location], [status, 'http://127.0.0.1:9/'])
  }
})

test('a gzip bomb is small on the wire and large beyond it', async () => {
  testLab.lab.faults.set('google.token gzip_bomb=4MiB')
  const { headers, bytes } = await call()
  assert.equal(headers['content-encoding'], 'gzip')
  assert.ok(bytes.byteLength < 10_000)
  assert.equal(gunzipSync(bytes).byteLength, 4_194_304)
})

test('an endless body ends only with the caller', async () => {
  testLab.lab.faults.set('google.token endless')
  const socket = await openSocket()
  socket.write('GET /token HTTP/1.1\r\nHost: lab\r\n\r\n')
  let bytes = 0
  for await (const chunk of socket) {
    bytes += chunk.length
    if (bytes > 1_000_000) break
  }
  socket.destroy()
  assert.equal(await lastOutcome(), 'abandoned')
})

test('Date is the lab’s own clock, and lies when told', async () => {
  assert.equal(Date.parse((await call()).headers.date ?? ''), testLab.clock.nowMs())
  testLab.lab.faults.set('google.token date_offset=-1h')
  const { headers } = await call()
  assert.equal(Date.parse(headers.date ?? ''), testLab.clock.nowMs() - 3_600_000)
})

test('a delay holds the head back', async () => {
  testLab.lab.faults.set('google.token delay=20s')
  const calling = call()
  await testLab.clock.waitForSleepers(1)
  assert.equal(lastEntry()?.status, 0)
  await testLab.clock.advance(20_000)
  assert.equal((await calling).status, 405)
})

test('a hanging call is answered by nothing, until the caller leaves', async () => {
  testLab.lab.faults.set('vertex hang')
  const leaving = new AbortController()
  const calling = stream('hi', leaving.signal)
  while (testLab.lab.faults.list().length === 0 || lastEntry()?.path !== STREAM_PATH) await turn()
  leaving.abort()
  await assert.rejects(calling, { name: 'AbortError' })
  assert.equal(await lastOutcome(), 'abandoned')
  assert.equal(lastEntry()?.status, 0)
})

test('a connection is reset before or after the head', async () => {
  for (const [reset, status] of [
    ['before', 0],
    ['after', 405],
  ] as const) {
    testLab.lab.faults.set(`google.token reset=${reset} count=1`)
    await assert.rejects(call(), { code: 'ECONNRESET' })
    assert.equal(await lastOutcome(), 'broken')
    assert.equal(lastEntry()?.status, status)
  }
})

test('the head of a reset answer arrives first', async () => {
  testLab.lab.faults.set('google.token reset=after')
  const socket = await openSocket()
  socket.write('GET /token HTTP/1.1\r\nHost: lab\r\n\r\n')
  const [head] = await once(socket, 'data')
  assert.match(String(head), /^HTTP\/1\.1 405 /)
  await assert.rejects(once(socket, 'end'), { code: 'ECONNRESET' })
})

test('a truncated body promises more than it holds', async () => {
  testLab.lab.faults.set('google.token truncate=10')
  const socket = await openSocket()
  socket.write('GET /token HTTP/1.1\r\nHost: lab\r\n\r\n')
  const text = Buffer.concat(await socket.toArray()).toString()
  const [, length] = /content-length: (\d+)/.exec(text) ?? []
  assert.ok(Number(length) > 10)
  assert.equal(text.split('\r\n\r\n')[1]?.length, 10)
  await assert.rejects(call(), { code: 'ECONNRESET' })
})

test('bytes drip one by one, in the body or from the head on', async () => {
  for (const [fault, isWaiting] of [
    ['drip=1s body={}', (text: string) => text.endsWith('\r\n\r\n{')],
    ['drip_head=1s body={}', (text: string) => text === 'H'],
  ] as const) {
    testLab.lab.faults.set(`google.token ${fault} count=1`)
    const socket = await openSocket()
    socket.write('GET /token HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n')
    let text = ''
    socket.on('data', chunk => {
      text += chunk
    })
    while (!isWaiting(text)) await once(socket, 'data')
    const ended = once(socket, 'close')
    let isEnded = false
    ended.then(() => {
      isEnded = true
    }, assert.fail)
    while (!isEnded) {
      await testLab.clock.advance(1_000)
    }
    assert.match(text, /^HTTP\/1\.1 200 OK\r\n/)
    assert.match(text, /\r\n\r\n\{\}$/)
  }
})

test('a stream breaks after so many events, without a clean end', async () => {
  testLab.lab.faults.set('vertex break_after=5 count=1')
  await assert.rejects(stream('lab:events=50'), { code: 'ECONNRESET' })
  assert.equal(await lastOutcome(), 'broken')
  assert.equal(testLab.lab.counts().broken > 0, true)
  testLab.lab.faults.set('vertex break_after=5 count=1')
  const socket = await openSocket()
  const { headers = [], body } = claudeCall(token, { stream: true })
  const bytes = JSON.stringify(body)
  socket.write(`POST ${STREAM_PATH} HTTP/1.1\r\nHost: lab\r\nContent-Length: ${bytes.length}\r\n`)
  socket.write(headers.map(([name, value]) => `${name}: ${value}\r\n`).join(''))
  socket.write(`\r\n${bytes}`)
  const text = Buffer.concat(await socket.toArray()).toString()
  assert.equal([...text.matchAll(/^event: /gm)].length, 5)
  assert.ok(!text.includes('\r\n0\r\n'))
})

test('a long stream arrives whole', async () => {
  const { text } = await stream('lab:events=2000,size=500')
  const numbers = [...text.matchAll(/"text":"(\d+) /g)].map(match => Number(match[1]))
  assert.deepEqual(numbers, [...Array(2_000).keys()])
  assert.equal(await lastOutcome(), 'ended')
})

test('who leaves a stream is noticed', async () => {
  const { abandoned } = testLab.lab.counts()
  const leaving = new AbortController()
  const calling = stream('lab:events=100,interval=1s', leaving.signal)
  await testLab.clock.waitForSleepers(1)
  leaving.abort()
  await assert.rejects(calling, { name: 'AbortError' })
  assert.equal(await lastOutcome(), 'abandoned')
  assert.equal(testLab.lab.counts().abandoned, abandoned + 1)
})

test('close ends every connection, also in the middle of a stream', async () => {
  const other = await startTestLab()
  other.lab.faults.set('google.token hang')
  const calling = send(`${other.lab.origin}/token`)
  while (other.lab.journal.entries().length === 0) await turn()
  await Promise.all([other.lab.close(), assert.rejects(calling, { code: 'ECONNRESET' })])
  await assert.rejects(send(`${other.lab.origin}/token`), { code: 'ECONNREFUSED' })
})
