// Goal: the journal keeps the newest calls within its limits, and its sums forget nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createJournal, type JournalOpening } from './journal.ts'

function opening(body: Uint8Array = new Uint8Array()): JournalOpening {
  const place = { vendor: 'vertex', method: 'POST', path: '/x', query: '' }
  return { ...place, atMs: 1, headers: [], tokenId: '', body }
}

test('the last 5,000 calls stay, the sums go on', () => {
  const journal = createJournal()
  for (let count = 0; count < 5_001; count += 1) {
    const id = journal.open(opening())
    journal.answer(id, count % 2 === 0 ? 200 : 401)
    journal.close(id, 'ended')
  }
  const entries = journal.entries()
  assert.deepEqual([entries.length, entries[0]?.id, entries.at(-1)?.id], [5_000, 2, 5_001])
  assert.equal(journal.entry(1), null)
  assert.deepEqual(
    journal.totals().calls.get('vertex'),
    new Map([
      [200, 2_501],
      [401, 2_500],
    ]),
  )
  assert.equal(journal.totals().unauthorized, 2_500)
})

test('a body of 4 MiB is kept, one byte more is only hashed', () => {
  const journal = createJournal()
  journal.open(opening(new Uint8Array(4_194_304)))
  journal.open(opening(new Uint8Array(4_194_305)))
  const [kept, hashed] = journal.entries()
  assert.equal(kept?.body?.byteLength, 4_194_304)
  assert.deepEqual([hashed?.body, hashed?.bodyBytes], [null, 4_194_305])
  assert.match(hashed?.bodySha256 ?? '', /^[0-9a-f]{64}$/)
})

test('beyond 256 MiB the oldest bodies go first', () => {
  const journal = createJournal()
  const body = new Uint8Array(4_194_304)
  for (let count = 0; count < 65; count += 1) journal.open(opening(body))
  const isKept = journal.entries().map(entry => entry.body !== null)
  assert.deepEqual([isKept[0], isKept[1], isKept.length], [false, true, 65])
})
