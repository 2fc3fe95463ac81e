// Goal: two gateways over one store never spend a rotating refresh token twice.
// Method: two refresh tasks over one SQLite file before an authorization server that takes its time and
// revokes the whole family of a refresh token that it sees again; a clock that only the test moves.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { usableToken } from '../../src/core/credential.ts'
import type { ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { oauth2 } from '../../src/providers/oauth2.ts'
import { createRefresher } from '../../src/providers/refresher.ts'
import { createRefreshTask } from '../../src/refresh/task.ts'
import { newCredential } from '../../src/refresh/transition.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { Fetch } from '../../src/system/fetch.ts'
import { silentLog } from '../../src/system/log.ts'
import { aProvider, present } from '../store/records.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { noExecute, noFiles, rulesOf } from '../support/outside.ts'
import { formOf, responseOf } from '../support/scripted-fetch.ts'
import { seededRandom } from '../support/seeded-random.ts'

const LIFE_SECONDS = 60
const TURNOVERS = 12

/** An authorization server with one family of refresh tokens (RFC 9700 §4.14). */
function rotatingServer(clock: FakeClock, fraction: () => number) {
  const seen: string[] = []
  let current = 'refresh-0'
  let isRevoked = false
  const fetch: Fetch = async request => {
    const shown = formOf(request).get('refresh_token') ?? ''
    isRevoked ||= shown !== current
    seen.push(shown)
    const mints = seen.length
    if (!isRevoked) current = `refresh-${mints}`
    const body = isRevoked
      ? { error: 'invalid_grant', error_description: 'Refresh token reuse' }
      : {
          ...{ access_token: `access-${mints}`, token_type: 'Bearer' },
          ...{ expires_in: LIFE_SECONDS, refresh_token: current },
        }
    await clock.sleep(4_000 * fraction(), request.signal)
    return responseOf({ status: isRevoked ? 400 : 200, body })
  }
  return {
    fetch,
    seen,
    get isRevoked() {
      return isRevoked
    },
  }
}

function publicClient(): ProviderRecord {
  return aProvider({
    type: 'oauth2',
    material: new Map([['OAUTH2_REFRESH_TOKEN', new Secret('refresh-0')]]),
    config: new Map([
      ['OAUTH2_TOKEN_URL', 'https://issuer.example/token'],
      ['OAUTH2_BASE_URL', 'https://api.example/v1'],
      ['OAUTH2_CLIENT_ID', 'client'],
      ['OAUTH2_CLIENT_AUTH', 'none'],
    ]),
  })
}

// iron-proxy#141, ultrafuzz#1084, editor-code-assistant/eca#462, jlowin/fastmcp#4264,
// jlowin/fastmcp#4901, HQBase#41, openwork#4441
test('two gateways over one store never race for a rotating refresh token', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'replicas-'))
  const random = seededRandom()
  // A transaction of one store may have to wait for the other's.
  const clock = new FakeClock(1_800_000_000_000, async () => {
    for (let turns = 0; turns < 4; turns += 1) await turn()
  })
  const server = rotatingServer(clock, random.fraction)
  const rules = rulesOf(['issuer.example', 'api.example'])
  const stopping = new AbortController()
  const start = async (owner: string) => {
    const masterKey = new Uint8Array(32).fill(1)
    const store = await openStore({ clock, random, masterKey }, `sqlite:${folder}/gateway.db`)
    const refresher = createRefresher(oauth2, {
      ...{ fetch: server.fetch, clock, random, rules, files: noFiles, execute: noExecute },
    })
    const task = createRefreshTask(
      {
        ...{ store, clock, random, log: silentLog, owner },
        ...{ refresherOf: () => refresher, onOutcome: () => {} },
      },
      { sweepMs: 60_000 },
    )
    return { store, task, run: () => task.run(stopping.signal) }
  }
  const gateways = [await start('gateway-1'), await start('gateway-2')] as const
  const provider = publicClient()
  const [{ store }] = gateways
  const row = newCredential(provider.id, oauth2.tokenKey, clock.nowMs())
  await store.createProvider(provider, [row])
  const running = gateways.map(gateway => gateway.run())
  t.after(async () => {
    stopping.abort()
    await clock.advance(60_000)
    await Promise.all(running)
    for (const gateway of gateways) await gateway.store.close()
    rmSync(folder, { recursive: true })
  })
  const credential = async (of: Store) => present((await of.listCredentials(provider.id))[0])

  await clock.advance(10_000)
  for (let at = 0; at < (TURNOVERS * LIFE_SECONDS) / 2; at += 1) {
    await clock.advance(1_000)
    const rows = await Promise.all(gateways.map(gateway => credential(gateway.store)))
    assert.ok(usableToken(present(rows[0]), clock.nowMs()) !== null, `no token after ${at} s`)
    // Now and then both hear at the same moment that the token was refused.
    if (random.fraction() < 0.1) {
      const reportedAtMs = clock.monotonicMs()
      const forced = gateways.map(async (gateway, index) => {
        const why = { reason: 'rejected', who: 'a router', reportedAtMs } as const
        return gateway.task.force(present(rows[index]), why)
      })
      await clock.advance(5_000)
      await Promise.all(forced)
    }
  }
  assert.ok(server.seen.length >= TURNOVERS / 2, `${server.seen.length} mints`)
  assert.equal(new Set(server.seen).size, server.seen.length, 'a refresh token was spent twice')
  assert.equal(server.isRevoked, false, 'the family was revoked')
  // All that was minted is in use, save one that is on its way.
  assert.ok(server.seen.length - (await credential(store)).generation <= 1)
})
