// Goal: no token host takes more than its share, and one that is down is asked once in two seconds
// until its first answer lets all go. Method: a clock that only the test moves; each visitor says
// when it starts and ends when it is told to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seed } from '../../test/support/seeded-random.ts'
import { createTokenHosts } from './token-hosts.ts'

const HOST = 'token.example'

/** What the host says: `trouble`, `answer`, or `nothing` when it was not asked after all. */
type Says = 'trouble' | 'answer' | 'nothing'

const TROUBLE = { trouble: true, answer: false, nothing: null } as const

function world() {
  const clock = new FakeClock()
  const changes: string[] = []
  const hosts = createTokenHosts(clock, ({ host, isDown }) => {
    changes.push(`${host} ${isDown ? 'down' : 'back'}`)
  })
  const started: { readonly who: string; readonly atMs: number }[] = []
  const told: string[] = []
  /** Sends a visitor; what comes back ends its work. */
  const visit = (
    who: string,
    {
      host = HOST,
      isPatient = true,
    }: { readonly host?: string; readonly isPatient?: boolean } = {},
  ) => {
    const work = Promise.withResolvers<Says>()
    const done = hosts.run({ host, credential: who, isPatient }, async () => {
      started.push({ who, atMs: clock.monotonicMs() })
      const says = await work.promise
      return { value: `${who} ${says}`, isInTrouble: TROUBLE[says] }
    })
    const outcome = done.then(value => {
      if (value === null) told.push(who)
      return value
    })
    return { end: work.resolve, breaks: work.reject, outcome }
  }
  const settle = () => clock.advance(0)
  /** Lets a visitor come and have its answer at once. */
  const pass = async (who: string, says: Says, more: Parameters<typeof visit>[1] = {}) => {
    const visitor = visit(who, more)
    visitor.end(says)
    await settle()
    return visitor.outcome
  }
  return { clock, hosts, changes, started, told, visit, settle, pass }
}

/** A world whose host is down since now. */
async function downWorld() {
  const built = world()
  for (const who of ['a', 'b', 'c']) await built.pass(who, 'trouble')
  assert.deepEqual(built.hosts.down(), [HOST])
  built.started.length = 0
  return built
}

test('sixteen are at a host at a time, in the order they came; another host has its own sixteen', async () => {
  const { started, visit, settle } = world()
  const visitors = Array.from({ length: 40 }, (_, index) => visit(`v${index}`))
  visit('elsewhere', { host: 'other.example' })
  await settle()
  assert.equal(started.length, 17)
  assert.equal(started.at(-1)?.who, 'elsewhere')
  visitors[7]?.end('answer')
  visitors[3]?.breaks(new Error('broke'))
  await assert.rejects(visitors[3]?.outcome ?? Promise.resolve(), /broke/)
  await settle()
  assert.deepEqual(
    started.slice(17).map(one => one.who),
    ['v16', 'v17'],
  )
  for (const one of visitors.slice(8)) one.end('answer')
  assert.equal(await visitors[39]?.outcome, 'v39 answer')
})

test('three credentials in trouble with no answer between make a host down, fewer do not', async () => {
  const { hosts, changes, pass } = world()
  for (const [who, says] of [
    ['a', 'trouble'],
    ['a', 'trouble'],
    ['a', 'trouble'],
    ['b', 'trouble'],
    ['c', 'answer'],
    ['a', 'trouble'],
    ['b', 'trouble'],
    ['c', 'nothing'],
  ] as const) {
    assert.equal(await pass(who, says), `${who} ${says}`)
    assert.deepEqual(hosts.down(), [])
  }
  await pass('elsewhere', 'trouble', { host: 'other.example' })
  assert.deepEqual(changes, [])
  await pass('c', 'trouble')
  assert.deepEqual([hosts.down(), changes], [[HOST], [`${HOST} down`]])
})

test('an attempt that broke tells nothing of its host', async () => {
  const { hosts, visit } = world()
  for (const who of ['a', 'b', 'c', 'd']) {
    const visitor = visit(who)
    visitor.breaks(new Error('a bug'))
    await assert.rejects(visitor.outcome, /a bug/)
  }
  assert.deepEqual(hosts.down(), [])
})

test('while a host is down one starts every two seconds, whatever the crowd and however it hangs', async () => {
  const { clock, started, visit } = await downWorld()
  for (let index = 0; index < 50; index += 1) visit(`v${index}`)
  await clock.advance(20_000)
  assert.deepEqual(
    started.map(one => one.atMs),
    Array.from({ length: 10 }, (_, index) => (index + 1) * 2_000),
  )
  assert.deepEqual(
    started.map(one => one.who),
    Array.from({ length: 10 }, (_, index) => `v${index}`),
  )
  assert.ok(clock.sleepers <= 1, 'one timer, not one a visitor')
})

test('a probe in trouble does not bring the next one forward', async () => {
  const { clock, started, visit } = await downWorld()
  const visitors = ['a', 'b', 'c', 'd'].map(who => visit(who))
  for (const one of visitors) one.end('trouble')
  await clock.advance(5_999)
  assert.equal(started.length, 2)
  await clock.advance(2_001)
  assert.deepEqual(
    started.map(one => one.atMs),
    [2_000, 4_000, 6_000, 8_000],
  )
})

