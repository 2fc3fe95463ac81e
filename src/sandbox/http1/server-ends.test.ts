// Goal: how the connections of agents end, by their own fault, by time, or because they leave. Method:
// as in server.test.ts, with a clock that the test moves.
import assert from 'node:assert/strict'
import type { Duplex } from 'node:stream'
import { test } from 'node:test'
import { Agent, answer, answerOk, GET, rest } from '../../../test/support/http1-agent.ts'

test('a body is asked for once the router reads it, and not before', async () => {
  const mayRead = Promise.withResolvers<void>()
  const agent = new Agent(async exchange => {
    await mayRead.promise
    await answerOk(exchange)
  })
  await agent.send(
    'POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n',
  )
  assert.equal(agent.text, '')
  mayRead.resolve()
  await rest()
  assert.equal(agent.text, 'HTTP/1.1 100 Continue\r\n\r\n')
  await agent.send('abc')
  assert.match(agent.text, /Continue\r\n\r\nHTTP\/1\.1 200 OK[\s\S]*\/x$/)
  assert.equal(agent.isEnded, false)
})

test('an agent that waits for 100 and gets an answer instead has its connection ended', async () => {
  const agent = new Agent(exchange => answer(exchange, 'no'))
  await agent.send(
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n',
  )
  assert.match(agent.text, /^HTTP\/1\.1 200 [\s\S]*no$/)
  assert.ok(agent.isEnded)
})

test('what no client should send is answered, behind the answers before it, and ends the connection', async () => {
  const agent = new Agent()
  await agent.send(`${GET}GET / HTTP/1.1\r\nHost : a\r\n\r\n${GET}`)
  assert.equal(agent.served.length, 1)
  assert.match(
    agent.text,
    /^HTTP\/1\.1 200 [\s\S]*\/HTTP\/1\.1 400 Bad Request\r\n[\s\S]*x-openshell-error: bad_request\r\nconnection: close/,
  )
  assert.ok(agent.isEnded)
  await agent.send(GET)
  assert.equal(agent.served.length, 1)
})

test('a body that breaks the grammar reaches its reader as an error, and ends the connection', async () => {
  const agent = new Agent(async exchange => {
    const read: string[] = []
    await assert.rejects(async () => {
      for await (const bytes of exchange.body) read.push(String(bytes))
    }, /chunk/)
    assert.deepEqual(read, ['abc'])
    await answer(exchange, 'sorry')
  })
  const head = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n'
  await agent.send(`${head}3\r\nabc\r\n`, `zz\r\n${GET}`)
  assert.match(agent.text, /Connection: close\r\n\r\nsorry$/)
  assert.equal(agent.served.length, 1)
  assert.ok(agent.isEnded)
})

test('a CONNECT hands the connection over with all that follows', async () => {
  const agent = new Agent()
  await agent.send(`${GET}CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\nnot HTTP`, '\nmore')
  assert.deepEqual(agent.connected, ['b:443', 'not HTTP', '\nmore'])
  agent.server.close()
  assert.equal(agent.isEnded, false)
})

for (const { name, sent, limitMs, expected } of [
  { name: 'no byte at all', sent: [], limitMs: 30_000, expected: /^$/ },
  {
    name: 'half a head',
    sent: ['GET / HT'],
    limitMs: 30_000,
    expected: /^HTTP\/1\.1 408 Request Timeout\r\n/,
  },
  {
    name: 'half a body',
    sent: ['POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na'],
    limitMs: 600_000,
    expected: /^$/,
  },
  { name: 'an answered request', sent: [GET], limitMs: 75_000, expected: /^HTTP\/1\.1 200 / },
] as const) {
  test(`a connection may wait ${limitMs / 1_000} s behind ${name}`, async () => {
    const agent = new Agent(exchange =>
      // A body that never comes to its end is the agent's own trouble.
      answerOk(exchange).catch((error: unknown) => assert.match(String(error), /gone/)),
    )
    await agent.send(...sent)
    await agent.clock.advance(limitMs - 5_000)
    await rest()
    assert.equal(agent.isEnded, false)
    await agent.clock.advance(10_000)
    await rest()
    assert.ok(agent.isEnded || agent.socket.destroyed)
    assert.match(agent.text, expected)
    agent.server.close()
    assert.equal(agent.clock.sleepers, 0)
  })
}

test('a head that trickles in is not granted more time for it, and an answer has no limit', async () => {
  const slow = new Agent()
  for (const byte of 'GET / H') {
    await slow.send(byte)
    await slow.clock.advance(5_000)
  }
  assert.match(slow.text, /^HTTP\/1\.1 408 /)

  const patient = new Agent(() => {})
  await patient.send(GET)
  await patient.clock.advance(86_400_000)
  await rest()
  assert.equal(patient.isEnded, false)
})

for (const [name, leave] of [
  ['closes', (socket: Duplex) => socket.destroy()],
  ['ends its half', (socket: Duplex) => socket.end()],
] as const) {
  test(`an agent that ${name} aborts what is served and nothing else`, async () => {
    const agent = new Agent(exchange =>
      agent.served.length === 1 ? answer(exchange, 'x') : undefined,
    )
    await agent.send(GET, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc')
    const second = agent.served[1]
    assert.ok(second !== undefined)
    assert.equal(second.signal.aborted, false)
    const reading = assert.rejects(async () => {
      for await (const bytes of second.body) assert.equal(String(bytes), 'abc')
    }, /gone/)
    leave(agent.socket)
    await rest()
    await reading
    assert.equal(second.signal.aborted, true)
    second.response.start(200, [])
    await assert.rejects(second.response.write(Buffer.from('x')), /gone/)
    await assert.rejects(second.response.end(), /gone/)
  })
}
