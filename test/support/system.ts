import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { startLab } from '../../src/lab/lab.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { silentLog } from '../../src/system/log.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { createPlace, freePort, type Place, type Running, run, start } from './programs.ts'

/** What `sandbox serve -o json` prints. */
export interface RouterAddresses {
  readonly sandbox: string
  readonly proxyUrl: string
  readonly baseUrl: string
  readonly caFile: string
}

/** The released gateway against a lab, in a place of its own. */
export interface System {
  readonly place: Place
  readonly lab: Lab
  readonly gatewayEndpoint: string
  /** The environment that lets commands find the gateway. */
  readonly environment: Readonly<Record<string, string>>
  /** The file with the lab's service-account key. */
  readonly keyFile: string
  /** The running gateway; a new one after a restart. */
  gateway(): Running
  startGateway(): Promise<Running>
  /** Adds the provider `my-vertex` with the two commands of the README, and sets the route. */
  configure(): Promise<void>
  startRouter(
    name: string,
  ): Promise<{ readonly program: Running; readonly addresses: RouterAddresses }>
  close(): Promise<void>
}

/** Starts a lab and a gateway that may reach it. */
export async function startSystem(options: { readonly tokenLifetimeMs: number }): Promise<System> {
  const lab = await startLab(
    { clock: realClock, random: realRandom, log: silentLog },
    { listen: { host: '127.0.0.1', port: 0 }, tokenLifetimeMs: options.tokenLifetimeMs },
  )
  const place = createPlace()
  const keyFile = path.join(place.folder, 'sa.json')
  writeFileSync(keyFile, lab.serviceAccountKey(), { mode: 0o600 })
  const port = await freePort()
  const gatewayEndpoint = `http://127.0.0.1:${port}`
  const environment = { OPENSHELL_GATEWAY_ENDPOINT: gatewayEndpoint }
  const programs: Running[] = []

  const startGateway = async (): Promise<Running> => {
    const host = new URL(lab.origin).host
    const gateway = start(place, [
      ...['gateway', 'start', '--listen', `127.0.0.1:${port}`],
      ...['--allow-endpoint', host, '--log-format', 'json', '--log-level', 'debug'],
    ])
    programs.unshift(gateway)
    await gateway.line('gateway.started')
    return gateway
  }
  await startGateway()

  return {
    ...{ place, lab, gatewayEndpoint, environment, keyFile, startGateway },
    gateway: () => {
      const gateway = programs.find(one => one.process.spawnargs.includes('gateway'))
      if (gateway === undefined) throw new Error('no gateway was started')
      return gateway
    },
    async configure() {
      const commands = [
        [
          ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
          ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
          ...[
            '--config',
            `VERTEX_BASE_URL=${lab.origin}/v1/projects/demo-project/locations/us-east1`,
          ],
        ],
        ['inference', 'set', '--provider', 'my-vertex', '--model', 'claude-3-7-sonnet'],
      ]
      for (const command of commands) {
        const { code, stderr } = await run(place, command, environment)
        if (code !== 0) throw new Error(`${command.join(' ')}: ${stderr}`)
      }
    },
    async startRouter(name) {
      const program = start(place, ['sandbox', 'serve', '--name', name, '-o', 'json'], environment)
      programs.push(program)
      const line = await program.line('"proxyUrl"')
      return { program, addresses: JSON.parse(line) }
    },
    async close() {
      for (const program of programs) await program.stop()
      await lab.close()
      place.remove()
    },
  }
}
