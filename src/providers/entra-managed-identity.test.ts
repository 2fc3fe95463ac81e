// Goal: a machine's identity is asked for as each service wants it, its answers are read however
// they are spelt, and the Arc agent's challenge gives no file away.
// Method: golden requests and scripted answers on a fake disk.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { noExecute } from '../../test/support/outside.ts'
import { type Script, scriptedFetch } from '../../test/support/scripted-fetch.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import type { FailureClass } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { mint } from '../oauth/mint.ts'
import type { TokenAnswer, TokenRequest } from '../oauth/token-request.ts'
import type { Files } from '../system/files.ts'
import { appServiceGrant, arcGrant, IMDS_HOST, imdsGrant } from './entra-managed-identity.ts'

const NOW_MS = Date.UTC(2026, 10, 22, 10)
const RESOURCE = 'https://cognitiveservices.azure.com'
const ARC_URL = new URL('http://127.0.0.1:40342/metadata/identity/oauth2/token')
const KEY_FILE = '/var/opt/azcmagent/tokens/a-1.key'

const wish = { resource: RESOURCE, clientId: '' }
const imds = imdsGrant(new URL(IMDS_HOST), wish)
const appService = appServiceGrant(
  new URL('http://127.0.0.1:41741/msi/token'),
  new Secret('a header'),
  wish,
)

/** A disk on which these files are, and links that lead elsewhere. */
function disk(
  texts: Readonly<Record<string, string>>,
  links: Readonly<Record<string, string>> = {},
): Files {
  const folders = new Set(Object.keys(texts).map(file => file.slice(0, file.lastIndexOf('/'))))
  return {
    async realPath(file) {
      const real = links[file] ?? file
      if (texts[real] !== undefined || folders.has(real)) return real
      throw Object.assign(new Error(`no ${file}`), { code: 'ENOENT' })
    },
    read: async (file, bytesMax) => Buffer.from(texts[file] ?? '').subarray(0, bytesMax),
  }
}

async function mintBy(grant: TokenRequest, script: (index: number) => Script, files = disk({})) {
  const peer = scriptedFetch((_, index) => script(index))
  const deps = {
    ...{ fetch: peer.fetch, clock: new FakeClock(NOW_MS), random: seededRandom() },
    ...{ files, execute: noExecute },
  }
  const signal = new AbortController().signal
  const { result } = await mint(deps, grant, { vendorNowMs: NOW_MS, signal })
  return { result, requests: peer.requests }
}

const good: Script = { body: { access_token: 't', expires_in: '3599', token_type: 'Bearer' } }

test('each service is asked by its own rules', async () => {
  const { requests } = await mintBy(imds, () => good)
  assert.equal(requests[0]?.method, 'GET')
  assert.equal(requests[0].body, null)
  assert.equal(
    requests[0].url,
    'http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fcognitiveservices.azure.com',
  )
  assert.equal(requests[0].headers.get('metadata'), 'true')
  const app = (await mintBy(appService, () => good)).requests[0]
  assert.equal(
    app?.url,
    'http://127.0.0.1:41741/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com',
  )
  assert.equal(app.headers.get('x-identity-header'), 'a header')
  assert.equal(app.headers.get('metadata'), undefined)
  const named = imdsGrant(new URL(IMDS_HOST), { ...wish, clientId: 'an id' })
  assert.equal(named.url.searchParams.get('client_id'), 'an id')
  assert.equal(imds.timeoutMs, 3_000)
})

function answer(status: number, body: unknown, date = ''): TokenAnswer {
  const headers = new Map(date === '' ? [] : [['date', date]])
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return { kind: 'answer', status, headers, body: bytes, elapsedMs: 5, sent: [] }
}

