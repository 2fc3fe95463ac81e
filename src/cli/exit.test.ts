import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { reportError } from './exit.ts'
import type { Terminal } from './terminal.ts'

function report(error: unknown): { readonly code: number; readonly err: string } {
  let err = ''
  const terminal: Terminal = {
    env: {},
    out: { isTerminal: false, hasColor: false, write: () => assert.fail('errors go to stderr') },
    err: {
      isTerminal: false,
      hasColor: false,
      write: text => {
        err += text
      },
    },
    timeZone: 'UTC',
    clock: { nowMs: () => 0, sleep: async () => {} },
    stopSignal: () => assert.fail('nothing to stop'),
    openLog: () => assert.fail('nothing to log'),
  }
  return { code: reportError(terminal, error), err }
}

test('an error of ours is its message and what to do, never its cause', () => {
  const cause = new Error('with a secret in it')
  const error = new AppError('wrong_master_key', 'Cannot open it', { hint: 'Try the other', cause })
  assert.deepEqual(report(error), {
    code: 1,
    err: 'error: Cannot open it\nhint: Try the other\n',
  })
  assert.deepEqual(report(new AppError('not_found', 'No')), { code: 1, err: 'error: No\n' })
})

test('a programmer’s error is one line without a stack', () => {
  const error = new TypeError('x is not a function\nat all')
  const err = 'internal error: TypeError: x is not a function at all\n'
  assert.deepEqual(report(error), { code: 1, err })
  assert.deepEqual(report(new Secret('s')), { code: 1, err: 'internal error: an unknown value\n' })
})