test('the first answer lets all go at once, sixteen at a time', async () => {
  const { clock, hosts, changes, started, visit, settle } = await downWorld()
  const visitors = Array.from({ length: 30 }, (_, index) => visit(`v${index}`))
  await clock.advance(2_000)
  assert.equal(started.length, 1)
  visitors[0]?.end('answer')
  await settle()
  assert.deepEqual([hosts.down(), changes.at(-1)], [[], `${HOST} back`])
  assert.equal(started.length, 17)
  for (const one of visitors) one.end('answer')
  await settle()
  assert.equal(started.length, 30)
  assert.ok(started.slice(1).every(one => one.atMs === 2_000))
})

test('whoever would rather be told is told, but for one that probes next, before those who failed', async () => {
  const { clock, started, told, visit, settle } = await downWorld()
  const patient = visit('patient')
  const visitors = ['first', 'second', 'third'].map(who => visit(who, { isPatient: false }))
  await settle()
  assert.deepEqual(told, ['second', 'third'])
  assert.equal(await visitors[1]?.outcome, null)
  await clock.advance(2_000)
  assert.deepEqual(
    started.map(one => one.who),
    ['first'],
  )
  visitors[0]?.end('answer')
  await settle()
  assert.equal(started.at(-1)?.who, 'patient')
  patient.end('answer')
  assert.equal(await patient.outcome, 'patient answer')
})

test('whoever stands in line when the host goes down is told then', async () => {
  const { hosts, told, visit, settle } = world()
  const crowd = Array.from({ length: 16 }, (_, index) => visit(`v${index}`))
  const inLine = ['a', 'b', 'c', 'd', 'e'].map(who => visit(who, { isPatient: false }))
  for (const one of crowd.slice(0, 3)) one.end('trouble')
  await settle()
  // Two places fell free before the third trouble; of the rest one stays, to probe next.
  assert.deepEqual([hosts.down(), told], [[HOST], ['d', 'e']])
  for (const one of inLine.slice(0, 2)) one.end('answer')
  await settle()
  inLine[2]?.end('answer')
  assert.equal(await inLine[2]?.outcome, 'c answer')
})

test('a host that is down for one is down for no other', async () => {
  const { pass } = await downWorld()
  assert.equal(await pass('x', 'answer', { host: 'other.example', isPatient: false }), 'x answer')
})

test('a release lets everyone in line go at once, and those who come later, too', async () => {
  const { clock, hosts, started, visit, settle } = await downWorld()
  const visitors = Array.from({ length: 40 }, (_, index) => visit(`v${index}`))
  await settle()
  assert.equal(started.length, 0)
  hosts.release()
  await settle()
  assert.equal(started.length, 40)
  visit('late')
  await settle()
  assert.equal(started.length, 41)
  for (const one of visitors) one.end('nothing')
  await settle()
  assert.equal(clock.sleepers, 0)
})

test('whatever happens, nobody is lost, nobody is early, and the host is asked within its limits', async () => {
  const event = fc.oneof(
    fc.record({ kind: fc.constant('come' as const), isPatient: fc.boolean() }),
    fc.record({
      kind: fc.constant('end' as const),
      at: fc.nat(),
      says: fc.constantFrom<Says>('trouble', 'trouble', 'answer', 'nothing'),
    }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 3_000 }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 120 }), async events => {
      const { clock, hosts, started, told, visit, settle } = world()
      const visitors: (ReturnType<typeof visit> & { readonly who: string })[] = []
      const ended = new Set<string>()
      const busy = () => started.filter(one => !ended.has(one.who)).length
      for (const one of events) {
        const wasDown = hosts.down().length > 0
        const before = started.length
        if (one.kind === 'come') {
          const who = `v${visitors.length}`
          visitors.push({ who, ...visit(who, { isPatient: one.isPatient }) })
        } else if (one.kind === 'end') {
          const running = visitors.filter(
            ({ who }) => started.some(start => start.who === who) && !ended.has(who),
          )
          const chosen = running[one.at % Math.max(1, running.length)]
          if (chosen !== undefined) ended.add(chosen.who)
          chosen?.end(one.says)
        } else await clock.advance(one.ms)
        await settle()
        const fresh = started.slice(before)
        if (wasDown && hosts.down().length > 0) {
          const starts = started.slice(Math.max(0, before - 1)).map(start => start.atMs)
          starts.forEach((atMs, index) => {
            if (index > 0) assert.ok(atMs - (starts[index - 1] ?? 0) >= 2_000)
          })
        } else if (fresh.length > 0) assert.ok(busy() <= 16, `${busy()} at once`)
      }
      // Everyone comes to an end, however it stood.
      const before = ended.size
      for (let turns = 0; turns < 200 && ended.size + told.length < visitors.length; turns += 1) {
        for (const { who, end } of visitors) {
          if (!started.some(start => start.who === who)) continue
          ended.add(who)
          end('answer')
        }
        await clock.advance(2_000)
      }
      assert.equal(ended.size + told.length, visitors.length)
      // Who was only told asked nobody.
      if (ended.size > before) assert.deepEqual(hosts.down(), [])
      assert.equal(new Set(started.map(one => one.who)).size, started.length)
    }),
    { seed, numRuns: 200 },
  )
})
