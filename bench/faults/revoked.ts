// The vendor revokes a token while 500 requests with it are in flight, through several routers.
import { type Asked, ask, failuresOf, type Target } from './load.ts'
import { startPortkey } from './portkey.ts'
import { addApplication, setRoute } from './providers.ts'
import { atMost, exactly, type Row, type RunOptions, type Scenario } from './scenario.ts'
import { createWorld, type Vendor } from './world.ts'

/** Nothing falls due meanwhile. */
const LIFETIME_MS = 600_000
const REQUESTS = 500
const ROUTERS = 4

/** Until the last request has arrived, the vendor answers none of them. */
const REFUSAL_DELAY = '1500ms'

/** The scenario, and Portkey beside it. */
export const revoked: Scenario = {
  name: 'revoked',
  isAlone: true,
  async run({ hasPortkey }: RunOptions) {
    const rows = [await runOpenshell()]
    return hasPortkey ? [...rows, await runPortkey()] : rows
  },
}

/** Revokes what is out, then asks through all targets at once. */
async function storm({ lab }: Vendor, targets: readonly Target[]): Promise<readonly Asked[]> {
  for (const target of targets) {
    const { status, text } = await ask(target)
    if (status !== 200) throw new Error(`Before the storm: ${status} ${text}`)
  }
  lab.revokeTokens()
  lab.faults.set(`azure.openai delay=${REFUSAL_DELAY} count=${REQUESTS}`)
  const requests = Array.from({ length: REQUESTS }, (_, at) => {
    const target = targets[at % targets.length]
    return target === undefined ? [] : [ask(target, `request ${at}`)]
  })
  return Promise.all(requests.flat())
}

async function runOpenshell(): Promise<Row> {
  await using world = await createWorld(LIFETIME_MS)
  await world.startGateway()
  const place = { world, name: 'cloud' }
  await addApplication(place, 'secret')
  await setRoute(place, 'gpt-5.5')
  const routers = await Promise.all(
    Array.from({ length: ROUTERS }, (_, at) => world.startRouter(`agent-${at + 1}`)),
  )
  const targets = routers.map(({ baseUrl }): Target => ({ baseUrl, dialect: 'openai' }))
  const { lab, ledger } = world.vendor
  const mintsBefore = lab.counts().mints
  const askedBefore = ledger.tokenCalls().length
  const asked = await storm(world.vendor, targets)
  const failed = failuresOf(asked)
  const mints = lab.counts().mints - mintsBefore
  const calls = ledger.apiCalls().slice(ROUTERS)
  const byBody = Object.values(Object.groupBy(calls, ({ bodySha256 }) => bodySha256))
  const replayedOnce = byBody.filter(
    (group = []) => group.map(({ status }) => status).join() === '401,200',
  )
  const refused = calls.filter(({ status }) => status === 401).length
  return {
    ...{ variant: '', system: 'openshell', requests: asked.length, failed: failed.length, mints },
    ...{ deadTokens: ledger.deadTokens().length, backMs: null },
    note: `${refused} × 401 through ${ROUTERS} routers; slowest ${slowestMs(asked)} ms, of which 1500 the vendor’s`,
    demands: [
      exactly('requests refused by the vendor', refused, REQUESTS),
      exactly('forced mints', mints, 1),
      exactly('calls to the token endpoint', ledger.tokenCalls().length - askedBefore, 1),
      exactly('requests answered', asked.length - failed.length, REQUESTS),
      exactly('requests that arrived as 401, then once more as 200', replayedOnce.length, REQUESTS),
      atMost('calls to the API', calls.length, 2 * REQUESTS),
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
    ],
  }
}

async function runPortkey(): Promise<Row> {
  await using world = await createWorld(LIFETIME_MS)
  await using portkey = await startPortkey(world)
  const { lab, ledger } = world.vendor
  const asked = await storm(world.vendor, [portkey.target])
  const refused = ledger.apiCalls().filter(({ status }) => status === 401).length
  return {
    ...{ variant: '', system: 'portkey', requests: asked.length },
    failed: failuresOf(asked).length,
    // The first was minted for the request before the storm.
    mints: lab.counts().mints - 1,
    ...{ deadTokens: ledger.deadTokens().length, backMs: null },
    note: `${refused} × 401: it mints for every request; slowest ${slowestMs(asked)} ms`,
    demands: [],
  }
}

function slowestMs(asked: readonly Asked[]): number {
  return Math.round(Math.max(...asked.map(({ ms }) => ms)))
}
