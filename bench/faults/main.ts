// Trouble by force, done to the released programs; the lab's record is the judge.
// `npm run bench -- faults [scenario…] [--quick]`, and SEED=N to repeat a run.
import { parseArgs } from 'node:util'
import { seed, seededRandom } from '../../test/support/seeded-random.ts'
import { publish } from '../harness/report.ts'
import { disk } from './disk.ts'
import { freeze } from './freeze.ts'
import { hang } from './hang.ts'
import { kills } from './kills.ts'
import { outage } from './outage.ts'
import { installPortkey } from './portkey.ts'
import { replicas } from './replicas/replicas.ts'
import { revoked } from './revoked.ts'
import type { Row, RunOptions, Scenario } from './scenario.ts'
import { skew } from './skew.ts'

const SCENARIOS: readonly Scenario[] = [
  ...[kills, outage, revoked, hang, freeze, skew, disk, replicas],
]

type NamedRow = Row & { readonly scenario: string }

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
})
const names = SCENARIOS.map(({ name }) => name)
const unknown = positionals.find(name => !names.includes(name))
if (unknown !== undefined) {
  console.error(`There is no scenario "${unknown}"; there are ${names.join(', ')}`)
  process.exit(2)
}

const options: RunOptions = {
  isQuick: values.quick,
  fraction: seededRandom().fraction,
  hasPortkey: await installPortkey(),
}
const chosen = SCENARIOS.filter(
  ({ name }) => positionals.length === 0 || positionals.includes(name),
)
const isBeside = ({ isAlone }: Scenario) => options.isQuick && !isAlone
const found: (readonly NamedRow[])[] = []
for (const scenario of chosen.filter(one => !isBeside(one))) found.push(await runOne(scenario))
found.push(...(await Promise.all(chosen.filter(isBeside).map(runOne))))
const rows = found.flat()

const demands = rows.flatMap(({ scenario, demands: some }) =>
  some.map(one => ({ ...one, scenario })),
)
publish({
  ...{ bench: 'faults', isQuick: options.isQuick, rounds: 1, budgets: [] },
  tables: [
    {
      title: 'Faults',
      columns: [
        ...['scenario', 'system', 'requests', 'failed', 'mints', 'dead tokens upstream'],
        ...['back after, s', 'demands met'],
      ],
      rows: rows.map(row => [
        ...[row.scenario, row.system],
        // As text, so that counts stay exact.
        ...[row.requests, row.failed, row.mints, row.deadTokens].map(String),
        ...[row.backMs === null ? null : row.backMs / 1_000, verdictOf(row)],
      ]),
    },
    {
      title: 'Demands',
      columns: ['scenario: what is demanded', 'found', ''],
      rows: demands.map(({ scenario, text, found, isMet }) => [
        ...[`${scenario}: ${text}`, found, isMet ? 'met' : 'NOT MET'],
      ]),
    },
  ],
  notes: [`SEED=${seed}`, ...rows.map(row => `${row.scenario}, ${row.system}: ${row.note}`)],
})
process.exitCode = demands.every(({ isMet }) => isMet) ? 0 : 1

/** A scenario that could not be run to its end has failed, and the others go on. */
function brokenOff(error: unknown): readonly Row[] {
  if (!(error instanceof Error)) throw error
  const nothing = { requests: 0, failed: 0, mints: 0, deadTokens: 0, backMs: null }
  const demand = { text: 'runs to its end', isMet: false, found: 'no' }
  const row = { ...nothing, variant: '', note: error.message, demands: [demand] }
  return [{ ...row, system: 'openshell' }]
}

async function runOne({ name, run }: Scenario): Promise<readonly NamedRow[]> {
  const startedMs = performance.now()
  const some = await run(options).catch(brokenOff)
  console.log(`${name}: ${Math.round((performance.now() - startedMs) / 1_000)} s`)
  return some.map(row => ({ ...row, scenario: `${name} ${row.variant}`.trim() }))
}

function verdictOf({ demands: some }: Row): string | null {
  const met = some.filter(({ isMet }) => isMet).length
  return some.length === 0 ? null : `${met} of ${some.length}`
}
