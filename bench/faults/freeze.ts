// Gateway, router, or both are stopped for longer than a token lives, as a suspended laptop stops them.
import { type Asked, causesOf, failuresOf, startLoad } from './load.ts'
import { addApplication, setRoute } from './providers.ts'
import { atMost, exactly, type Row, type RunOptions, type Scenario, sleep } from './scenario.ts'
import { createWorld } from './world.ts'

const BACK_MS_MAX = 5_000
const PER_SECOND = 10
/** A request waits ten seconds for a token; whoever has waited nearly so long may be failed. */
const WAIT_MS = 9_500
const CUT_MS = 1_000
/** A stopped router's kernel queues a few hundred connections for it, no more. */
const PER_SECOND_MEANWHILE = 2

type Frozen = 'gateway' | 'router' | 'gateway and router'

/** The scenario in its three variants. */
export const freeze: Scenario = {
  name: 'freeze',
  isAlone: false,
  run: options => {
    const variants: readonly Frozen[] = ['gateway', 'router', 'gateway and router']
    return Promise.all(variants.map(frozen => runOpenshell(options, frozen)))
  },
}

async function runOpenshell({ isQuick }: RunOptions, frozen: Frozen): Promise<Row> {
  const lifetimeMs = isQuick ? 6_000 : 20_000
  const stoppedMs = isQuick ? 15_000 : 75_000
  await using world = await createWorld(lifetimeMs)
  const gateway = await world.startGateway()
  const place = { world, name: 'cloud' }
  await addApplication(place, 'secret')
  await setRoute(place, 'gpt-5.5')
  const router = await world.startRouter('agent')
  const programs = [
    ...(frozen === 'router' ? [] : [gateway]),
    ...(frozen === 'gateway' ? [] : [router.program]),
  ]
  const load = startLoad({ baseUrl: router.baseUrl, dialect: 'openai' }, PER_SECOND)
  await sleep(lifetimeMs / 2)
  for (const program of programs) program.signal('SIGSTOP')
  const stoppedAtMs = Date.now()
  load.pace(PER_SECOND_MEANWHILE)
  await sleep(stoppedMs)
  for (const program of programs) program.signal('SIGCONT')
  const resumedAtMs = Date.now()
  load.pace(PER_SECOND)
  await sleep(2 * BACK_MS_MAX)
  const asked = await load.stop()
  const { lab, ledger } = world.vendor
  const failed = failuresOf(asked)
  const late = failed.filter(one => one.sentAtMs > resumedAtMs + BACK_MS_MAX)
  // Whom a stopped router took up only now has not waited yet.
  const waitsFromMs = frozen === 'gateway' ? resumedAtMs - WAIT_MS : stoppedAtMs
  const hasty = failed.filter(one => one.sentAtMs > waitsFromMs && one.doneAtMs >= resumedAtMs)
  // What was half way into a router when it was stopped may be cut by its time limits for a request.
  const isCut = (one: Asked) =>
    one.status === 0 &&
    frozen !== 'gateway' &&
    one.sentAtMs < resumedAtMs &&
    one.sentAtMs > stoppedAtMs - CUT_MS
  const unsaid = failed.filter(
    one => !isCut(one) && (one.status !== 503 || !(Number(one.retryAfter) > 0)),
  )
  const first = ledger.apiCalls().find(({ atMs, status }) => atMs >= resumedAtMs && status === 200)
  const backMs = first === undefined ? Number.POSITIVE_INFINITY : first.atMs - resumedAtMs
  const mints = lab.tokens().filter(({ issuedAtMs }) => issuedAtMs >= resumedAtMs).length
  const mintsMax = 1 + Math.ceil((Date.now() - resumedAtMs) / (lifetimeMs * 0.4))
  return {
    ...{ variant: frozen, system: 'openshell', requests: asked.length, failed: failed.length },
    ...{ mints: lab.counts().mints, deadTokens: ledger.deadTokens().length, backMs },
    note: `token of ${lifetimeMs / 1_000} s, stopped for ${stoppedMs / 1_000} s; ${causesOf(failed)}`,
    demands: [
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      atMost('back after the end', backMs, BACK_MS_MAX, ' ms'),
      exactly('requests that failed later than that', late.length, 0),
      exactly('requests failed while the token was on its way', hasty.length, 0),
      exactly('failures that were no 503 with Retry-After', unsaid.length, 0),
      atMost('mints since the end', mints, mintsMax),
    ],
  }
}
