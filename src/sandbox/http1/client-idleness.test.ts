// Goal: a stream has no limit on its idleness, and its connection has one again behind it. Method: a
// pool whose sockets the test opens, so that it sees their limits.
import assert from 'node:assert/strict'
import net from 'node:net'
import { test } from 'node:test'
import { OK, textOf, Vendor } from '../../../test/support/http1-vendor.ts'
import { atTurnEnd } from '../../system/real.ts'
import { OriginPool } from './origin-pool.ts'
import { ReadRoom } from './read-room.ts'
import { WriteRoom } from './write-room.ts'

const IDLE_MS = 30_000

test('the idle limit of a connection rests while an answer streams', async t => {
  const vendor = await new Vendor(() => `${OK}transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n`).open()
  const request = vendor.request()
  const { host, port } = new URL(request.origin)
  const socket = net.connect(Number(port), '127.0.0.1')
  t.after(() => socket.destroy())
  socket.setTimeout(IDLE_MS)
  const pool = new OriginPool({
    ...{ origin: request.origin, host, isTls: false, room: new WriteRoom(atTurnEnd) },
    readRoom: new ReadRoom(),
    open(receive) {
      socket.on('data', receive)
      return socket
    },
  })
  const answer = await pool.send(request)
  assert.equal(socket.timeout, 0)
  vendor.sockets[0]?.write('0\r\n\r\n')
  assert.equal(await textOf(answer), 'hi')
  assert.equal(socket.timeout, IDLE_MS)
})
