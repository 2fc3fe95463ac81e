import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerOf, operationOf, routeOf } from '../../test/support/fake-exchange.ts'
import { summary, world } from '../../test/support/router-world.ts'
import type { ResolvedRoute } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { headerValue } from './rewrite.ts'

const KEYS = { accessKeyId: 'ASIAEXAMPLE', secretAccessKey: 'made-up', sessionToken: 'made-up-too' }
const TARGET = '/model/claude/invoke'

function signedRoute(credential: unknown = KEYS): ResolvedRoute {
  return routeOf({
    baseUrl: 'https://bedrock-runtime.us-east-1.amazonaws.com',
    modelId: 'us.anthropic.claude-v1:0',
    auth: { kind: 'sigv4', service: 'bedrock', region: 'us-east-1' },
    allowHeaders: ['x-amzn-bedrock-trace', 'x-amz-date', 'x-amz-security-token'],
    operations: [
      operationOf({
        protocol: 'aws_bedrock_invoke',
        path: '/model/{model}/invoke',
        model: 'keep',
      }),
    ],
    credential: new Secret(
      typeof credential === 'string' ? credential : JSON.stringify(credential),
    ),
  })
}

test('a request is signed over path, body and date, and the agent’s own signature is gone', async () => {
  const { ask, seen, clock } = world({ routes: [signedRoute()] })
  const headers = [
    ...['content-type', 'application/json', 'authorization', 'AWS4-HMAC-SHA256 placeholder'],
    ...['x-amz-date', '20000101T000000Z', 'x-amz-security-token', 'placeholder'],
    ...['x-amz-content-sha256', 'placeholder', 'X-Amzn-Bedrock-Trace', 'ENABLED'],
  ]
  const { done } = ask({ target: TARGET, headers, chunks: ['{"n":', '1.0}'] })
  assert.equal(summary(await done), 'answered 200')
  const sent = seen[0]
  assert.equal(sent?.request.path, '/model/us.anthropic.claude-v1%3A0/invoke')
  assert.equal(sent?.body, '{"n":1.0}')
  const value = (name: string) => headerValue(sent?.request.headers ?? [], name)
  const date = new Date(clock.nowMs()).toISOString().replace(/[:-]|\.\d{3}/g, '')
  assert.equal(value('x-amz-date'), date)
  assert.equal(value('x-amz-security-token'), KEYS.sessionToken)
  assert.equal(value('x-amz-content-sha256'), '')
  assert.match(
    value('authorization'),
    /^AWS4-HMAC-SHA256 Credential=ASIAEXAMPLE\/\d{8}\/us-east-1\/bedrock\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amzn-bedrock-trace, Signature=[0-9a-f]{64}$/,
  )
  assert.equal(sent?.request.headers.filter(name => name === 'authorization').length, 1)
})

test('another body, another model or another second has another signature', async () => {
  const signatureOf = async (body: string, laterMs: number): Promise<string> => {
    const { ask, seen, clock } = world({ routes: [signedRoute()] })
    await clock.advance(laterMs)
    await ask({ target: TARGET, chunks: [body] }).done
    return headerValue(seen[0]?.request.headers ?? [], 'authorization').slice(-64)
  }
  const first = await signatureOf('{}', 0)
  assert.equal(await signatureOf('{}', 0), first)
  assert.notEqual(await signatureOf('{ }', 0), first)
  assert.notEqual(await signatureOf('{}', 1_000), first)
})

test('keys that cannot sign are never used, and never said', async () => {
  const BAD = [
    'no json made-up',
    '[]',
    'null',
    { ...KEYS, sessionToken: '' },
    { ...KEYS, accessKeyId: 'a\r\nb' },
    { accessKeyId: 'a', secretAccessKey: 'made-up' },
  ]
  for (const credential of BAD) {
    const { ask, seen, lines } = world({ routes: [signedRoute(credential)] })
    const { heard, done } = ask({ target: TARGET })
    assert.equal(summary(await done), 'refused 503 credential_missing')
    assert.equal(seen.length, 0)
    assert.doesNotMatch(`${heard.text}${lines.join()}`, /made-up/)
  }
})

test('a 403 that says the session is over costs a report, any other passes', async () => {
  const deadToken = [
    { status: 403, when: ['token included in the request is expired'], unless: [] },
  ]
  const route = { ...signedRoute(), deadToken, generation: 1 }
  const denied = world({
    routes: [route],
    script: async () => answerOf(403, [], ['{"message":"You are not authorized"}']),
  })
  assert.equal(summary(await denied.ask({ target: TARGET }).done), 'answered 403')
  assert.deepEqual(denied.reports, [])
  const expired = world({
    routes: [route],
    script: async () =>
      answerOf(403, [], ['{"message":"The security token included in the request is expired"}']),
    report: async () => ({ outcome: 'refused', message: 'no', nextAttemptAtMs: 0 }),
  })
  const { heard, done } = expired.ask({ target: TARGET })
  assert.equal(summary(await done), 'refused 503 credential_rejected')
  assert.deepEqual(expired.reports, [1])
  assert.equal(heard.header('x-amzn-errortype'), 'ServiceUnavailableException')
  assert.equal(JSON.parse(heard.text).message.includes('acme'), true)
})
