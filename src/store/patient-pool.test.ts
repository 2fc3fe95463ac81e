// Goal: whoever wants a connection gets one, or is told soon why not. Method: a pretended pool, and a
// clock that the test moves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PostgresPoolClient } from 'kysely'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { patientPool } from './patient-pool.ts'

function world(connectionsMax: number) {
  const clock = new FakeClock()
  let tries = 0
  let isAway = false
  let open = 0
  const newClient = (): PostgresPoolClient =>
    Object.create(null, {
      query: { value: async () => ({ command: 'SELECT', rowCount: 1, rows: [] }) },
      release: {
        value: () => {
          open -= 1
        },
      },
    })
  const pool = patientPool(
    {
      async connect() {
        tries += 1
        if (isAway) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
        open += 1
        return newClient()
      },
      end: async () => {},
    },
    { clock, random: seededRandom(), connectionsMax },
  )
  return {
    ...{ clock, pool },
    tries: () => tries,
    open: () => open,
    away(value: boolean) {
      isAway = value
    },
  }
}

test('no more are out than there may be; the others stand in line, in order, for half a minute', async () => {
  const { clock, pool, open } = world(2)
  const [one, two] = [await pool.connect(), await pool.connect()]
  const came: string[] = []
  const wait = (name: string) =>
    pool.connect().then(client => {
      came.push(name)
      return client
    })
  const [third, fourth] = [wait('third'), wait('fourth')]
  await clock.advance(29_999)
  assert.deepEqual([open(), came], [2, []])
  one.release()
  await third
  assert.deepEqual([open(), came], [2, ['third']])
  const refused = assert.rejects(fourth, /all connections are busy/)
  await clock.advance(1)
  await refused
  two.release()
  await pool.connect()
  assert.deepEqual([open(), came], [2, ['third']], 'whoever left the line takes no place')
})

test('while the server is away one tries at a time, ever more rarely, and no place is lost', async () => {
  const { clock, pool, tries, away } = world(2)
  away(true)
  for (let at = 0; at < 100; at += 1) await assert.rejects(pool.connect(), /ECONNREFUSED/)
  assert.equal(tries(), 1)
  await clock.advance(50)
  await Promise.allSettled([pool.connect(), pool.connect(), pool.connect()])
  assert.equal(tries(), 2)
  for (let at = 0; at < 600; at += 1) {
    await clock.advance(100)
    await assert.rejects(pool.connect(), /ECONNREFUSED/)
  }
  assert.ok(tries() > 50 && tries() < 140, `${tries()} tries in a minute`)
  away(false)
  await clock.advance(1_000)
  const both = [await pool.connect(), await pool.connect()]
  for (const one of both) one.release()
})
