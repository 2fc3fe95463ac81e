// `kill -9` of the gateway at random moments, a hundred times, while tokens of a few seconds turn over.
import type { IssuedToken } from '../../src/lab/tokens.ts'
import { mostSpent } from './family.ts'
import { accountFor, describeAccount } from './kill-account.ts'
import { type Asked, causesOf, failuresOf, type Load, startLoad } from './load.ts'
import { addClient, addServiceAccount, setRoute, signInAgain } from './providers.ts'
import {
  atMost,
  exactly,
  isTrueWithin,
  type Row,
  type RunOptions,
  type Scenario,
  sleep,
} from './scenario.ts'
import { createWorld, type Vendor, type World } from './world.ts'

const LIFETIME_MS = 4_000
const PER_SECOND = 10
/** From the start of one gateway to its end; a start alone takes a third of a second. */
const LIFE_MS_MAX = 1_500
/** The vendor answers so late, so that many kills fall between what it does and what it says. */
const EXCHANGE_MS = 150
/** A router keeps back a token in its last 500 ms, and counts from before the mint left. */
const MARGIN_MS = 800
/** After so many kills a gateway is waited for, and a person signs in again where one must. */
const KILLS_IN_A_ROW = 5
const LAPSE_MS_MAX = 10_000
/** Longer than any claim or backoff: what has not minted by then is lost. */
const PATIENCE_MS = 45_000

const ACCOUNTS = ['one', 'two'].map(name => `${name}@demo-project.iam.gserviceaccount.com`)

/** What the vendor forgives: a lenient one takes a used refresh token once more, a strict one never. */
const GRACE_MS = new Map([
  ['lenient-1', 30_000],
  ['lenient-2', 30_000],
  ['strict-1', 0],
  ['strict-2', 0],
  ['strict-3', 0],
])
/** It serves a workspace of its own. */
const ROUTED_FAMILY = 'lenient-1'

/** The scenario, in one variant. */
export const kills: Scenario = {
  name: 'kills',
  isAlone: true,
  async run(options) {
    return [await runOpenshell(options)]
  },
}

async function runOpenshell({ isQuick, fraction }: RunOptions): Promise<Row> {
  await using world = await createWorld(LIFETIME_MS)
  let gateway = await world.startGateway()
  const clients = await configure(world)
  const { vendor } = world
  const { lab, ledger } = vendor
  lab.faults.set(`oauth2.token delay=${EXCHANGE_MS}ms\ngoogle.token delay=${EXCHANGE_MS}ms`)
  const loads = await startLoads(world)

  const killsAtMs: number[] = []
  let deadStarts = 0
  for (let turn = 1; turn <= (isQuick ? 15 : 100); turn += 1) {
    await sleep(fraction() * LIFE_MS_MAX)
    if (gateway.process.exitCode !== null) deadStarts += 1
    killsAtMs.push(Date.now())
    await gateway.stop('SIGKILL')
    gateway = world.spawnGateway()
    if (turn % KILLS_IN_A_ROW > 0) continue
    await gateway.line('gateway.started')
    await repair(world, clients)
  }
  const endedAtMs = Date.now()
  const silent = () =>
    [...ACCOUNTS, ...[...clients.values()].map(ids => ids.at(-1) ?? '')].filter(
      one => !issuedTo(vendor, [one]).some(token => token.issuedAtMs >= endedAtMs),
    )
  await isTrueWithin(PATIENCE_MS, async () => {
    await repair(world, clients)
    return silent().length === 0
  })
  const [byAccount = [], byFamily = []] = await Promise.all(loads.map(load => load.stop()))

  const asked = [...byAccount, ...byFamily]
  const unjust = [
    ...unjustified(vendor, failuresOf(byAccount), ACCOUNTS.slice(0, 1)),
    ...unjustified(vendor, failuresOf(byFamily), clients.get(ROUTED_FAMILY) ?? []),
  ]
  const lenient = [...clients].flatMap(([name, ids]) => (GRACE_MS.get(name) === 0 ? [] : ids))
  const account = accountFor(ledger, { killsAtMs, exchangeMs: EXCHANGE_MS, lenient })
  const lapseMs = Math.max(...ACCOUNTS.map(one => longestLapseMs(issuedTo(vendor, [one]))))
  const signIns = [...clients.values()].flat().length - clients.size
  return {
    ...{ variant: '', system: 'openshell', requests: asked.length },
    ...{ failed: failuresOf(asked).length, mints: lab.counts().mints },
    ...{ deadTokens: ledger.deadTokens().length, backMs: null },
    note: `${killsAtMs.length} kills, ${describeAccount(account)}, ${signIns} new sign-ins; ${causesOf(failuresOf(asked))}; lab held up for ${ledger.longestStallMs()} ms`,
    demands: [
      exactly('starts after a kill that failed', deadStarts, 0),
      exactly('providers that never minted again', silent().length, 0),
      atMost('times that one refresh token was spent', mostSpent(ledger), 2),
      exactly('refresh tokens spent twice without a kill in the exchange', account.unexplained, 0),
      exactly('spent after the vendor had refused them', account.afterRefusal, 0),
      exactly('families revoked by a vendor that forgives one repetition', account.lenientLost, 0),
      exactly('requests that failed with a living token in the router', unjust.length, 0),
      atMost(
        'longest time that a service account was without a token',
        lapseMs,
        LAPSE_MS_MAX,
        ' ms',
      ),
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
    ],
  }
}

