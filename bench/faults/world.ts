import { startLab } from '../../src/lab/lab.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { silentLog } from '../../src/system/log.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import {
  createPlace,
  freePort,
  type Place,
  type Running,
  run,
  start,
} from '../../test/support/programs.ts'
import { keepLedger, type Ledger } from './ledger.ts'

/** A lab, and the record of all that it saw. */
export interface Vendor {
  readonly lab: Lab
  readonly ledger: Ledger
}

/** A router of the release that serves. */
interface Router {
  readonly program: Running
  readonly baseUrl: string
}

/** The released programs of one scenario, in a place of their own. */
export interface World extends AsyncDisposable {
  readonly place: Place
  /** The lab that most scenarios need. */
  readonly vendor: Vendor
  /** Starts another lab, with a host of its own; the gateway must be started after it. */
  addVendor(tokenLifetimeMs: number): Promise<Vendor>
  /** Starts a gateway, without waiting for it. */
  spawnGateway(): Running
  /** Starts a gateway and waits until it serves. */
  startGateway(): Promise<Running>
  /**
   * Runs a command to its end; answers what it wrote.
   *
   * @throws Error with its words when it fails.
   */
  command(args: readonly string[], environment?: Readonly<Record<string, string>>): Promise<string>
  startRouter(name: string, workspace?: string): Promise<Router>
  /** Commands and routers have this in their environment from now on. */
  use(environment: Readonly<Record<string, string>>): void
}

/** Makes a world with one lab and no program yet. */
export async function createWorld(tokenLifetimeMs: number): Promise<World> {
  const place = createPlace()
  const listen = `127.0.0.1:${await freePort()}`
  let environment: Readonly<Record<string, string>> = {
    OPENSHELL_GATEWAY_ENDPOINT: `http://${listen}`,
  }
  const vendors: Vendor[] = []
  const programs: Running[] = []

  const addVendor = async (lifetimeMs: number): Promise<Vendor> => {
    const lab = await startLab(
      { clock: realClock, random: realRandom, log: silentLog },
      { listen: { host: '127.0.0.1', port: 0 }, tokenLifetimeMs: lifetimeMs },
    )
    const vendor = { lab, ledger: keepLedger(lab) }
    vendors.push(vendor)
    return vendor
  }
  const spawnGateway = (): Running => {
    const gateway = start(place, [
      ...['gateway', 'start', '--listen', listen, '--log-format', 'json'],
      ...vendors.flatMap(({ lab }) => ['--allow-endpoint', new URL(lab.origin).host]),
    ])
    programs.push(gateway)
    return gateway
  }

  return {
    ...{ place, vendor: await addVendor(tokenLifetimeMs), addVendor, spawnGateway },
    async startGateway() {
      const gateway = spawnGateway()
      await gateway.line('gateway.started')
      return gateway
    },
    async command(args, more = {}) {
      const { code, stdout, stderr } = await run(place, args, { ...environment, ...more })
      if (code !== 0) throw new Error(`openshell ${args.join(' ')}: ${stderr}`)
      return stdout
    },
    async startRouter(name, workspace = 'default') {
      const command = ['sandbox', 'serve', '--workspace', workspace, '--name', name, '-o', 'json']
      const program = start(place, command, environment)
      programs.push(program)
      const { baseUrl } = JSON.parse(await program.line('"proxyUrl"'))
      return { program, baseUrl: String(baseUrl) }
    },
    use(more) {
      environment = { ...environment, ...more }
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs) {
        // One that a failed scenario left stopped could not hear that it shall end.
        program.signal('SIGCONT')
        await program.stop('SIGKILL')
      }
      for (const { lab, ledger } of vendors) {
        ledger.close()
        await lab.close()
      }
      place.remove()
    },
  }
}
