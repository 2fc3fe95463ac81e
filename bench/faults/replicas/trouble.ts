import { sleep } from '../scenario.ts'
import type { Cluster, Replica } from './cluster.ts'
import type { PostgresServer } from './postgres-server.ts'

/** Something that was done, and until when. */
export interface Trouble {
  readonly what: string
  /** Whether it kept the database from all gateways. */
  readonly isDatabase: boolean
  readonly fromMs: number
  readonly toMs: number
}

/** How long each kind of trouble lasts. */
const TROUBLE_MS_MIN = 300
const TROUBLE_MS_MAX = 15_000
/** Between two of them; sometimes the next comes before the last has been got over. */
const CALM_MS_MAX = 9_000
const DELAYS_MS = [20, 200, 1_500] as const

type Means = 'killed' | 'stopped' | 'cut' | 'refused' | 'delayed' | 'half open' | 'silent'

const GATEWAY_MEANS: readonly Means[] = [
  ...(['killed', 'killed', 'stopped', 'cut', 'refused', 'delayed', 'half open', 'silent'] as const),
]
const DATABASE_SHARE = 0.25

/**
 * Does trouble at random until the time is up, to one gateway, to its wire or to the database, and
 * mends it; answers what was done.
 */
export async function makeTrouble(
  { replicas }: Cluster,
  database: PostgresServer,
  options: { readonly forMs: number; readonly fraction: () => number },
): Promise<readonly Trouble[]> {
  const { forMs, fraction } = options
  const endsAtMs = Date.now() + forMs
  const troubles: Trouble[] = []
  const pick = <T>(things: readonly T[], first: T): T =>
    things[Math.floor(fraction() * things.length)] ?? first
  while (Date.now() < endsAtMs) {
    await sleep(fraction() * CALM_MS_MAX)
    const spanMs = TROUBLE_MS_MIN * (TROUBLE_MS_MAX / TROUBLE_MS_MIN) ** fraction()
    const fromMs = Date.now()
    const isDatabase = fraction() < DATABASE_SHARE
    const [replica] = replicas
    if (replica === undefined) throw new TypeError('There is no gateway')
    const what = isDatabase
      ? await strikeDatabase(database, { isKilled: fraction() < 0.5, spanMs })
      : await strikeGateway(pick(replicas, replica), {
          means: pick(GATEWAY_MEANS, 'killed'),
          delayMs: pick(DELAYS_MS, 20),
          spanMs,
        })
    troubles.push({ what, isDatabase, fromMs, toMs: Date.now() })
    console.log(`  ${what} for ${Math.round(Date.now() - fromMs)} ms`)
  }
  return troubles
}

async function strikeDatabase(
  database: PostgresServer,
  { isKilled, spanMs }: { readonly isKilled: boolean; readonly spanMs: number },
): Promise<string> {
  database.signal(isKilled ? 'SIGKILL' : 'SIGSTOP')
  await sleep(spanMs)
  if (isKilled) await database.start()
  else database.signal('SIGCONT')
  return `the database was ${isKilled ? 'killed' : 'stopped'}`
}

async function strikeGateway(
  replica: Replica,
  plan: { readonly means: Means; readonly delayMs: number; readonly spanMs: number },
): Promise<string> {
  const { means, delayMs, spanMs } = plan
  const { wire } = replica
  switch (means) {
    case 'killed':
      await replica.program.stop('SIGKILL')
      await sleep(spanMs)
      replica.spawn()
      break
    case 'stopped':
      replica.program.signal('SIGSTOP')
      // Longer than a claim, now and then.
      await sleep(3 * spanMs)
      replica.program.signal('SIGCONT')
      break
    case 'cut':
      wire.cut()
      break
    case 'refused':
      wire.refuse()
      await sleep(spanMs)
      wire.pass()
      break
    case 'delayed':
      wire.delay(delayMs)
      await sleep(spanMs)
      wire.delay(0)
      break
    case 'half open':
      wire.halfOpen()
      break
    case 'silent':
      wire.silence()
      await sleep(spanMs)
      wire.pass()
      break
    default:
      throw new TypeError(`Nobody does ${String(means)}`)
  }
  const where = means === 'killed' || means === 'stopped' ? '' : "'s wire to the database"
  return `${replica.name}${where} was ${means}`
}