test('a life is read however it is spelt, and nothing else passes for one', () => {
  const soon = Math.floor(NOW_MS / 1_000) + 600
  const cases: readonly (readonly [said: object, lifetimeMs: number | null])[] = [
    [{ expires_in: '3599' }, 3_599_000],
    [{ expires_in: 3599 }, 3_599_000],
    [{ expires_in: '3599', expires_on: '1506484173' }, 3_599_000],
    [{ expires_in: '86400', expires_on: String(soon) }, 600_000],
    [{ expires_in: '300', expires_on: String(soon) }, 300_000],
    [{ expires_on: String(soon) }, 600_000],
    [{ expires_on: soon }, 600_000],
    [{ expires_on: soon + 0.7 }, 600_000],
    [{ expires_on: '2026-11-22T10:10:00Z' }, 600_000],
    [{ expires_on: '2026-11-22T10:10:00.000+00:00' }, 600_000],
    [{ expires_on: '2026-11-22T12:10:00+02:00' }, 600_000],
    [{ expires_on: '11/22/2026 10:10:00 AM +00:00' }, 600_000],
    [{ expires_on: '2026-11-22T10:10:00' }, null],
    [{ expires_on: '11/22/2026 10:10:00 AM' }, null],
    [{ expires_on: '1506484173' }, null],
    [{ expires_on: '' }, null],
    [{ expires_on: null }, null],
    [{ expires_on: true }, null],
    [{ expires_on: [soon] }, null],
    [{ expires_on: 'tomorrow' }, null],
    [{ expires_in: '1e3', expires_on: String(soon) }, null],
    [{ expires_in: '', expires_on: String(soon) }, null],
    [{ expires_in: null }, null],
    [{}, null],
  ]
  for (const [said, lifetimeMs] of cases) {
    const judged = imds.judge(answer(200, { access_token: 't', ...said }), NOW_MS)
    const label = JSON.stringify(said)
    if (lifetimeMs === null) {
      assert.ok(judged.kind === 'failed' && judged.failure.class === 'X', label)
    } else {
      assert.ok(judged.kind === 'minted', label)
      assert.equal(judged.lifetimeMs, lifetimeMs, label)
    }
  }
})

test('the end of a token is held against the server’s clock, unless that one lies', () => {
  const body = { access_token: 't', expires_on: String(Math.floor(NOW_MS / 1_000) + 600) }
  const life = (date: string) => {
    const judged = appService.judge(answer(200, body, date), NOW_MS)
    return judged.kind === 'minted' ? judged.lifetimeMs : null
  }
  assert.equal(life(new Date(NOW_MS + 60_000).toUTCString()), 540_000)
  assert.equal(life('Thu, 01 Jan 1970 00:00:00 GMT'), 600_000)
  assert.equal(life('nonsense'), 600_000)
})

test('each refusal means what the service documents', () => {
  const cases: readonly (readonly [TokenAnswer, FailureClass, code: string])[] = [
    [
      answer(400, { error: 'invalid_request', error_description: 'Identity not found' }),
      ...(['P', 'azure_identity_not_found'] as const),
    ],
    [
      answer(400, {
        statusCode: 400,
        message: 'No User Assigned or Delegated Managed Identity found',
      }),
      ...(['P', 'azure_identity_not_found'] as const),
    ],
    [
      answer(400, {
        error: 'invalid_request',
        error_description: 'Required metadata header not specified',
      }),
      ...(['P', 'azure_metadata_header_missing'] as const),
    ],
    [answer(400, { error: 'invalid_resource' }), 'P', 'azure_invalid_resource'],
    [answer(400, { error: 'invalid_request' }), 'P', 'oauth_invalid_request'],
    [answer(404, ''), 'T', 'oauth_token_endpoint_retryable'],
    [answer(410, 'gone'), 'T', 'oauth_token_endpoint_retryable'],
    [answer(500, ''), 'T', 'oauth_token_endpoint_retryable'],
    [answer(429, ''), 'H', 'oauth_token_endpoint_throttled'],
    [answer(302, ''), 'X', 'oauth_redirected'],
    [answer(200, '<html>'), 'X', 'oauth_unrecognized_error_response'],
  ]
  for (const [read, failureClass, code] of cases) {
    const judged = imds.judge(read, NOW_MS)
    assert.ok(judged.kind === 'failed')
    assert.deepEqual([judged.failure.class, judged.failure.code], [failureClass, code])
  }
})

