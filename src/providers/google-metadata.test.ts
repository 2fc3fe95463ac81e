import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mintFrom, shown, TOKEN_ANSWER, verdictOf } from '../../test/support/google-source.ts'
import type { Script } from '../../test/support/scripted-fetch.ts'

const HOST = 'metadata.google.internal'
const config = { GCE_METADATA_HOST: HOST }
const FLAVOR = { 'metadata-flavor': 'Google' }

test('the machine’s account is asked for in Google’s way', async () => {
  const answers = { [HOST]: { headers: FLAVOR, ...TOKEN_ANSWER } }
  const report = await mintFrom(null, { config, answers })
  assert.deepEqual(report.requests.map(shown), [
    {
      call: `GET http://${HOST}/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform`,
      headers: FLAVOR,
      body: null,
    },
  ])
  assert.ok(report.result.kind === 'minted')
  assert.equal(report.result.leadMs, 225_000)
})

test('only the fixed hosts and an allowed loopback are asked', async () => {
  const allowed = {
    rules: { allowList: ['127.0.0.1:8080'] },
    answers: { '127.0.0.1:8080': { headers: FLAVOR, ...TOKEN_ANSWER } },
  }
  const hosts: readonly (readonly [host: string, isTaken: boolean])[] = [
    ['169.254.169.254', true],
    ['127.0.0.1:8080', true],
    ['127.0.0.1:8081', false],
    ['evil.example', false],
    ['metadata.google.internal.evil.example', false],
    ['metadata.google.internal:8080', false],
    ['metadata.google.internal@evil.example', false],
    ['a/b', false],
    ['10.0.0.1', false],
  ]
  for (const [host, isTaken] of hosts) {
    const minting = mintFrom(null, {
      ...allowed,
      config: { GCE_METADATA_HOST: host },
      answers: { ...allowed.answers, '169.254.169.254': { headers: FLAVOR, ...TOKEN_ANSWER } },
    })
    if (isTaken) assert.equal(verdictOf(await minting), 'minted', host)
    else await assert.rejects(minting, { name: 'AppError' }, host)
  }
})

test('what the metadata server answers has a class, a code and an advice', async () => {
  const cases: readonly (readonly [script: Script, verdict: string, advice: RegExp])[] = [
    [TOKEN_ANSWER, 'X google_metadata_flavor_missing', /proxy/],
    [
      { ...TOKEN_ANSWER, headers: { 'metadata-flavor': 'Other' } },
      'X google_metadata_flavor_missing',
      /proxy/,
    ],
    [
      { status: 404, headers: FLAVOR, body: 'not found' },
      'P google_metadata_no_account',
      /Attach a service account/,
    ],
    [{ status: 403, headers: FLAVOR }, 'P google_metadata_refused', /cloud-platform/],
    [{ status: 302, headers: FLAVOR }, 'X oauth_redirected', /proxy/],
    [{ status: 429 }, 'H oauth_token_endpoint_throttled', /waits/],
    [{ status: 503 }, 'T oauth_token_endpoint_retryable', /Nothing/],
    [new Error('ENOTFOUND'), 'T oauth_token_endpoint_unavailable', /Nothing/],
  ]
  for (const [script, verdict, advice] of cases) {
    const report = await mintFrom(null, { config, answers: { [HOST]: script } })
    assert.equal(verdictOf(report), verdict)
    assert.match(report.result.kind === 'failed' ? report.result.failure.advice : '', advice)
  }
})
