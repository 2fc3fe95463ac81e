import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkEndpoint, isLoopback, parseAllowedEndpoint } from './endpoint.ts'
import type { ErrorCode } from './errors.ts'
import { AppError } from './errors.ts'

const VENDOR = ['api.vendor.test', '*.regions.vendor.test']

type Row = readonly [url: string, allow: readonly string[], expected: ErrorCode | null]

const rows: readonly Row[] = [
  ['https://api.vendor.test', [], null],
  ['https://api.vendor.test:443/v1', [], null],
  ['HTTPS://API.Vendor.Test/v1?x=1', [], null],
  ['https://a.regions.vendor.test', [], null],
  ['https://a.b.regions.vendor.test', [], null],
  ['https://regions.vendor.test', [], 'endpoint_forbidden'],
  ['https://evilregions.vendor.test', [], 'endpoint_forbidden'],
  ['https://api.vendor.test.', [], 'endpoint_forbidden'],
  ['https://api.vendor.test:8443', [], 'endpoint_forbidden'],
  ['https://api.vendor.test.evil.test', [], 'endpoint_forbidden'],
  ['https://evil.test#@api.vendor.test', [], 'invalid_config'],
  ['https://evil.test\\@api.vendor.test', [], 'endpoint_forbidden'],
  ['https://api.vendor.test@evil.test', [], 'invalid_config'],
  ['https://user@api.vendor.test', [], 'invalid_config'],
  ['https://:secret@api.vendor.test', [], 'invalid_config'],
  ['https://api.vendor.test/#part', [], 'invalid_config'],
  ['http://api.vendor.test', [], 'endpoint_forbidden'],
  ['http://api.vendor.test', ['api.vendor.test'], 'endpoint_forbidden'],
  ['ftp://api.vendor.test', ['api.vendor.test'], 'endpoint_forbidden'],
  ['file:///etc/passwd', [], 'invalid_config'],
  ['api.vendor.test', [], 'invalid_config'],
  ['', [], 'invalid_config'],
  ['https://', [], 'invalid_config'],
  ['https://other.test', ['other.test'], null],
  ['https://other.test:8443', ['other.test'], null],
  ['https://other.test:8443', ['other.test:8443'], null],
  ['https://other.test', ['other.test:8443'], 'endpoint_forbidden'],
  ['https://other.test', ['other.test:443'], null],
  ['https://sub.other.test', ['other.test'], 'endpoint_forbidden'],
  ['https://bücher.test', ['bücher.test'], null],
  ['https://xn--bcher-kva.test', ['BÜCHER.test'], null],
  ['https://аpi.vendor.test', [], 'endpoint_forbidden'],
  ['http://127.0.0.1:8080', ['127.0.0.1:8080'], null],
  ['http://127.0.0.1:8080', ['127.0.0.1'], null],
  ['http://127.0.0.1', ['127.0.0.1:80'], null],
  ['http://127.0.0.1:8080', [], 'endpoint_forbidden'],
  ['http://127.0.0.1:8081', ['127.0.0.1:8080'], 'endpoint_forbidden'],
  ['https://127.0.0.1', [], 'endpoint_forbidden'],
  ['http://localhost:1', ['localhost'], null],
  ['http://[::1]:1', ['[::1]'], null],
  ['http://[0:0:0:0:0:0:0:1]:1', ['[0::1]:1'], null],
  ['http://[::ffff:127.0.0.1]:1', ['[::1]'], 'endpoint_forbidden'],
  ['http://2130706433:1', [], 'endpoint_forbidden'],
  ['http://2130706433:1', ['127.0.0.1'], null],
  ['http://0x7f.1:1', ['127.0.0.1'], null],
  ['http://127.0.0.1:1', ['0x7f000001'], null],
  ['http://169.254.169.254/computeMetadata/v1/', [], 'endpoint_forbidden'],
  ['http://169.254.169.254', ['169.254.169.254'], 'endpoint_forbidden'],
  ['https://169.254.169.254', ['169.254.169.254'], null],
  ['https://[fd00:ec2::254]', [], 'endpoint_forbidden'],
  ['https://10.0.0.1', [], 'endpoint_forbidden'],
  ['http://127.0.0.1.evil.test', ['127.0.0.1'], 'endpoint_forbidden'],
  ['http://localhost.evil.test', ['localhost'], 'endpoint_forbidden'],
]

for (const [url, allow, expected] of rows) {
  const wish = allow.length === 0 ? '' : ` with ${allow.join()} allowed`
  test(`"${url}"${wish} is ${expected ?? 'accepted'}`, () => {
    const options = {
      label: 'BASE_URL',
      vendorHosts: VENDOR,
      allowList: allow.map(parseAllowedEndpoint),
    }
    if (expected === null) {
      assert.equal(checkEndpoint(url, options).href, new URL(url).href)
      return
    }
    assert.throws(
      () => checkEndpoint(url, options),
      error =>
        error instanceof AppError &&
        error.code === expected &&
        error.message.startsWith('BASE_URL'),
    )
  })
}

test('a refusal names the host and how to allow it, and no password', () => {
  const check = (url: string) =>
    checkEndpoint(url, { label: 'BASE_URL', vendorHosts: VENDOR, allowList: [] })
  assert.throws(() => check('https://evil.test:8443/path?key=hush'), {
    message: 'BASE_URL names "https://evil.test:8443", which is not one of the vendor\'s hosts',
    hint: 'To allow it, start the gateway with --allow-endpoint evil.test:8443 (plain http: loopback only)',
  })
  assert.throws(
    () => check('https://me:hush@evil.test'),
    error => !String(error).includes('hush'),
  )
})

for (const [text, expected] of [
  ['Host.Test', 'host.test'],
  [' host.test:8443 ', 'host.test:8443'],
  ['host.test:08443', 'host.test:8443'],
  ['host.test:65535', 'host.test:65535'],
  ['[::1]:80', '[::1]:80'],
  ['[0:0::1]', '[::1]'],
  ['10.1', '10.0.0.1'],
  ['BÜCHER.test', 'xn--bcher-kva.test'],
] as const) {
  test(`"${text}" allows ${expected}`, () => assert.equal(parseAllowedEndpoint(text), expected))
}

for (const text of [
  '',
  ':80',
  'host:',
  'host:65536',
  'host:123456',
  'host:x',
  'https://host',
  'host/path',
  'a b',
  '*.host',
  'u@host',
  '::1',
  '[::1',
  'host?',
  'host#',
  'a,b c',
]) {
  test(`"${text}" cannot be allowed`, () => {
    assert.throws(() => parseAllowedEndpoint(text), { code: 'invalid_argument' })
  })
}

test('loopback is loopback, as URLs write it', () => {
  for (const url of [
    'http://127.0.0.1',
    'http://127.255.0.9',
    'http://LOCALHOST',
    'http://[::1]',
    'http://0177.0.0.1',
  ])
    assert.ok(isLoopback(new URL(url).hostname), url)
  for (const url of [
    'http://128.0.0.1',
    'http://0.0.0.0',
    'http://[::]',
    'http://127.0.0.1.x',
    'http://a.localhost',
    'http://[::ffff:7f00:1]',
  ])
    assert.ok(!isLoopback(new URL(url).hostname), url)
})
