import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runOpenShell } from '../../test/support/command-line.ts'
import { startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { describedProgram, leavesOf } from '../../test/support/understand.ts'
import { AppError, type ErrorCode } from '../core/errors.ts'
import { pathOf } from './command.ts'

const SECRET = 'do-not-print-me-9f3'

test('help begins with the two commands and fits a screen', async () => {
  const { code, out, err } = await runOpenShell(['--help'])
  assert.equal(code, 0)
  assert.equal(err, '')
  const lines = out.trimEnd().split('\n')
  assert.match(lines.slice(0, 3).join('\n'), /openshell provider add --type vertex/)
  assert.match(lines.slice(3, 7).join('\n'), /openshell inference set --provider/)
  assert.ok(lines.length <= 28, `${lines.length} lines`)
  for (const line of lines) assert.ok(line.length <= 80, line)
  assert.doesNotMatch(out, /\bdemo\b|\bcomplete\b/)
  assert.deepEqual(await runOpenShell(['help']), { code, out, err })
})

test('the version is printed alone', async () => {
  assert.deepEqual(await runOpenShell(['--version']), { code: 0, out: '1.2.3\n', err: '' })
})

test('every command says what it does in one sentence, with an example', async () => {
  const program = await describedProgram()
  const leaves = leavesOf(program).filter(command => command.parent !== program)
  assert.ok(leaves.length >= 20, `only ${leaves.length} commands found`)
  for (const command of leavesOf(program)) {
    const path = pathOf(command)
    assert.match(command.description(), /^[A-Z][^\n]*\.$/, path)
    const { code, out } = await runOpenShell([...path.split(' ').slice(1), '--help'])
    assert.equal(code, 0, path)
    const example = out.slice(out.indexOf('Example:'))
    assert.ok(example.includes(`openshell ${path.split(' ').slice(1).join(' ')}`), path)
  }
})

test('help is also a word before a command', async () => {
  const behind = await runOpenShell(['provider', 'add', '--help'])
  assert.deepEqual(await runOpenShell(['help', 'provider', 'add']), behind)
  assert.match(behind.out, /--credential-file/)
})

test('wrong usage ends with 2, one line and a hint', async () => {
  const rows: readonly (readonly [argv: readonly string[], line: RegExp])[] = [
    [['provder'], /^error: unknown command 'provder'\n/],
    [['provider', 'addd'], /^error: unknown command 'addd'\n/],
    [['provider', 'list', '--colour'], /^error: unknown option '--colour'\n/],
    [['provider', 'get'], /^error: missing required argument 'name'\n/],
    [['provider', 'list', 'x'], /^error: too many arguments for 'list'. Expected 0 .* got 1\n/],
    [['provider', 'list', '-o', 'xml'], /^error: -o takes table, json, yaml, not "xml"\n$/],
    [['provider', 'add', '--name'], /^error: option '--name <name>' argument missing\n/],
    [['provider', 'add', '--config', '=x'], /--name is .*; --type is .*; --config takes KEY=/],
    [
      ['status', '--gateway-endpoint', 'localhost:1'],
      /^error: --gateway-endpoint takes http:\/\/HOST:PORT or .*, not "localhost:1"\n$/,
    ],
    [['status', '--token-file', '/nonexistent'], /^error: Cannot read the token file/],
    [['inference', 'update'], /there is nothing to change/],
    [['completion', 'tcsh'], /^error: There is no completion for "tcsh"\nhint: .*powershell\n$/],
  ]
  for (const [argv, line] of rows) {
    const { code, out, err } = await runOpenShell(argv)
    assert.equal(code, 2, argv.join(' '))
    assert.match(err, line)
    assert.doesNotMatch(err, /\n {4}at /)
    assert.equal(out, '')
  }
})

test('a group without a command shows its help and ends with 2', async () => {
  for (const argv of [[], ['provider'], ['provider', 'refresh']]) {
    const { code, err } = await runOpenShell(argv)
    assert.equal(code, 2)
    assert.match(err, /Commands:/)
  }
})

test('a secret in the wrong place is not repeated', async () => {
  const add = ['provider', 'add', '--name', 'n', '--type', 't']
  const rows: readonly (readonly string[])[] = [
    [...add, '--credential', 'KEY=', SECRET],
    [...add, '--credential', SECRET],
    [...add, '--credential', SECRET.replaceAll('-', '_')],
    [...add, `--credentials=${SECRET}`],
    [...add, `--${SECRET}`],
    [...add, `-----BEGIN ${SECRET}\n${SECRET}`],
    [...add, '--credential', `a b=${SECRET}`],
    [...add, '--credential', `KEY=${SECRET}`, '--credential', `KEY=${SECRET}`],
    [...add, '--config', SECRET],
    [...add, '--credential-file', SECRET],
    ['provider', `add=${SECRET}`],
    ['gateway', 'start', '--store', `postgre://u:${SECRET}@h/db`],
  ]
  for (const argv of rows) {
    const { code, out, err } = await runOpenShell(argv)
    assert.equal(code, 2, argv.join(' '))
    for (const secret of [SECRET, SECRET.replaceAll('-', '_')]) {
      assert.ok(!`${out}${err}`.includes(secret), err)
    }
  }
})

test('each error of the gateway has its exit code', async () => {
  const rows: readonly (readonly [code: ErrorCode, exitCode: number])[] = [
    ['invalid_argument', 1],
    ['endpoint_forbidden', 1],
    ['mint_refused', 1],
    ['internal', 1],
    ['unauthenticated', 4],
    ['permission_denied', 4],
  ]
  await using gateway = await startScriptedGateway()
  for (const [code, exitCode] of rows) {
    gateway.script = {
      listProviders: () => {
        throw new AppError(code, 'Cannot do\u001b[31m it', { hint: 'Try again' })
      },
    }
    const result = await runOpenShell(['provider', 'list', '--gateway-endpoint', gateway.origin])
    assert.deepEqual(result, {
      code: exitCode,
      out: '',
      err: 'error: Cannot do [31m it\nhint: Try again\n',
    })
  }
})

test('a gateway that is away ends with 3 and says where it was looked for', async () => {
  const { code, err } = await runOpenShell(['provider', 'list'], {
    env: { OPENSHELL_GATEWAY_ENDPOINT: 'http://127.0.0.1:1' },
  })
  assert.equal(code, 3)
  assert.match(err, /^error: Cannot reach a gateway at http:\/\/127.0.0.1:1\nhint: .*start/)
})

test('without a token the hint says where it was looked for', async () => {
  await using gateway = await startScriptedGateway({
    listProviders: () => {
      throw new AppError('unauthenticated', 'A token is required')
    },
  })
  const { code, err } = await runOpenShell(['provider', 'list'], {
    env: { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin },
  })
  assert.equal(code, 4)
  assert.match(err, /hint: There is no token at \/nonexistent\/openshell\/admin.token; give/)
})

test('global flags may stand before the command or behind it, and behind it wins', async () => {
  await using gateway = await startScriptedGateway({ listProviders: () => ({}) })
  const before = ['--gateway-endpoint', gateway.origin, '--workspace', 'a']
  const env = { OPENSHELL_GATEWAY_TOKEN: SECRET, OPENSHELL_WORKSPACE: 'c' }
  await runOpenShell([...before, 'provider', 'list'], { env })
  await runOpenShell([...before, 'provider', 'list', '--workspace', 'b'], { env })
  await runOpenShell(['provider', 'list', '--gateway-endpoint', gateway.origin], { env })
  assert.deepEqual(
    gateway.calls.map(call => [call.authorization, call.request]),
    ['a', 'b', 'c'].map(workspace => [`Bearer ${SECRET}`, { limit: 200, workspace }]),
  )
})

test('-v says what is called, on standard error', async () => {
  await using gateway = await startScriptedGateway({ listProviders: () => ({}) })
  const { out, err } = await runOpenShell(['-v', 'provider', 'list'], {
    env: { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin },
  })
  assert.equal(out, 'No providers found.\n')
  assert.equal(err, `ListProviders at ${gateway.origin}: 0 ms\n`)
})
