// Goal: what servers of many makes answer is understood, and nothing else is taken for a token.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../core/secret.ts'
import { clientCredentialsGrant } from './client-credentials.ts'
import { refreshTokenGrant } from './refresh-token.ts'
import type { OAuthClient } from './standard-request.ts'
import type { TokenAnswer } from './token-request.ts'

const client: OAuthClient = {
  tokenUrl: new URL('https://login.example/token'),
  authentication: { kind: 'post', clientId: 'app', clientSecret: new Secret('the-secret') },
  scopes: '',
  audience: '',
}

function judge(
  body: string,
  {
    type = 'application/json',
    status = 200,
    more = {},
  }: {
    readonly type?: string
    readonly status?: number
    readonly more?: Readonly<Record<string, string>>
  } = {},
): string {
  const answer: TokenAnswer = {
    kind: 'answer',
    status,
    headers: new Map(Object.entries({ 'content-type': type, ...more })),
    body: Buffer.from(body),
    elapsedMs: 0,
    sent: [],
  }
  const result = clientCredentialsGrant(client, 0).judge(answer, 0)
  return result.kind === 'minted'
    ? `${result.token.reveal()} ${result.lifetimeMs}`
    : `${result.failure.class} ${result.failure.code}`
}

const FORM = 'application/x-www-form-urlencoded'

test('an answer in a form is read as old servers mean it, JSON under any type', () => {
  const form = 'access_token=abc%2Bd&expires_in=3600&token_type=bearer'
  for (const type of [FORM, `${FORM}; charset=utf-8`, 'text/plain', 'TEXT/PLAIN;charset=UTF-8']) {
    assert.equal(judge(form, { type }), 'abc+d 3600000', type)
  }
  const json = '{"access_token":"abc","expires_in":60}'
  for (const type of ['text/html', FORM, 'text/plain', '']) {
    assert.equal(judge(json, { type }), 'abc 60000', type)
  }
  assert.match(judge(form), /^X /)
  assert.equal(judge('error=invalid_scope', { type: FORM, status: 400 }), 'P oauth_invalid_scope')
  assert.match(judge('access_token=&expires_in=60', { type: FORM }), /^X /)
  assert.match(judge('access_token=a&expires_in=1e3', { type: FORM }), /^X /)
  assert.match(judge('access_token=a&token_type=mac', { type: FORM }), /^X /)
  assert.match(judge('<html>access_token</html>', { type: 'text/plain' }), /^X /)
})

test('a bare 401 with a challenge is about the client; without one it is no answer at all', () => {
  const challenge = { 'www-authenticate': 'Basic' }
  assert.equal(judge('', { status: 401, more: challenge }), 'P oauth_invalid_client')
  assert.match(judge('', { status: 401 }), /^X /)
  assert.match(judge('', { status: 400, more: challenge }), /^X /)
})

test('a rate limit told by a 400 is throttling, not a refusal', () => {
  for (const words of ['exceeded the rate limit', 'Rate-Limit reached', 'too many requests']) {
    const body = JSON.stringify({ error: 'invalid_request', error_description: words })
    assert.equal(judge(body, { status: 400 }), 'H oauth_token_endpoint_throttled')
  }
})

test('a token is renewed five minutes before its end, or in its last quarter', () => {
  const { leadMs } = clientCredentialsGrant(client, 0)
  assert.deepEqual([8_000, 1_200_000, 3_600_000].map(leadMs), [2_000, 300_000, 300_000])
})

test('only a refresh token may be spent once, and only it is rotated', () => {
  assert.equal(clientCredentialsGrant(client, 0).singleUse, null)
  const token = { refreshToken: new Secret('rt'), rotates: 'KEY' }
  assert.equal(refreshTokenGrant(client, token, 0).singleUse, token.rotates)
})
