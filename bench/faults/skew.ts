// The vendor's clock is ten minutes off, this way and that, and right again.
import type { JournalEntry } from '../../src/lab/journal.ts'
import { failuresOf, startLoad } from './load.ts'
import { addApplication, addClient, addServiceAccount, setRoute } from './providers.ts'
import { atMost, exactly, type Row, type RunOptions, type Scenario, sleep } from './scenario.ts'
import { createWorld } from './world.ts'

const LIFETIME_MS = 6_000
const PER_SECOND = 10
const TOKEN_ENDPOINTS = ['google.token', 'entra.token', 'oauth2.token']
const OFFSETS = ['10m', '-10m', '']
const EMAIL = 'steady@demo-project.iam.gserviceaccount.com'

/** The scenario, in one variant. */
export const skew: Scenario = {
  name: 'skew',
  isAlone: false,
  async run(options) {
    return [await runOpenshell(options)]
  },
}

async function runOpenshell({ isQuick }: RunOptions): Promise<Row> {
  const spanMs = isQuick ? 7_000 : 15_000
  await using world = await createWorld(LIFETIME_MS)
  const { lab, ledger } = world.vendor
  await world.startGateway()
  const place = { world, name: 'assertion-google' }
  await addServiceAccount(place, EMAIL)
  await addApplication({ world, name: 'assertion-entra' }, 'certificate')
  await addClient({ world, name: 'assertion-oauth2' }, { method: 'private_key_jwt' })
  await addClient({ world, name: 'client-credentials' })
  await setRoute(place, 'claude-3-7-sonnet')
  const { baseUrl } = await world.startRouter('agent')
  const load = startLoad({ baseUrl, dialect: 'anthropic' }, PER_SECOND)
  await sleep(LIFETIME_MS / 2)
  const startedAtMs = Date.now()
  for (const [at, offset] of OFFSETS.entries()) {
    lab.faults.clear()
    if (offset !== '') {
      lab.faults.set(TOKEN_ENDPOINTS.map(one => `${one} clock_offset=${offset}`).join('\n'))
    }
    // Added now, so that what was learnt about this host is of use or in the way.
    await addServiceAccount(
      { world, name: `added-${at + 1}` },
      `added-${at + 1}@${EMAIL.split('@')[1]}`,
    )
    await sleep(spanMs)
  }
  const asked = await load.stop()
  const failed = failuresOf(asked)
  const calls = ledger.tokenCalls().filter(({ atMs }) => atMs >= startedAtMs)
  const refused = calls.filter(({ status }) => status >= 400)
  const refusedMax = OFFSETS.length * 4 + OFFSETS.length
  const gapMs = longestGapMs(lab.tokens().filter(({ subject }) => subject === EMAIL))
  return {
    ...{ variant: '', system: 'openshell', requests: asked.length, failed: failed.length },
    ...{ mints: ledger.mintsSince(startedAtMs), deadTokens: ledger.deadTokens().length },
    backMs: null,
    note: `${OFFSETS.length} steps of the clock; refused: ${counted(refused) || 'none'}`,
    demands: [
      exactly('requests that failed', failed.length, 0),
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      atMost('assertions refused, one for each provider and step', refused.length, refusedMax),
      atMost('longest pause between two mints of one provider', gapMs, LIFETIME_MS * 0.6, ' ms'),
    ],
  }
}

function longestGapMs(tokens: readonly { readonly issuedAtMs: number }[]): number {
  const gaps = tokens
    .slice(1)
    .map(({ issuedAtMs }, at) => issuedAtMs - (tokens[at]?.issuedAtMs ?? 0))
  return Math.max(...gaps)
}

function counted(calls: readonly JournalEntry[]): string {
  return Object.entries(Object.groupBy(calls, ({ vendor }) => vendor))
    .map(([vendor, group = []]) => `${group.length} × ${vendor}`)
    .join(', ')
}
