// Goal: the simulation's own ground is firm: time, machines, wires and vendors do what it builds on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Chance } from './chance.ts'
import { Machine } from './machine.ts'
import { Lane, Network } from './network.ts'
import { Schedule } from './schedule.ts'
import { Trace } from './trace.ts'
import { Account } from './vendor-account.ts'
import { Weather } from './weather.ts'

const { signal } = new AbortController()

test('what happens does so in order, and what is cancelled does not', async () => {
  const chance = new Chance(7)
  const schedule = new Schedule()
  const seen: number[] = []
  const kept: number[] = []
  for (let count = 0; count < 500; count += 1) {
    const atMs = chance.whole(1, 300)
    const happening = schedule.at(atMs, () => seen.push(atMs))
    if (chance.happens(0.5)) schedule.cancel(happening)
    else kept.push(atMs)
  }
  await schedule.runUntil(1_000, () => true)
  assert.deepEqual(
    seen,
    kept.sort((one, other) => one - other),
  )
  assert.deepEqual([schedule.size, schedule.nowMs], [0, 1_000])
})

test('the same seed draws the same, and a fork draws its own', () => {
  const draw = (chance: Chance) => Array.from({ length: 20 }, () => chance.whole(0, 1e6))
  assert.deepEqual(draw(new Chance(1)), draw(new Chance(1)))
  assert.notDeepEqual(draw(new Chance(1)), draw(new Chance(2)))
  const [one, other] = [new Chance(3), new Chance(3)]
  draw(one.fork())
  other.fork()
  assert.deepEqual(draw(one), draw(other))
})

test('a machine that is suspended neither wakes nor hears, and its wall clock goes on', async () => {
  const schedule = new Schedule()
  const machine = new Machine(schedule, 'machine')
  const life = machine.boot()
  const startMs = machine.nowMs()
  const seen: string[] = []
  void life.sleep(1_000, signal).then(() => seen.push(`woke at ${schedule.nowMs}`))
  schedule.at(400, () => machine.suspend())
  schedule.at(500, () => machine.receive(() => seen.push(`heard at ${schedule.nowMs}`)))
  schedule.at(10_400, () => machine.resume())
  await schedule.runUntil(20_000, () => true)
  assert.deepEqual(seen, ['heard at 10400', 'woke at 11000'])
  assert.deepEqual([machine.nowMs() - startMs, machine.monotonicMs()], [20_000, 10_000])
})

test('a clock that is stepped moves the wall alone, and one that drifts moves both', async () => {
  const schedule = new Schedule()
  const machine = new Machine(schedule, 'machine')
  const startMs = machine.nowMs()
  machine.step(-5_000)
  machine.drift(1.5)
  await schedule.runUntil(1_000, () => true)
  assert.deepEqual([machine.nowMs() - startMs, machine.monotonicMs()], [-3_500, 1_500])
})

test('of a process that was killed nothing goes on', async () => {
  const schedule = new Schedule()
  const life = new Machine(schedule, 'machine').boot()
  const seen: string[] = []
  void life.sleep(100, signal).then(() => seen.push('woke'))
  void life.while(Promise.resolve()).then(() => seen.push('went on'))
  life.onDeath(() => seen.push('died'))
  life.kill()
  await schedule.runUntil(1_000, () => true)
  assert.deepEqual([seen, life.sleepers], [['died'], 0])
})

test('messages overtake one another, but not in a lane; a cut loses what is under way', async () => {
  const schedule = new Schedule()
  const network = new Network(schedule, new Chance(5))
  const [from, to] = [new Machine(schedule, 'from'), new Machine(schedule, 'to')]
  const lane = new Lane(network, schedule, to)
  const loose: number[] = []
  const strict: number[] = []
  for (let count = 0; count < 50; count += 1) {
    network.send(from, to, () => loose.push(count))
    lane.send(() => strict.push(count))
  }
  await schedule.runUntil(5_000, () => true)
  const sorted = Array.from({ length: 50 }, (_, index) => index)
  assert.deepEqual(strict, sorted)
  assert.notDeepEqual(loose, sorted)
  assert.deepEqual(
    loose.sort((one, other) => one - other),
    sorted,
  )
  network.cut(to, from, 'silent')
  assert.equal(
    network.send(from, to, () => {}),
    'lost',
  )
  network.cut(to, from, 'refused')
  assert.equal(
    network.send(from, to, () => {}),
    'refused',
  )
  network.mend(from, to)
  assert.equal(
    network.send(from, to, () => {}),
    'sent',
  )
})

test('a refresh token that is replayed after its grace takes its family with it', () => {
  const rest = { id: 1, kind: 'family', host: 'host', lifeMs: 60_000, graceMs: 1_000 } as const
  const account = new Account(rest)
  const first = account.refreshToken
  const second = account.spend(first, 0)
  assert.equal(account.spend(first, 1_000), second)
  assert.ok(account.takes(second ?? ''))
  assert.equal(account.spend(first, 1_001), null)
  assert.equal(account.spend(second ?? '', 1_002), null)
  assert.ok(!account.takes(second ?? ''))
  assert.ok(account.takes(account.signIn()))
})

test('calm counts from the end of the last trouble in any of the scopes', () => {
  let nowMs = 0
  const weather = new Weather(() => nowMs)
  weather.begin('a')
  weather.begin('a')
  nowMs = 10
  weather.end('a')
  weather.touch('b')
  nowMs = 30
  assert.equal(weather.calmForMs('a', 'b'), 0)
  weather.end('a')
  nowMs = 50
  assert.deepEqual([weather.calmForMs('a', 'b'), weather.calmForMs('b')], [20, 40])
})

test('a trace keeps its last lines and hashes all of them', () => {
  const [one, other] = [new Trace(() => 0, null), new Trace(() => 0, null)]
  for (let count = 0; count < 1_000; count += 1) {
    one.note(`line ${count}`)
    other.note(`line ${count === 0 ? 'zero' : count}`)
  }
  assert.equal(one.last.at(-1), '0 line 999')
  assert.ok(one.last.length <= 120)
  assert.notEqual(one.hash, other.hash)
})
