// The token endpoint is away from before a refresh is due until long after the token's end.
import { failuresOf, isSaidInWords, startLoad, type Target } from './load.ts'
import { startPortkey } from './portkey.ts'
import { addApplication, setRoute } from './providers.ts'
import {
  atMost,
  exactly,
  type Row,
  type RunOptions,
  type Scenario,
  sleep,
  until,
} from './scenario.ts'
import { createWorld, type Vendor, type World } from './world.ts'

/** A router keeps back a token in its last 500 ms, and counts from before the mint left. */
const MARGIN_MS = 800
const BACK_MS_MAX = 3_000
const PER_SECOND = 20

/** How the endpoint is away, as faults of the lab. */
const MODES = {
  'says 503': 'status=503',
  'resets connections': 'reset=before',
  'never answers': 'hang',
} as const

type Mode = keyof typeof MODES

/** The scenario in its three variants, and Portkey in the first. */
export const outage: Scenario = {
  name: 'outage',
  isAlone: false,
  async run(options) {
    const ours = Object.keys(MODES).map(mode => runOpenshell(options, toMode(mode)))
    const portkey = options.hasPortkey ? [runPortkey(options, 'says 503')] : []
    return Promise.all([...ours, ...portkey])
  },
}

function toMode(name: string): Mode {
  if (name === 'resets connections' || name === 'never answers') return name
  return 'says 503'
}

/** An hour's token scaled to seconds: what lasts 30 s of 3600 there lasts longer than that here. */
function spans({ isQuick }: RunOptions) {
  return isQuick
    ? { lifetimeMs: 8_000, afterEndMs: 13_000 }
    : { lifetimeMs: 16_000, afterEndMs: 16_000 }
}

/** What the outage was, and what was asked meanwhile. */
async function suffer(
  vendor: Vendor,
  target: Target,
  options: RunOptions & { readonly mode: Mode },
) {
  const { lab, ledger } = vendor
  const load = startLoad(target, PER_SECOND)
  const known = ledger.mintsSince(0)
  await until('a fresh token', () => ledger.mintsSince(0) > known)
  const endsAtMs = lab.tokens().at(-1)?.expiresAtMs ?? 0
  const beganAtMs = Date.now()
  lab.faults.set(`entra.token ${MODES[options.mode]}`)
  await sleep(endsAtMs + spans(options).afterEndMs - Date.now())
  lab.faults.clear()
  const returnedAtMs = Date.now()
  await sleep(2 * BACK_MS_MAX)
  const asked = await load.stop()
  const first = ledger.apiCalls().find(({ atMs, status }) => atMs >= returnedAtMs && status === 200)
  const backMs = first === undefined ? Number.POSITIVE_INFINITY : first.atMs - returnedAtMs
  return { asked, endsAtMs, beganAtMs, returnedAtMs, backMs }
}

async function runOpenshell(options: RunOptions, mode: Mode): Promise<Row> {
  const { lifetimeMs } = spans(options)
  await using world = await createWorld(lifetimeMs)
  await world.startGateway()
  const place = { world, name: 'cloud' }
  await addApplication(place, 'secret')
  await setRoute(place, 'gpt-5.5')
  const { baseUrl } = await world.startRouter('agent')
  const { ledger } = world.vendor
  const target: Target = { baseUrl, dialect: 'openai' }
  const trouble = await suffer(world.vendor, target, { ...options, mode })
  const { asked, endsAtMs, beganAtMs, returnedAtMs, backMs } = trouble
  const failed = failuresOf(asked)
  const early = failed.filter(one => one.sentAtMs < endsAtMs - MARGIN_MS)
  const late = failed.filter(one => one.doneAtMs > returnedAtMs + BACK_MS_MAX)
  const unsaid = failed.filter(one => !isSaidInWords(one, place.name))
  const tries = ledger
    .tokenCalls()
    .filter(({ atMs }) => atMs >= beganAtMs && atMs < returnedAtMs).length
  const mintsMax = mintsMaxSince(world, returnedAtMs, lifetimeMs)
  return {
    ...{ variant: mode, system: 'openshell', requests: asked.length, failed: failed.length },
    ...{ mints: ledger.mintsSince(beganAtMs), deadTokens: ledger.deadTokens().length, backMs },
    note: `token of ${lifetimeMs / 1_000} s; ${tries} tries while away; lab held up for ${ledger.longestStallMs()} ms`,
    demands: [
      exactly('requests that failed before the token’s end', early.length, 0),
      exactly('requests that failed later than 3 s after the return', late.length, 0),
      atMost('back after the return', backMs, BACK_MS_MAX, ' ms'),
      exactly('failures that were no 503 with provider, reason and Retry-After', unsaid.length, 0),
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      atMost('mints since the return', ledger.mintsSince(returnedAtMs), mintsMax),
    ],
  }
}

/** One that ended the outage, and one for each two fifths of a life since, begun ones included. */
function mintsMaxSince({ vendor }: World, returnedAtMs: number, lifetimeMs: number): number {
  const mints = vendor.lab.tokens().filter(one => one.issuedAtMs >= returnedAtMs)
  const spanMs = (mints.at(-1)?.issuedAtMs ?? 0) - (mints.at(0)?.issuedAtMs ?? 0)
  return 1 + Math.ceil(spanMs / (lifetimeMs * 0.4))
}

async function runPortkey(options: RunOptions, mode: Mode): Promise<Row> {
  const { lifetimeMs } = spans(options)
  await using world = await createWorld(lifetimeMs)
  await using portkey = await startPortkey(world)
  const { ledger } = world.vendor
  const { asked, beganAtMs, backMs } = await suffer(world.vendor, portkey.target, {
    ...options,
    mode,
  })
  return {
    ...{ variant: mode, system: 'portkey', requests: asked.length },
    failed: failuresOf(asked).length,
    ...{ mints: ledger.mintsSince(beganAtMs), deadTokens: ledger.deadTokens().length, backMs },
    note: `sent upstream: ${sentInstead(world)}`,
    demands: [],
  }
}

/** What stood in `Authorization` where no living token of the lab's stood. */
function sentInstead({ vendor }: World): string {
  const sent = vendor.ledger
    .deadTokens()
    .map(({ headers }) => headers.find(([name]) => name === 'authorization')?.[1] ?? 'nothing')
  return [...new Set(sent)].map(one => `"${one}"`).join(', ') || 'living tokens only'
}
