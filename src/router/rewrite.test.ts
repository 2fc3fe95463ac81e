import assert from 'node:assert/strict'
import { test } from 'node:test'
import { operationOf, routeOf } from '../../test/support/fake-exchange.ts'
import type { Operation, ResolvedRoute } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { RouterError } from './errors.ts'
import { agentHeaders, headerValue, upstreamHeaders, upstreamTarget } from './rewrite.ts'

const AUTH = ['authorization', 'Bearer token-1']
const versioned = operationOf({ version: { byHeader: new Map(), fallback: 'v' } })

test('only the general headers and those the route allows pass, in order and repeated', () => {
  const sent = [
    ...['Content-Type', 'application/json', 'Accept', 'a', 'accept', 'b', 'User-Agent', 'sdk'],
    ...['Accept-Encoding', 'br', 'X-Stainless-Os', 'Linux', 'Anthropic-Beta', 'x', 'Origin', 'o'],
  ]
  assert.deepEqual(
    upstreamHeaders(sent, routeOf({ allowHeaders: ['anthropic-beta'] }), operationOf()),
    [
      ...['content-type', 'application/json', 'accept', 'a', 'accept', 'b', 'user-agent', 'sdk'],
      ...['accept-encoding', 'br', 'anthropic-beta', 'x', ...AUTH],
    ],
  )
})

test('credentials, cookies, framing and hop-by-hop headers never pass, whatever a route allows', () => {
  const names = [
    ...[
      'Authorization',
      'x-api-key',
      'API-Key',
      'x-goog-api-key',
      'Cookie',
      'Host',
      'Content-Length',
    ],
    ...[
      'Expect',
      'Connection',
      'Keep-Alive',
      'Proxy-Authorization',
      'proxy-connection',
      'proxy-any',
    ],
    ...['TE', 'Trailer', 'Transfer-Encoding', 'Upgrade', 'proxy-authenticate', 'x-auth'],
  ]
  const sent = names.flatMap(name => [name, 'placeholder'])
  const allowHeaders = names.map(name => name.toLowerCase())
  assert.deepEqual(
    upstreamHeaders(
      sent,
      routeOf({ allowHeaders, auth: { kind: 'header', header: 'x-auth', prefix: '' } }),
      operationOf(),
    ),
    ['x-auth', 'token-1'],
  )
})

test('headers that Connection names are dropped, but not those that type the body', () => {
  const sent = [
    'Connection',
    'close, Anthropic-Beta,content-type',
    'anthropic-beta',
    'x',
    'content-type',
    't',
  ]
  assert.deepEqual(
    upstreamHeaders(sent, routeOf({ allowHeaders: ['anthropic-beta'] }), operationOf()),
    [...['content-type', 't', ...AUTH]],
  )
})

test('defaults are added when the agent sent none that may pass, and cannot be talked away', () => {
  const route = routeOf({
    allowHeaders: ['anthropic-version'],
    defaultHeaders: new Map([
      ['anthropic-version', 'd'],
      ['x-b', 'e'],
    ]),
  })
  const sent = ['Anthropic-Version', 'own', 'x-b', 'own']
  assert.deepEqual(upstreamHeaders(sent, route, operationOf()), [
    ...['anthropic-version', 'own', 'x-b', 'e', ...AUTH],
  ])
  assert.deepEqual(upstreamHeaders(['connection', 'x-b'], route, operationOf()), [
    ...['anthropic-version', 'd', 'x-b', 'e', ...AUTH],
  ])
})

test('a default of anthropic-beta joins the agent’s betas, once', () => {
  const route = routeOf({
    allowHeaders: ['anthropic-beta'],
    defaultHeaders: new Map([['anthropic-beta', 'oauth']]),
  })
  const cases: readonly (readonly [sent: readonly string[], betas: readonly string[]])[] = [
    [[], ['oauth']],
    [['a'], ['a,oauth']],
    [['a, b'], ['a,b,oauth']],
    [['a, oauth ,b'], ['a, oauth ,b']],
    [
      ['a', 'b'],
      ['a,oauth', 'b'],
    ],
    [[''], ['oauth']],
  ]
  for (const [sent, betas] of cases) {
    const headers = sent.flatMap(value => ['Anthropic-Beta', value])
    const expected = betas.flatMap(value => ['anthropic-beta', value])
    assert.deepEqual(upstreamHeaders(headers, route, operationOf()), [...expected, ...AUTH])
  }
})

test('anthropic-version does not pass when its value goes into the body', () => {
  const route = routeOf({
    allowHeaders: ['anthropic-version'],
    defaultHeaders: new Map([['anthropic-version', 'd']]),
  })
  assert.deepEqual(upstreamHeaders(['anthropic-version', 'own'], route, versioned), AUTH)
})