function challenged(realm: string): (index: number) => Script {
  return index =>
    index === 0 ? { status: 401, headers: { 'www-authenticate': `Basic realm=${realm}` } } : good
}

test('the Arc agent’s challenge is met with the file that it names', async () => {
  for (const realm of [KEY_FILE, `"${KEY_FILE}"`]) {
    const arc = arcGrant(ARC_URL, RESOURCE)
    const files = disk({ [KEY_FILE]: 'the-key\n' })
    const { result, requests } = await mintBy(arc, challenged(realm), files)
    assert.equal(result.kind, 'minted')
    assert.equal(requests.length, 2)
    assert.equal(requests[0]?.headers.get('authorization'), undefined)
    assert.equal(requests[1]?.headers.get('authorization'), 'Basic the-key')
    assert.equal(requests[1].headers.get('metadata'), 'true')
    assert.match(requests[1].url, /\?api-version=2020-06-01&resource=/)
  }
})

test('a challenge that could give another file away is not met', async () => {
  const files = disk(
    {
      '/etc/passwd': 'root',
      '/etc/shadow.key': 'root',
      '/var/opt/azcmagent/tokens/large.key': 'k'.repeat(4_097),
      '/var/opt/azcmagent/tokens/full.key': 'k'.repeat(4_096),
      '/var/opt/azcmagent/tokens/sub/a.key': 'k',
    },
    { '/var/opt/azcmagent/tokens/link.key': '/etc/shadow.key' },
  )
  const cases: readonly (readonly [realm: string, code: string])[] = [
    ['/etc/passwd', 'azure_arc_challenge_refused'],
    ['/etc/shadow.key', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/../../../../etc/shadow.key', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/sub/a.key', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/a.txt', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/.key', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokensx/a.key', 'azure_arc_challenge_refused'],
    ['tokens/a.key', 'azure_arc_challenge_refused'],
    ['', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/large.key', 'azure_arc_challenge_refused'],
    ['/var/opt/azcmagent/tokens/link.key', 'azure_arc_key_unreadable'],
    ['/var/opt/azcmagent/tokens/missing.key', 'azure_arc_key_unreadable'],
  ]
  for (const [realm, code] of cases) {
    const { result, requests } = await mintBy(arcGrant(ARC_URL, RESOURCE), challenged(realm), files)
    assert.ok(result.kind === 'failed', realm)
    assert.equal(result.failure.code, code, realm)
    assert.equal(requests.length, 1, 'nothing was sent in answer')
  }
  const full = challenged('/var/opt/azcmagent/tokens/full.key')
  assert.equal((await mintBy(arcGrant(ARC_URL, RESOURCE), full, files)).result.kind, 'minted')
})

test('an Arc agent that asks nothing, or is in trouble, is not taken for one', async () => {
  const cases: readonly (readonly [Script, code: string])[] = [
    [good, 'azure_arc_challenge_refused'],
    [{ status: 401 }, 'azure_arc_challenge_refused'],
    [
      { status: 401, headers: { 'www-authenticate': 'Bearer realm=x' } },
      'azure_arc_challenge_refused',
    ],
    [{ status: 500 }, 'oauth_token_endpoint_retryable'],
    [new Error('refused'), 'oauth_token_endpoint_unavailable'],
  ]
  for (const [script, code] of cases) {
    const { result } = await mintBy(arcGrant(ARC_URL, RESOURCE), () => script)
    assert.ok(result.kind === 'failed')
    assert.equal(result.failure.code, code)
  }
})
