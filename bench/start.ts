// How long the released program takes to start, as a ratio to an empty Node, in one run with the
// commands in turn. `npm run bench -- start`
import { spawnSync } from 'node:child_process'
import { createPlace, executable, freePort, start } from '../test/support/programs.ts'

const ROUNDS = 25
const WARMUP = 3

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
const rows = [...times].map(([command, values]) => ({
  command,
  medianMs: Math.round(median(values) * 10) / 10,
  ratio: Math.round((median(values) / base) * 100) / 100,
}))
console.table(rows)
