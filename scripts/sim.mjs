// Simulates the whole system, one seed after the other: `npm run sim -- --seeds 10000`, or one seed
// with everything that happens in it: `npm run sim -- --seed 7 --trace`, or how much a CPU second
// simulates: `npm run sim -- --week`.
import { parseArgs } from 'node:util'
import { calmScenario, describeFailure, scenarioOf, simulate } from '../test/sim/simulate.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string' },
    trace: { type: 'boolean', default: false },
    week: { type: 'boolean', default: false },
  },
})
const onLine = values.trace ? line => console.log(line) : null
const isOne = values.seed !== undefined
const from = Number(values.seed ?? values.from ?? Date.now() % 1_000_000_000)
const count = isOne ? 1 : Number(values.seeds)

const startedMs = performance.now()
let simulatedMs = 0
let mints = 0
let toldMs = startedMs
for (let done = 0; done < count; done += 1) {
  const report = await simulate(scenarioOf(from + done), onLine)
  simulatedMs += report.simulatedMs
  mints += report.mints
  if (report.violation !== null) {
    console.error(describeFailure(report))
    process.exit(1)
  }
  const nowMs = performance.now()
  const isLast = done + 1 === count
  if (!isLast && nowMs - toldMs < 5_000) continue
  toldMs = nowMs
  const perSecond = ((done + 1) / ((nowMs - startedMs) / 1_000)).toFixed(1)
  const hours = (simulatedMs / 3_600_000).toFixed(0)
  const hash = isOne ? `, trace ${report.hash} of ${report.lines} lines` : ''
  console.log(
    `${done + 1} of ${count} seeds from ${from}, ${perSecond} a second, ${hours} simulated hours, ${mints} mints${hash}`,
  )
}
