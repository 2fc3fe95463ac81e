// Goal: whatever happens to vendors, networks, machines, disks and clocks, and whatever people do, the
// promises of the credential life hold. Method: the whole system in one process on a virtual clock and
// one seed; after each event its invariants. A fixed set of seeds, and one that nobody has seen.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describeFailure, scenarioOf, simulate } from './simulate.ts'

const FIXED_SEEDS = Array.from({ length: 24 }, (_, index) => index + 1)

/** The machine's own time that the fixed seeds may take; what is not reached is left to longer runs. */
const BUDGET_MS = 25_000

test('the invariants hold for the fixed seeds', async t => {
  const startedMs = performance.now()
  let count = 0
  for (const seed of FIXED_SEEDS) {
    if (performance.now() - startedMs > BUDGET_MS) break
    const report = await simulate(scenarioOf(seed))
    count += 1
    assert.ok(report.violation === null, describeFailure(report))
  }
  t.diagnostic(`${count} of ${FIXED_SEEDS.length} seeds`)
  assert.ok(count >= 3, `only ${count} seeds in ${BUDGET_MS} ms`)
})

test('the invariants hold for a fresh seed', async t => {
  const seed = Date.now() % 1_000_000_000
  t.diagnostic(`seed ${seed}`)
  const report = await simulate(scenarioOf(seed))
  assert.ok(report.violation === null, describeFailure(report))
})

test('a seed run twice goes the same way, event by event', async () => {
  const [first, second] = [await simulate(scenarioOf(3)), await simulate(scenarioOf(3))]
  assert.ok(first.lines > 500, `only ${first.lines} lines`)
  assert.deepEqual([first.hash, first.lines], [second.hash, second.lines])
})

test('a simulation is no idle one: tokens are minted, refused and used', async () => {
  const { answers, mints } = await simulate(scenarioOf(5))
  assert.ok(mints > 20, `only ${mints} mints`)
  assert.ok((answers.get(200) ?? 0) > 50, `only ${answers.get(200)} good answers`)
  assert.ok((answers.get(503) ?? 0) > 0, 'no request was ever refused')
})