test('a credential that cannot stand in a header is never sent', () => {
  for (const text of ['', ' ', 'a\nb', 'a\r\nx: y', 'a\u0000', 'é', ' a', 'a ']) {
    assert.throws(
      () => upstreamHeaders([], routeOf({ credential: new Secret(text) }), operationOf()),
      (error: unknown) =>
        error instanceof RouterError &&
        error.code === 'credential_missing' &&
        (text.trim() === '' || !error.message.includes(text)),
    )
  }
  for (const text of ['x', 'a b', 'ya29.A-_~+/=']) {
    const credential = new Secret(text)
    assert.deepEqual(
      upstreamHeaders([], routeOf({ credential }), operationOf()).at(-1),
      `Bearer ${text}`,
    )
  }
})

function path(options: {
  readonly route?: Partial<ResolvedRoute>
  readonly operation?: Partial<Operation>
  readonly query?: string
  readonly suffix?: string
  readonly isStream?: boolean
}): string {
  const { route, operation, query = '', suffix = '', isStream = false } = options
  const match = { protocol: 'anthropic_messages', query, suffix } as const
  const target = upstreamTarget(match, routeOf(route), {
    operation: operationOf(operation),
    isStream,
  })
  return target.origin + target.path
}

test('the path is the base, the operation, and what follows the models', () => {
  assert.equal(path({}), 'https://api.acme.test/v1/messages')
  assert.equal(
    path({ route: { baseUrl: 'http://127.0.0.1:8080/a/b' } }),
    'http://127.0.0.1:8080/a/b/v1/messages',
  )
  assert.equal(
    path({ route: { baseUrl: 'https://api.acme.test/a/' } }),
    'https://api.acme.test/a/v1/messages',
  )
  assert.equal(
    path({ operation: { baseUrl: 'https://api.acme.test/b', path: '/m:count' } }),
    'https://api.acme.test/b/m:count',
  )
  assert.equal(
    path({ operation: { path: '/models' }, suffix: '/x%2Fy' }),
    'https://api.acme.test/models/x%2Fy',
  )
})

test('the model is percent-encoded so that it cannot leave its segment', () => {
  const operation = { path: '/{model}:rawPredict', streamPath: '/{model}:streamRawPredict' }
  const at = (modelId: string, isStream = false): string =>
    path({ route: { modelId }, operation, isStream }).slice('https://api.acme.test'.length)
  assert.equal(at('claude-4@20250929'), '/claude-4%4020250929:rawPredict')
  assert.equal(at('claude-4', true), '/claude-4:streamRawPredict')
  assert.equal(at('a/../b;c?d#e%f g'), '/a%2F..%2Fb%3Bc%3Fd%23e%25f%20g:rawPredict')
  assert.equal(path({ isStream: true }), 'https://api.acme.test/v1/messages')
})

test('the query is kept as sent, except what the operation drops and what carries keys', () => {
  const ROWS = [
    [{ query: 'beta=true&a=%20+b' }, '?beta=true&a=%20+b'],
    [{ query: 'beta=true&a=1', operation: { dropQuery: ['beta'] } }, '?a=1'],
    [{ query: 'b%65ta=true', operation: { dropQuery: ['beta'] } }, ''],
    [{ query: 'beta=true&a=1', operation: { dropQuery: ['*'] } }, ''],
    [{ query: 'key=k&API_KEY=k&access_token=k&a=1' }, '?a=1'],
    [{ query: '&&' }, ''],
    [{ query: 'a=1', operation: { path: '/v1/messages?api-version=2' } }, '?api-version=2&a=1'],
    [
      { query: 'api-version=9&a=1', operation: { path: '/v1/messages?api-version=2' } },
      '?api-version=2&a=1',
    ],
    [{ query: 'a=1', operation: { path: '/v1/messages?x=2', dropQuery: ['*'] } }, '?x=2'],
  ] as const
  for (const [options, expected] of ROWS) {
    assert.equal(path(options), `https://api.acme.test/v1/messages${expected}`)
  }
})

test('the answer keeps its headers but those between neighbours and a few of the vendor', () => {
  const sent = [
    ...[
      'Content-Type',
      'text/plain',
      'Content-Length',
      '5',
      'X-Request-Id',
      'r',
      'Connection',
      'x-hop',
    ],
    ...[
      'X-Hop',
      '1',
      'Transfer-Encoding',
      'chunked',
      'Set-Cookie',
      'a',
      'Alt-Svc',
      'h3',
      'Vary',
      'a',
    ],
    ...['Vary', 'b', 'X-OpenShell-Error', 'forged', 'Retry-After', '1', 'Keep-Alive', 't'],
  ]
  assert.deepEqual(agentHeaders(sent), [
    ...['content-type', 'text/plain', 'content-length', '5', 'x-request-id', 'r'],
    ...['vary', 'a', 'vary', 'b', 'retry-after', '1'],
  ])
})

test('a header is found in any case; the first one counts', () => {
  assert.equal(headerValue(['A', '1', 'a', '2'], 'a'), '1')
  assert.equal(headerValue(['b', 'a'], 'a'), '')
})

test('of a query that is dropped whole, what is named passes nevertheless, but never a key', () => {
  const operation = { dropQuery: ['*'], keepQuery: ['alt', 'key'] }
  assert.equal(
    path({ operation, query: 'alt=sse&key=k&userProject=p&%61lt=json&$alt=x' }),
    'https://api.acme.test/v1/messages?alt=sse&%61lt=json',
  )
})
