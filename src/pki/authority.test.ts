// Goal: what the authority issues is accepted by strict verifiers. Method: Node's own parser, a real
// TLS handshake, and OpenSSL's strictest mode.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import tls from 'node:tls'
import { createAuthority } from './authority.ts'

const OPENSSL = 'openssl'
const NOW_MS = Math.floor(Date.now() / 1_000) * 1_000
const random = { fraction: () => 0, bytes: (count: number) => randomBytes(count) }

function authorityAt(nowMs: number) {
  const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs, sleep: async () => {} }
  return createAuthority({ clock, random })
}

test('the authority is a constrained, week-long CA', () => {
  const ca = new X509Certificate(authorityAt(NOW_MS).certPem)
  assert.equal(ca.subject, 'CN=OpenShell Sandbox CA')
  assert.equal(ca.ca, true)
  assert.ok(ca.checkIssued(ca))
  assert.ok(ca.verify(ca.publicKey))
  assert.equal(ca.validFromDate.getTime(), NOW_MS - 3_600_000)
  assert.equal(ca.validToDate.getTime(), NOW_MS + 7 * 86_400_000)
})

for (const { hostname, alt } of [
  { hostname: 'inference.local', alt: 'DNS:inference.local' },
  { hostname: '127.0.0.1', alt: 'IP Address:127.0.0.1' },
  { hostname: '::1', alt: 'IP Address:0:0:0:0:0:0:0:1' },
  { hostname: '[fe80::1:2]', alt: 'IP Address:FE80:0:0:0:0:0:1:2' },
  { hostname: `${'long-label.'.repeat(8)}example`, alt: `DNS:${'long-label.'.repeat(8)}example` },
]) {
  test(`a leaf for ${hostname} names it and nothing else`, () => {
    const authority = authorityAt(NOW_MS)
    const ca = new X509Certificate(authority.certPem)
    const leaf = new X509Certificate(authority.issueLeaf(hostname).certPem)
    assert.equal(leaf.subjectAltName, alt)
    assert.equal(leaf.ca, false)
    assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.1'])
    assert.ok(leaf.checkIssued(ca))
    assert.ok(leaf.verify(ca.publicKey))
    assert.match(leaf.serialNumber, /^[4-7][0-9A-F]{31}$/)
  })
}

test('certificates beyond 2049 use the long form of time', () => {
  const ca = new X509Certificate(authorityAt(Date.UTC(2051, 0, 1)).certPem)
  assert.equal(ca.validToDate.getTime(), Date.UTC(2051, 0, 8))
})

test('serial numbers differ', () => {
  const authority = authorityAt(NOW_MS)
  const [one, two] = [authority.issueLeaf('a'), authority.issueLeaf('a')].map(
    leaf => new X509Certificate(leaf.certPem).serialNumber,
  )
  assert.notEqual(one, two)
})

test('Node accepts the chain and the name in a handshake', async () => {
  const authority = authorityAt(NOW_MS)
  const leaf = authority.issueLeaf('inference.local')
  const server = tls.createServer({ cert: leaf.certPem, key: leaf.keyPem }, socket => socket.end())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = tls.connect({
    port,
    host: '127.0.0.1',
    servername: 'inference.local',
    ca: authority.certPem,
  })
  await once(client, 'secureConnect')
  assert.ok(client.authorized)
  client.destroy()
  server.close()
})

test('OpenSSL verifies leaf and authority in strict mode', context => {
  if (spawnSync(OPENSSL, ['version']).status !== 0) return context.diagnostic('no openssl here')
  const folder = mkdtempSync(path.join(tmpdir(), 'pki-'))
  const authority = authorityAt(NOW_MS)
  writeFileSync(path.join(folder, 'ca.pem'), authority.certPem)
  writeFileSync(path.join(folder, 'leaf.pem'), authority.issueLeaf('inference.local').certPem)
  const options = ['-x509_strict', '-purpose', 'sslserver', '-verify_hostname', 'inference.local']
  const run = spawnSync(OPENSSL, ['verify', '-CAfile', 'ca.pem', ...options, 'leaf.pem'], {
    cwd: folder,
    encoding: 'utf8',
  })
  rmSync(folder, { recursive: true })
  assert.equal(run.stdout.trim(), 'leaf.pem: OK', run.stderr)
})
