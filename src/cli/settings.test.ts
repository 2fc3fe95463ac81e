import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { Command } from 'commander'
import { Secret } from '../core/secret.ts'
import { addGlobalOptions, isExposed, readSettings } from './settings.ts'
import type { Terminal } from './terminal.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'openshell-cli-'))

after(() => rmSync(folder, { recursive: true }))

function settingsOf(argv: readonly string[], env: Readonly<Record<string, string>>) {
  const quiet = { isTerminal: false, hasColor: false, write() {} }
  const terminal: Terminal = {
    env: { OPENSHELL_STATE_DIR: folder, ...env },
    out: quiet,
    err: quiet,
    timeZone: 'UTC',
    clock: { nowMs: () => 0, sleep: async () => {} },
    stopSignal: () => assert.fail('nothing to stop'),
    openLog: () => assert.fail('nothing to log'),
  }
  const command = addGlobalOptions(new Command('openshell'))
  command.parse([...argv], { from: 'user' })
  return readSettings(command, terminal)
}

function tokenOf(argv: readonly string[], env: Readonly<Record<string, string>>): string | null {
  return settingsOf(argv, env).token()?.reveal() ?? null
}

test('the token comes from the nearest place that has one', () => {
  const file = path.join(folder, 'token')
  const other = path.join(folder, 'other')
  writeFileSync(file, 'from-file\n')
  writeFileSync(other, 'from-other')
  assert.equal(tokenOf([], {}), null)
  const later = settingsOf([], {})
  writeFileSync(path.join(folder, 'admin.token'), 'from-state\n')
  assert.equal(later.token()?.reveal(), 'from-state', 'a gateway that is started later is found')
  const rows: readonly (readonly [argv: readonly string[], env: Record<string, string>, string])[] =
    [
      [[], {}, 'from-state'],
      [[], { OPENSHELL_GATEWAY_TOKEN: ' direct ' }, 'direct'],
      [[], { OPENSHELL_GATEWAY_TOKEN: 'direct', OPENSHELL_TOKEN_FILE: file }, 'from-file'],
      [['--token-file', other], { OPENSHELL_TOKEN_FILE: file }, 'from-other'],
    ]
  for (const [argv, env, expected] of rows) assert.equal(tokenOf(argv, env), expected)
  assert.throws(() => settingsOf(['--token-file', folder], {}), { code: 'invalid_usage' })
})

test('a token that leaves the machine in the clear is noticed', () => {
  const rows: readonly (readonly [endpoint: string, isExposed: boolean])[] = [
    ['http://127.0.0.1:1', false],
    ['http://localhost:1', false],
    ['http://[::1]:1', false],
    ['http://gateway.example:1', true],
    ['https://gateway.example', false],
  ]
  for (const [endpoint, expected] of rows) {
    const settings = settingsOf([], { OPENSHELL_GATEWAY_ENDPOINT: endpoint })
    assert.equal(isExposed({ ...settings, token: () => new Secret('t') }), expected, endpoint)
    assert.equal(isExposed({ ...settings, token: () => null }), false)
  }
})

test('an address that is not a server’s is refused', () => {
  for (const endpoint of ['gateway:1', 'ftp://h', 'http://h/path', 'http://u@h', 'http://']) {
    assert.throws(() => settingsOf(['--gateway-endpoint', endpoint], {}), { code: 'invalid_usage' })
  }
})
