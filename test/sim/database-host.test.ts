// Goal: the pretend database fails as real ones do: what it was asked may be done though no answer comes.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../../src/core/errors.ts'
import { Chance } from './chance.ts'
import { DatabaseHost } from './database-host.ts'
import { Machine } from './machine.ts'
import { Network } from './network.ts'
import { Schedule } from './schedule.ts'

function world() {
  const schedule = new Schedule()
  const chance = new Chance(3)
  const network = new Network(schedule, chance)
  const machine = new Machine(schedule, 'database')
  const rest = { machine, network, chance, file: '', note: () => {} }
  const database = new DatabaseHost(rest)
  const gateway = new Machine(schedule, 'gateway')
  const life = gateway.boot()
  const done: string[] = []
  const outcomes: string[] = []
  const ask = (what: string): void => {
    const work = async () => void done.push(what)
    database.ask(life, { work, isWrite: false, about: '', by: 'gateway' }).then(
      () => outcomes.push(`${what} answered`),
      (error: unknown) =>
        outcomes.push(`${what} ${error instanceof AppError ? error.code : error}`),
    )
  }
  const pass = (ms: number) => schedule.runUntil(schedule.nowMs + ms, () => true)
  return { database, network, machine, gateway, life, ask, pass, done, outcomes }
}

test('a question is done and answered; over a cut wire it is neither, and fails', async () => {
  const { network, machine, gateway, ask, pass, done, outcomes } = world()
  ask('one')
  await pass(1_000)
  network.cut(gateway, machine, 'refused')
  ask('two')
  await pass(1_000)
  network.cut(gateway, machine, 'silent')
  ask('three')
  await pass(11_000)
  assert.deepEqual([done, outcomes], [['one'], ['one answered', 'two store_unavailable']])
  await pass(2_000)
  assert.equal(outcomes[2], 'three store_unavailable')
})

test('over a wire that is half open all is done, and nobody hears of it', async () => {
  const { database, gateway, ask, pass, done, outcomes } = world()
  const mend = database.spoilWire(gateway, 'unanswered')
  ask('one')
  await pass(15_000)
  mend()
  ask('two')
  await pass(1_000)
  const heard = ['one store_unavailable', 'two answered']
  assert.deepEqual([done, outcomes], [['one', 'two'], heard])
})

test('what a killed process had asked is done; a database that is away does nothing', async () => {
  const { database, life, ask, pass, done, outcomes } = world()
  database.mood = 'away'
  ask('one')
  await pass(1_000)
  database.mood = 'well'
  ask('two')
  life.kill()
  await pass(20_000)
  assert.deepEqual([done, outcomes], [['two'], ['one store_unavailable']])
})

test('a database that was stopped does afterwards what came meanwhile', async () => {
  const { database, ask, pass, done, outcomes } = world()
  database.suspend()
  ask('one')
  await pass(20_000)
  assert.deepEqual([done, outcomes], [[], ['one store_unavailable']])
  database.resume()
  await pass(1_000)
  assert.deepEqual(done, ['one'])
})
