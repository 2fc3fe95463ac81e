// Simulates the whole system, one seed after the other: `npm run sim -- --seeds 10000`, or one seed
// with everything that happens in it: `npm run sim -- --seed 7 --trace`, or a calm week, for the figure
// of how much a CPU second simulates: `npm run sim -- --week`. `--replicas 3` lets so many gateways share
// a database, 0 gives one a file of its own; without it the seed decides.
import { parseArgs } from 'node:util'
import { calmScenario, describeFailure, scenarioOf, simulate } from '../test/sim/simulate.ts'

const HOUR_MS = 3_600_000
const TOLD_EVERY_MS = 5_000

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1000' },
    from: { type: 'string' },
    replicas: { type: 'string' },
    trace: { type: 'boolean', default: false },
    week: { type: 'boolean', default: false },
  },
})
const replicas = values.replicas === undefined ? null : Number(values.replicas)
const onLine = values.trace ? line => console.log(line) : null

if (values.week) await runWeek()
else if (values.seed !== undefined) await runSeeds(Number(values.seed), 1)
else await runSeeds(Number(values.from ?? Date.now() % 1_000_000_000), Number(values.seeds))

async function runSeeds(from, count) {
  const startedMs = performance.now()
  let toldMs = startedMs
  let simulatedMs = 0
  let mints = 0
  for (let done = 1; done <= count; done += 1) {
    const report = await run(scenarioOf(from + done - 1, replicas))
    simulatedMs += report.simulatedMs
    mints += report.mints
    const nowMs = performance.now()
    if (done < count && nowMs - toldMs < TOLD_EVERY_MS) continue
    toldMs = nowMs
    const pace = (done / ((nowMs - startedMs) / 1_000)).toFixed(1)
    const hours = (simulatedMs / HOUR_MS).toFixed(0)
    console.log(
      `${done} of ${count} seeds from ${from}: ${pace} a second, ${hours} hours, ${mints} mints, last trace ${report.hash} of ${report.lines} lines`,
    )
  }
}

async function runWeek() {
  const size = { providers: 10, routers: 10 }
  await run(calmScenario({ ...size, forMs: 12 * HOUR_MS }))
  const before = process.cpuUsage()
  const { mints } = await run(calmScenario({ ...size, forMs: 168 * HOUR_MS }))
  const { user, system } = process.cpuUsage(before)
  const seconds = ((user + system) / 1e6).toFixed(2)
  console.log(`A week of 10 providers and 10 routers, ${mints} mints: ${seconds} CPU seconds`)
}

async function run(scenario) {
  const report = await simulate(scenario, onLine)
  if (report.violation === null) return report
  console.error(describeFailure(report))
  process.exit(1)
}
