// How long the released program takes to start, as a ratio to an empty Node, in one run with the
// commands in turn, and what gateway and router hold in memory at rest. `npm run bench -- start`
import { spawnSync } from 'node:child_process'
import { createPlace, executable, freePort, start } from '../test/support/programs.ts'
import { pause, residentKb } from './harness/processes.ts'
import { publish } from './harness/report.ts'

const ROUNDS = 25
const WARMUP = 3
/** A program that has just started is not at rest. */
const SETTLE_MS = 10_000

const place = createPlace()
const port = await freePort()
const endpoint = `http://127.0.0.1:${port}`
const gateway = start(place, [
  ...['gateway', 'start', '--listen', `127.0.0.1:${port}`, '--log-format', 'json'],
])
await gateway.line('gateway.started')

const commands: Readonly<Record<string, readonly string[]>> = {
  'node -e 0': ['-e', '0'],
  'openshell --version': [executable, '--version'],
  'openshell --help': [executable, '--help'],
  'openshell provider list': [executable, 'provider', 'list', '--gateway-endpoint', endpoint],
  'openshell sandbox run -- true': [
    ...[executable, 'sandbox', 'run', '--gateway-endpoint', endpoint, '--', 'true'],
  ],
}

function timeMs(args: readonly string[]): number {
  const startedMs = performance.now()
  const { status, stderr } = spawnSync(process.execPath, args, { env: place.environment })
  if (status !== 0) throw new Error(`${args.join(' ')}: ${stderr}`)
  return performance.now() - startedMs
}

const times = new Map(Object.keys(commands).map(name => [name, [] as number[]]))
for (let round = 0; round < ROUNDS + WARMUP; round++) {
  for (const [name, args] of Object.entries(commands)) {
    const ms = timeMs(args)
    if (round >= WARMUP) times.get(name)?.push(ms)
  }
}
await gateway.stop()
place.remove()

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
const base = median(times.get('node -e 0') ?? [])
const rest = await restingMb()
const medianOf = (command: string) => median(times.get(command) ?? [])
publish({
  bench: 'start',
  ...{ isQuick: false, rounds: ROUNDS, notes: [] },
  tables: [
    {
      title: 'From start to end, the commands in turn',
      columns: ['command', 'median ms', '× node -e 0'],
      rows: [...times].map(([command, values]) => [command, median(values), median(values) / base]),
    },
    {
      title: `Resident memory ${SETTLE_MS / 1_000} s after the start`,
      columns: ['program', 'MB'],
      rows: [
        ['gateway, one router watching', rest.gateway],
        ['router, before its first request', rest.router],
      ],
    },
  ],
  budgets: [
    {
      ...{ what: '`sandbox run -- true` in all', unit: 'ms', bound: 'at most', limit: 250 },
      value: medianOf('openshell sandbox run -- true'),
    },
    {
      ...{ what: "the router's memory at rest", unit: 'MB', bound: 'at most', limit: 80 },
      value: rest.router,
    },
    {
      ...{ what: "the gateway's memory at rest", unit: 'MB', bound: 'at most', limit: 110 },
      value: rest.gateway,
    },
  ],
})

/** A gateway and a router of their own, that have done nothing yet. */
async function restingMb(): Promise<{ readonly gateway: number; readonly router: number }> {
  const own = createPlace()
  const ownPort = await freePort()
  const environment = { OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${ownPort}` }
  const server = start(own, [
    ...['gateway', 'start', '--listen', `127.0.0.1:${ownPort}`, '--log-format', 'json'],
  ])
  await server.line('gateway.started')
  const router = start(own, ['sandbox', 'serve', '-o', 'json'], environment)
  await router.line('"proxyUrl"')
  await pause(SETTLE_MS)
  const [gatewayKb, routerKb] = [server, router].map(({ process }) => residentKb(process.pid ?? 0))
  await router.stop()
  await server.stop()
  own.remove()
  return { gateway: (gatewayKb ?? 0) / 1_024, router: (routerKb ?? 0) / 1_024 }
}
