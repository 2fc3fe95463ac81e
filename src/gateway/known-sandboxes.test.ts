// Goal: a sandbox is remembered no longer than it is there, and as long as nobody can tell. Method: a
// store that is there, away or hangs, and a clock that the test moves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { rememberSandboxes } from './known-sandboxes.ts'

type Mood = 'well' | 'away' | 'hanging'

function world() {
  const clock = new FakeClock()
  const there = new Map<string, SandboxRecord>()
  let mood: Mood = 'well'
  let questions = 0
  const add = (id: string) => there.set(id, { id, workspace: 'w', name: id, createdAtMs: 0 })
  const getSandboxById = async (id: string): Promise<SandboxRecord | null> => {
    questions += 1
    if (mood === 'hanging') await new Promise<never>(() => undefined)
    if (mood === 'away') throw new AppError('store_unavailable', 'Away')
    return there.get(id) ?? null
  }
  return {
    ...{ clock, there, add, known: rememberSandboxes({ store: { getSandboxById }, clock }, 9) },
    asked: () => questions,
    be(to: Mood) {
      mood = to
    },
  }
}

test('a store that is away takes nobody away who was there; who was not stays out', async () => {
  const { clock, add, known, be, asked, there } = world()
  add('s')
  assert.equal((await known.find('s'))?.id, 's')
  be('away')
  await clock.advance(60_000)
  assert.equal((await known.find('s'))?.id, 's')
  const before = asked()
  assert.equal((await known.find('s'))?.id, 's')
  assert.equal(asked(), before, 'not asked again at once')
  await assert.rejects(known.find('stranger'), { code: 'store_unavailable' })
  be('well')
  there.delete('s')
  await clock.advance(1_000)
  assert.equal(await known.find('s'), null)
  assert.equal(await known.find('s'), null)
})

test('a store that hangs is waited for a second', async () => {
  const { clock, add, known, be } = world()
  add('s')
  await known.find('s')
  be('hanging')
  await clock.advance(10_000)
  let found: SandboxRecord | null = null
  const finding = known.find('s').then(sandbox => {
    found = sandbox
  })
  await clock.advance(999)
  assert.equal(found, null)
  await clock.advance(1)
  await finding
  assert.notEqual(found, null)
})

test('what was forgotten is asked for again, all of it when it is not said what', async () => {
  const { add, known, asked, there } = world()
  for (const id of ['one', 'other']) {
    add(id)
    await known.find(id)
  }
  there.clear()
  known.forget('one')
  assert.equal(await known.find('one'), null)
  assert.equal((await known.find('other'))?.id, 'other')
  assert.equal(asked(), 3)
  known.forget(null)
  assert.equal(await known.find('other'), null)
})
