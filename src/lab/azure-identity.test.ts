import assert from 'node:assert/strict'
import { test } from 'node:test'
import { send, startTestLab } from '../../test/support/lab.ts'

const IMDS = '/metadata/identity/oauth2/token?api-version=2018-02-01'
const ARC = '/metadata/identity/oauth2/token?api-version=2020-06-01'
const APP_SERVICE = '/msi/token?api-version=2019-08-01'
const RESOURCE = '&resource=https%3A%2F%2Fai.azure.com'
const METADATA = ['metadata', 'true'] as const

test('the metadata service says all in strings', async () => {
  await using testLab = await startTestLab()
  const { lab, clock } = testLab
  const { status, text } = await send(`${lab.origin}${IMDS}${RESOURCE}`, { headers: [METADATA] })
  assert.equal(status, 200)
  const { access_token: token, ...said } = JSON.parse(text)
  assert.equal(token, lab.tokens()[0]?.value.reveal())
  const now = Math.floor(clock.nowMs() / 1_000)
  assert.deepEqual(said, {
    expires_in: '3600',
    token_type: 'Bearer',
    expires_on: String(now + 3_600),
    not_before: String(now),
    resource: 'https://ai.azure.com',
  })
})

test('App Service says only when the token ends', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const headers = [['x-identity-header', lab.azure.identityHeader.reveal()]] as const
  const { text } = await send(`${lab.origin}${APP_SERVICE}${RESOURCE}`, { headers })
  const said = JSON.parse(text)
  assert.equal(said.expires_in, undefined)
  assert.match(said.expires_on, /^\d+$/)
})

test('the Arc agent gives a token for the content of its file, once', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const url = `${lab.origin}${ARC}${RESOURCE}`
  const first = await send(url, { headers: [METADATA] })
  assert.equal(first.status, 401)
  const challenge = first.headers['www-authenticate'] ?? ''
  const [, file = ''] =
    /^Basic realm=(\/var\/opt\/azcmagent\/tokens\/\S+\.key)$/.exec(challenge) ?? []
  const headers = [METADATA, ['authorization', `Basic ${lab.azure.arcKey(file)}`]] as const
  assert.equal((await send(url, { headers })).status, 200)
  assert.equal((await send(url, { headers })).status, 401)
})

test('what is not asked by the rules gets nothing', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const cases: readonly (readonly [target: string, headers: [string, string][], RegExp])[] = [
    [`${IMDS}${RESOURCE}`, [], /Required metadata header/],
    [`${IMDS}${RESOURCE}`, [['metadata', 'yes']], /Required metadata header/],
    [
      `${IMDS}${RESOURCE}`,
      [
        ['metadata', 'true'],
        ['authorization', 'x'],
      ],
      /must not reach/,
    ],
    [`${IMDS}${RESOURCE}%2F.default`, [['metadata', 'true']], /invalid_resource/],
    [`${IMDS}${RESOURCE}&client_id=x`, [['metadata', 'true']], /Identity not found/],
    [`${IMDS}${RESOURCE}&x=y`, [['metadata', 'true']], /Parameter x/],
    [`${IMDS}${RESOURCE}${RESOURCE}`, [['metadata', 'true']], /Parameter resource/],
    ['/metadata/identity/oauth2/token', [['metadata', 'true']], /Unknown api-version/],
    [`${APP_SERVICE}${RESOURCE}`, [['x-identity-header', 'x']], /Wrong X-IDENTITY-HEADER/],
    [`${APP_SERVICE}${RESOURCE}`, [], /Wrong X-IDENTITY-HEADER/],
  ]
  for (const [target, headers, words] of cases) {
    const { status, text } = await send(`${lab.origin}${target}`, { headers })
    assert.ok(status === 400 || status === 401, target)
    assert.match(text, words)
  }
  assert.equal(lab.tokens().length, 0)
})
