// Goal: each stage of the way to a host is told apart.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { after, before, test } from 'node:test'
import { reachHost } from './reach.ts'

const server = createServer(socket => {
  socket.on('error', () => socket.destroy())
  socket.end('this is no TLS')
})
let host = ''
before(async () => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  host = `127.0.0.1:${address.port}`
})
after(() => server.close())

test('a host that takes connections is reached, by name and by address', async () => {
  for (const origin of [`http://${host}`, `http://${host.replace('127.0.0.1', 'localhost')}`])
    assert.deepEqual(await reachHost(new URL(origin)), { kind: 'reached' })
})

test('a name that means nothing ends at DNS', async () => {
  const reach = await reachHost(new URL('https://nothing.invalid'))
  assert.partialDeepStrictEqual(reach, { kind: 'failed', stage: 'dns' })
})

test('a port that nobody listens on ends at connecting', async () => {
  for (const scheme of ['http', 'https']) {
    const reach = await reachHost(new URL(`${scheme}://127.0.0.1:1`))
    assert.deepEqual(reach, { kind: 'failed', stage: 'connect', reason: 'ECONNREFUSED' })
  }
})

test('a server that speaks no TLS ends there', async () => {
  const reach = await reachHost(new URL(`https://${host}`))
  assert.partialDeepStrictEqual(reach, { kind: 'failed', stage: 'tls' })
})