function placeOf(world: World, name: string) {
  return { world, name, workspace: name === ROUTED_FAMILY ? 'other' : 'default' }
}

/** Adds all providers and both routes; answers each family's client ids, the newest last. */
async function configure(world: World): Promise<Map<string, string[]>> {
  for (const [at, email] of ACCOUNTS.entries()) {
    await addServiceAccount(placeOf(world, `account-${at + 1}`), email)
  }
  await setRoute(placeOf(world, 'account-1'), 'claude-3-7-sonnet')
  await world.command(['workspace', 'create', 'other'])
  const clients = new Map<string, string[]>()
  for (const [name, graceMs] of GRACE_MS) {
    const options = { method: 'post', graceMs, hasRefreshToken: true } as const
    clients.set(name, [await addClient(placeOf(world, name), options)])
  }
  await setRoute(placeOf(world, ROUTED_FAMILY), 'gpt-5.5')
  return clients
}

async function startLoads(world: World): Promise<readonly Load[]> {
  const agent = await world.startRouter('agent')
  const other = await world.startRouter('other-agent', 'other')
  return [
    startLoad({ baseUrl: agent.baseUrl, dialect: 'anthropic' }, PER_SECOND),
    startLoad({ baseUrl: other.baseUrl, dialect: 'openai' }, PER_SECOND),
  ]
}

/** Signs in again where the gateway says that a person must. */
async function repair(world: World, clients: ReadonlyMap<string, string[]>): Promise<void> {
  for (const workspace of ['default', 'other']) {
    const command = ['provider', 'refresh', 'status', '--workspace', workspace, '-o', 'json']
    for (const { provider, state } of JSON.parse(await world.command(command))) {
      const ids = clients.get(provider)
      if (state !== 'failed' || ids === undefined) continue
      const graceMs = GRACE_MS.get(provider) ?? 0
      ids.push(await signInAgain(placeOf(world, provider), { method: 'post', graceMs }))
    }
  }
}

function issuedTo({ lab }: Vendor, subjects: readonly string[]): readonly IssuedToken[] {
  return lab.tokens().filter(({ subject }) => subjects.includes(subject))
}

/**
 * Failures though the router held a token that it could have sent: one that the vendor had seen from
 * it before, and that lived.
 */
function unjustified(
  vendor: Vendor,
  failed: readonly Asked[],
  subjects: readonly string[],
): readonly Asked[] {
  const firstSeen = new Map<string, number>()
  for (const { tokenId, atMs } of vendor.ledger.apiCalls()) {
    if (!firstSeen.has(tokenId)) firstSeen.set(tokenId, atMs)
  }
  const tokens = issuedTo(vendor, subjects).filter(({ isRevoked }) => !isRevoked)
  return failed.filter(({ sentAtMs }) =>
    tokens.some(
      ({ id, expiresAtMs }) =>
        (firstSeen.get(id) ?? Number.POSITIVE_INFINITY) < sentAtMs &&
        sentAtMs < expiresAtMs - MARGIN_MS,
    ),
  )
}

function longestLapseMs(tokens: readonly IssuedToken[]): number {
  const lapses = tokens
    .slice(1)
    .map((token, at) => token.issuedAtMs - (tokens[at]?.expiresAtMs ?? 0))
  return Math.max(0, ...lapses)
}
