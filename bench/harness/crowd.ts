// Routers that watch a gateway, each on a connection of its own, and when a change is in all of them.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { MeasuredGateway } from './gateway.ts'
import type { Distribution } from './load.ts'
import { OTHER_CORE } from './processes.ts'
import type { Stage } from './stage.ts'

/** Routers on one gateway. */
export interface Crowd {
  /** Resolves when each has its first bundle. */
  connected(): Promise<void>
  /** Resolves when they look out for a text; `arrivals` resolves when it is in all of them. */
  expect(text: string): Promise<{ readonly arrivals: Promise<Distribution> }>
  close(): Promise<void>
}

/** From the call that changed the token to its arrival in a share of the routers. */
export interface Arrivals {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Opens routers on a gateway's port; `tokens` is a file with at least as many, one a line. */
export function openCrowd(
  stage: Stage,
  port: number,
  { routers, tokens }: { readonly routers: number; readonly tokens: string },
): Crowd {
  const words = ['--port', `${port}`, '--routers', `${routers}`, '--tokens', tokens]
  const program: ChildProcessWithoutNullStreams = spawn('taskset', [
    ...['-c', `${OTHER_CORE}`, stage.native('watchers')],
    ...words,
  ])
  let complaint = ''
  program.stderr.setEncoding('utf8').on('data', text => (complaint += text))
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]()
  const line = async (begin: string): Promise<string> => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done === true) throw new Error(`The routers gave up: ${complaint}`)
      if (value.startsWith(begin)) return value
    }
  }
  return {
    async connected() {
      await line('connected')
    },
    async expect(text) {
      program.stdin.write(`expect ${text}\n`)
      await line('expecting')
      const arrivals = line('{').then(told => JSON.parse(told).arrivals)
      return { arrivals }
    },
    async close() {
      program.kill()
    },
  }
}

/** Changes the provider's key at a gateway; answers for each crowd when it had the new one. */
export async function changeToken(
  crowds: readonly Crowd[],
  gateway: Pick<MeasuredGateway, 'changeKey'>,
  key: string,
): Promise<readonly Arrivals[]> {
  const expected = await Promise.all(crowds.map(crowd => crowd.expect(key)))
  // Node's clock here and the routers' are the same, the monotonic one of the kernel.
  const beganNs = Number(process.hrtime.bigint())
  const [told] = await Promise.all([
    Promise.all(expected.map(one => one.arrivals)),
    gateway.changeKey(key),
  ])
  const since = (atNs = Number.NaN) => (atNs - beganNs) / 1e6
  return told.map(({ p50, p99, max }) => ({
    ...{ p50Ms: since(p50), p99Ms: since(p99), maxMs: since(max) },
  }))
}
