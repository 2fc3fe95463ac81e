import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { Secret } from '../core/secret.ts'
import { readStartOptions, START_DEFAULTS } from './gateway.ts'
import type { Terminal } from './terminal.ts'

function terminalWith(env: Readonly<Record<string, string>>): Terminal {
  const quiet = { isTerminal: false, hasColor: false, write() {} }
  return {
    env,
    out: quiet,
    err: { ...quiet, isTerminal: env.TTY === 'yes' },
    timeZone: 'UTC',
    clock: { nowMs: () => 0, sleep: async () => {} },
    stopSignal: () => new AbortController().signal,
    openLog: () => Promise.reject(new Error('No log is opened here')),
  }
}

test('without flags everything has its default', () => {
  const { HOME } = { HOME: '/home/me' }
  assert.deepEqual(readStartOptions(START_DEFAULTS, terminalWith({ HOME })), {
    listen: '127.0.0.1:17670',
    store: null,
    stateDir: '/home/me/.local/state/openshell',
    masterKeyFile: null,
    masterKey: null,
    adminTokenFile: null,
    refreshIntervalMs: 600_000,
    allowEndpoints: [],
    subjectTokenDirs: ['/var/run/secrets'],
    mayExecute: false,
    isAuthRequired: true,
    logFormat: 'json',
    logLevel: 'info',
    auditLog: null,
    tracing: null,
  })
})

test('the state directory follows the environment, and a flag before that', () => {
  const env = { HOME: '/h', XDG_STATE_HOME: '/x', OPENSHELL_STATE_DIR: '/o' }
  const rows: readonly (readonly [options: object, env: Record<string, string>, dir: string])[] = [
    [{ stateDir: '/flag' }, env, '/flag'],
    [{}, env, '/o'],
    [{}, { ...env, OPENSHELL_STATE_DIR: '' }, '/x/openshell'],
    [{}, { HOME: '/h' }, '/h/.local/state/openshell'],
  ]
  for (const [options, given, dir] of rows) {
    const read = readStartOptions({ ...START_DEFAULTS, ...options }, terminalWith(given))
    assert.equal(read.stateDir, dir)
  }
})

test('lists come from the flags and from the environment, a key from the nearer one', () => {
  const env = {
    HOME: '/h',
    TTY: 'yes',
    OPENSHELL_ALLOW_ENDPOINTS: ' B.example:8443,,127.0.0.1:1 ',
    OPENSHELL_SUBJECT_TOKEN_DIRS: '/env',
    OPENSHELL_MASTER_KEY: 'k',
  }
  const options = {
    ...START_DEFAULTS,
    listen: ':0',
    allowEndpoint: ['a.example'],
    subjectTokenDir: ['/flag'],
  }
  const read = readStartOptions(options, terminalWith(env))
  assert.deepEqual(read.allowEndpoints, ['a.example', 'b.example:8443', '127.0.0.1:1'])
  assert.deepEqual(read.subjectTokenDirs, ['/flag', '/env'])
  assert.equal(read.listen, '127.0.0.1:0')
  assert.equal(read.logFormat, 'pretty')
  assert.ok(read.masterKey?.equals(new Secret('k')))
  const withFile = readStartOptions({ ...options, masterKeyFile: 'f' }, terminalWith(env))
  assert.equal(withFile.masterKey, null)
  assert.equal(withFile.masterKeyFile, 'f')
})

test('everything wrong is said at once, with exit code 2', async () => {
  const { code, err } = await runOpenShell([
    ...['gateway', 'start', '--listen', '0.0.0.0:70000', '--no-auth', '--store', 'mysql:x'],
    ...['--refresh-interval', '999ms', '--allow-endpoint', 'http://x', '--log-format', 'xml'],
    ...['--log-level', 'loud'],
  ])
  assert.equal(code, 2)
  for (const part of [
    '--listen takes HOST:PORT, not "0.0.0.0:70000"',
    '--no-auth is for loopback only, and --listen says 0.0.0.0:70000',
    '--store takes sqlite:PATH or postgres://…',
    '--refresh-interval takes 1 s to 24 h, not "999ms"',
    'Cannot allow endpoint "http://x": expected HOST[:PORT]',
    '--log-format takes json, pretty, not "xml"',
    '--log-level takes info, debug, warn, error, not "loud"',
  ]) {
    assert.ok(err.includes(part), `${part}\n${err}`)
  }
  assert.equal(err.split('\n').length, 2)
})

test('addresses to listen on', async () => {
  const rows: readonly (readonly [listen: string, expected: string])[] = [
    ['1234', '127.0.0.1:1234'],
    [':1234', '127.0.0.1:1234'],
    ['localhost:65535', 'localhost:65535'],
    ['[::1]:0', '[::1]:0'],
  ]
  for (const [listen, expected] of rows) {
    const options = { ...START_DEFAULTS, listen, auth: false }
    assert.equal(readStartOptions(options, terminalWith({})).listen, expected)
  }
  for (const listen of ['', 'host', 'host:', 'host:65536', '::1:5', 'a b:5']) {
    const { code } = await runOpenShell(['gateway', 'start', '--listen', listen])
    assert.equal(code, 2, listen)
  }
})
