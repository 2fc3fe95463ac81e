import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { type ChildDeps, type ForwardedSignal, runChild } from './child.ts'

const ENVIRONMENT = { PATH: process.env.PATH ?? '' }

function deps(complain: (line: string) => void = () => {}): ChildDeps {
  return { onSignal: () => () => {}, isTerminal: false, complain }
}

for (const { script, code } of [
  { script: 'exit 0', code: 0 },
  { script: 'exit 7', code: 7 },
  { script: 'kill -TERM $$', code: 143 },
  { script: 'kill -KILL $$', code: 137 },
]) {
  test(`"${script}" ends with ${code}`, async () => {
    assert.equal(await runChild(deps(), ['sh', '-c', script], ENVIRONMENT), code)
  })
}

test('a command that is not there ends with 127 and one clear line', async () => {
  const lines: string[] = []
  const complain = (line: string) => void lines.push(line)
  assert.equal(await runChild(deps(complain), ['no-such-command-here'], ENVIRONMENT), 127)
  assert.deepEqual(lines, ['openshell: cannot run "no-such-command-here": command not found'])
})

test('a file that is not executable ends with 126 and one clear line', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'child-'))
  const file = path.join(folder, 'plain')
  writeFileSync(file, 'text')
  chmodSync(file, 0o600)
  const lines: string[] = []
  const complain = (line: string) => void lines.push(line)
  assert.equal(await runChild(deps(complain), [file], ENVIRONMENT), 126)
  assert.deepEqual(lines, [`openshell: cannot run "${file}": permission denied`])
  rmSync(folder, { recursive: true })
})

/** Runs a child that waits, sends this process `signal`, and says how the child ended. */
async function signalled(signal: ForwardedSignal, isTerminal: boolean): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), 'child-'))
  const started = path.join(folder, 'started')
  const listeners = new Map<ForwardedSignal, () => void>()
  const onSignal: ChildDeps['onSignal'] = (name, listener) => {
    listeners.set(name, listener)
    return () => listeners.delete(name)
  }
  const script = `trap 'exit 40' ${signal.slice(3)}; trap 'exit 41' ALRM; : > "$0"; while :; do sleep 0.02; done`
  const running = runChild(
    { ...deps(), onSignal, isTerminal },
    ['sh', '-c', script, started],
    ENVIRONMENT,
  )
  const { existsSync } = await import('node:fs')
  while (!existsSync(started)) await new Promise(resolve => setTimeout(resolve, 5))
  listeners.get(signal)?.()
  if (isTerminal && signal === 'SIGINT') listeners.get('SIGTERM')?.()
  const code = await running
  assert.equal(listeners.size, 0)
  rmSync(folder, { recursive: true })
  return code
}

for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR2'] as const) {
  test(`${signal} is handed on to the child, which decides`, async () => {
    assert.equal(await signalled(signal, false), 40)
  })
}

test("a terminal's Ctrl-C is not sent a second time", async () => {
  assert.equal(await signalled('SIGINT', true), 143)
})
