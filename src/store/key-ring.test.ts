import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openKeyRing } from './key-ring.ts'

const NOTHING_ELSE = { leaving: [], emptied: [] }

test('a master key has 32 bytes, and there is at least one', async () => {
  for (const length of [0, 16, 31, 33, 64])
    await assert.rejects(
      openKeyRing(async () => [randomBytes(length)]),
      { code: 'invalid_config', message: `The master key has ${length} bytes, 32 are needed` },
    )
  await assert.rejects(
    openKeyRing(async () => []),
    { code: 'invalid_config' },
  )
})

test('the newest key seals until a database names another', async () => {
  const ring = await openKeyRing(async () => [randomBytes(32), randomBytes(32)])
  const [old = '', fresh = ''] = ring.ids()
  assert.deepEqual([ring.sealing().id, ring.newest().id], [fresh, fresh])
  ring.follow({ sealing: old, ...NOTHING_ELSE })
  assert.deepEqual([ring.sealing().id, ring.newest().id], [old, fresh])
})

test('what the database takes and the ring lacks is named, and changes nothing', async () => {
  const ring = await openKeyRing(async () => [randomBytes(32)])
  const [only = ''] = ring.ids()
  for (const said of [
    { sealing: '01234567', ...NOTHING_ELSE },
    { sealing: only, leaving: ['01234567'], emptied: ['89abcdef'] },
  ]) {
    assert.throws(() => ring.follow(said), { code: 'wrong_master_key', hint: /01234567/ })
    assert.equal(ring.sealing().id, only)
    assert.ok(!ring.isEmptied('89abcdef'))
  }
})

test('keys that are given later are taken up; the one that seals stays until another does', async () => {
  let keys = [randomBytes(32)]
  const ring = await openKeyRing(async () => keys)
  const [old = ''] = ring.ids()
  keys = [randomBytes(32)]
  await ring.reload()
  const [, fresh = ''] = ring.ids()
  assert.deepEqual(ring.ids(), [old, fresh])
  assert.equal(ring.sealing().id, old)
  ring.follow({ sealing: fresh, ...NOTHING_ELSE })
  await ring.reload()
  assert.deepEqual(ring.ids(), [fresh])
  assert.equal(ring.find(old), null)
  keys = []
  await assert.rejects(ring.reload(), { code: 'invalid_config' })
  assert.equal(ring.sealing().id, fresh)
})
