import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decideConnect,
  isOwnHost,
  parseTunnelAllowList,
  readAbsoluteTarget,
} from './destination.ts'

const ALLOWED = parseTunnelAllowList([
  'API.Example.com',
  'git.example:8443',
  '127.0.0.1:9000',
  '[::1]:1',
])

for (const [authority, expected] of [
  ['inference.local:443', 'intercept'],
  ['INFERENCE.local:443', 'intercept'],
  ['inference.local.:443', 'intercept'],
  ['inference.local:80', 'intercept'],
  ['inference.local:8080', 'refuse'],
  ['api.example.com:443', 'tunnel'],
  ['API.EXAMPLE.COM.:443', 'tunnel'],
  ['api.example.com:80', 'refuse'],
  ['git.example:8443', 'tunnel'],
  ['git.example:443', 'refuse'],
  ['evil-api.example.com:443', 'refuse'],
  ['127.0.0.1:9000', 'tunnel'],
  ['127.1:9000', 'tunnel'],
  ['127.0.0.1:9001', 'refuse'],
  ['localhost:9000', 'refuse'],
  ['[::1]:1', 'tunnel'],
  ['[0:0:0:0:0:0:0:1]:1', 'tunnel'],
  ['169.254.169.254:80', 'refuse'],
  ['api.example.com', 'malformed'],
  ['api.example.com:99999', 'malformed'],
  ['user@api.example.com:443', 'malformed'],
  ['http://api.example.com:443', 'malformed'],
  ['', 'malformed'],
] as const) {
  test(`CONNECT ${authority || 'without a host'}: ${expected}`, () => {
    assert.equal(decideConnect(authority, ALLOWED).kind, expected)
  })
}

test('port 443 of inference.local speaks TLS, port 80 does not', () => {
  assert.deepEqual(decideConnect('inference.local:443', ALLOWED), {
    kind: 'intercept',
    isTls: true,
  })
  assert.deepEqual(decideConnect('inference.local:80', ALLOWED), {
    kind: 'intercept',
    isTls: false,
  })
})

test('an entry that is no host is refused', () => {
  for (const entry of ['*', 'https://a', 'a/b', 'a:b', '']) {
    assert.throws(() => parseTunnelAllowList([entry]), { code: 'invalid_argument' })
  }
})

for (const [host, expected] of [
  ['inference.local', true],
  ['Inference.Local:443', true],
  ['127.0.0.1:4000', true],
  ['localhost', true],
  ['[::1]:4000', true],
  ['192.168.1.4:4000', true],
  ['router.internal:4000', true],
  ['evil.example', false],
  ['inference.local.evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['localhost@evil', false],
  ['localhost\\.evil.example', false],
  ['localhost%2e', false],
  ['', false],
] as const) {
  test(`the Host "${host}" is ${expected ? '' : 'not '}the router's own`, () => {
    assert.equal(isOwnHost(host, 'router.internal'), expected)
  })
}

for (const [target, expected] of [
  ['http://inference.local/v1/m?x=%2F..', { path: '/v1/m?x=%2F..' }],
  ['https://INFERENCE.local', { path: '/' }],
  ['http://inference.local?x=1', { path: '/?x=1' }],
  ['http://127.0.0.1:4000/a/../b', { path: '/a/../b' }],
  ['http://127.0.0.1:4001/', { host: '127.0.0.1:4001' }],
  ['http://inference.local:8080/', { host: 'inference.local:8080' }],
  ['http://example.com/v1', { host: 'example.com' }],
  ['ftp://inference.local/', null],
  ['nonsense', null],
] as const) {
  test(`the absolute target ${target} is read`, () => {
    assert.deepEqual(readAbsoluteTarget(target, 4000), expected)
  })
}
