// Goal: whatever happens to vendors, networks, machines, disks, databases and clocks, and whatever people
// do, the promises of the credential life hold, for one gateway with a file and for several that share a
// database. Method: the whole system in one process on a virtual clock and one seed; after each event its
// invariants. A fixed set of seeds, and one that each commit brings, so that what it finds can be told
// again of the same commit.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { describeFailure, type Report, scenarioOf, simulate } from './simulate.ts'

const FIXED_SEEDS = Array.from({ length: 40 }, (_, index) => index + 1)

/** How many gateways share a database, from seed to seed; 0 is one with a file of its own. */
const REPLICAS = [0, 3, 1, 5]

/** The machine's own time that the fixed seeds may take; what is not reached is left to longer runs. */
const BUDGET_MS = 25_000
const SEEDS_MIN = 4

test('the invariants hold for the fixed seeds, in which much happens', async t => {
  const startedMs = performance.now()
  const answers = new Map<number, number>()
  let mints = 0
  let count = 0
  for (const seed of FIXED_SEEDS) {
    if (count >= SEEDS_MIN && performance.now() - startedMs > BUDGET_MS) break
    const report = await simulate(scenarioOf(seed, REPLICAS[seed % REPLICAS.length]))
    mustHold(report)
    count += 1
    mints += report.mints
    for (const [status, times] of report.answers)
      answers.set(status, (answers.get(status) ?? 0) + times)
  }
  t.diagnostic(`${count} of ${FIXED_SEEDS.length} seeds, ${mints} mints`)
  assert.ok(mints > 5 * count, `only ${mints} mints`)
  for (const status of [200, 503]) assert.ok((answers.get(status) ?? 0) > count, `few ${status}`)
})

test('the invariants hold for the seed of this commit', async t => {
  const seed = commitSeed()
  t.diagnostic(`seed ${seed}`)
  mustHold(await simulate(scenarioOf(seed)))
})

for (const replicas of [0, 3]) {
  test(`a seed run twice with ${replicas} replicas goes the same way, event by event`, async () => {
    const scenario = scenarioOf(14, replicas)
    const [first, second] = [await simulate(scenario), await simulate(scenario)]
    assert.ok(first.lines > 500, `only ${first.lines} lines`)
    assert.deepEqual([first.hash, first.lines], [second.hash, second.lines])
  })
}

/** Of the commit's hash; outside a checkout, of the time. */
function commitSeed(): number {
  try {
    const hash = execFileSync('git', ['rev-parse', 'HEAD'], { encoding: 'utf8', stdio: 'pipe' })
    return Number.parseInt(hash.slice(0, 7), 16)
  } catch {
    return Date.now() % 1_000_000_000
  }
}

function mustHold(report: Report): void {
  if (report.violation !== null) assert.fail(describeFailure(report))
}
