// Goal: a newcomer's path works as the README writes it, with the released program and the official
// SDK, and no credential is found where it has no business.
// Method: real processes against the lab, which judges what arrives.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { executable, run } from '../support/programs.ts'
import { type System, startSystem } from '../support/system.ts'

const root = path.dirname(path.dirname(import.meta.dirname))
const PLACEHOLDERS = ['sk-test-placeholder-of-the-agent', 'openshell-placeholder']

let system: System

before(async () => {
  system = await startSystem({ tokenLifetimeMs: 8_000 })
  await system.configure()
})
after(() => system.close())

test('the official SDK inside `sandbox run` gets unstreamed, streamed and counted answers', async () => {
  const agent = path.join(root, 'test', 'e2e', 'agent.mjs')
  const { code, stdout, stderr } = await run(
    system.place,
    ['sandbox', 'run', '--name', 'agent', '--', 'node', agent],
    {
      ...system.environment,
      GOOGLE_SERVICE_ACCOUNT_JSON: 'must not reach the agent',
      ANTHROPIC_API_KEY: 'sk-test-placeholder-of-the-agent',
      AWS_SECRET_ACCESS_KEY: 'must not reach the agent',
      AZURE_CLIENT_SECRET: 'must not reach the agent',
      IBM_CLOUD_API_KEY: 'must not reach the agent',
      OPENSHELL_GATEWAY_TOKEN: readFileSync(
        path.join(system.place.folder, 'state', 'admin.token'),
        'utf8',
      ).trim(),
    },
  )
  assert.equal(code, 0, stderr)
  const answer = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  assert.ok(answer.unstreamed.length > 0)
  assert.ok(answer.streamed.length > 0)
  assert.equal(answer.stopReason, 'end_turn')
  assert.ok(answer.inputTokens > 0)
  assert.ok(!JSON.stringify(answer.environment).includes('must not reach'))
  assert.equal(answer.environment.OPENSHELL_GATEWAY_TOKEN, undefined)
  const paths = system.lab.journal.entries().map(entry => entry.path)
  for (const verb of [':rawPredict', ':streamRawPredict', 'count-tokens:rawPredict']) {
    assert.ok(
      paths.some(one => one.endsWith(verb)),
      `${verb} in ${paths.join(' ')}`,
    )
  }
})

test('a child’s exit code is passed through, and a missing program is said in one line', async () => {
  const sandbox = ['sandbox', 'run', '--']
  assert.equal(
    (await run(system.place, [...sandbox, 'sh', '-c', 'exit 7'], system.environment)).code,
    7,
  )
  const missing = await run(system.place, [...sandbox, 'no-such-program'], system.environment)
  assert.equal(missing.code, 127)
  assert.match(missing.stderr, /no-such-program/)
})

test('a body arrives byte for byte, but for the specified edit', async () => {
  const { addresses, program } = await system.startRouter('bytes')
  const body = (model: string, version: string) =>
    `{${version}\n\t "max_tokens" : 12345678901234567890,${model}  "metadata":{"user_id":"a","model":"nested"},` +
    `"metadata": {"user_id" :"\\u0062"}, "stream":false ,"messages":[ {"role":"user","content":"hi \\" \\\\ {}[]"} ] }`
  const response = await fetch(`${addresses.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-api-key': 'sk-test-placeholder-of-the-agent',
    },
    body: body(' "model" : "mine",', ''),
  })
  await response.text()
  const sent = system.lab.journal.entries().findLast(entry => entry.path.endsWith(':rawPredict'))
  assert.ok(sent !== undefined)
  assert.equal(
    Buffer.from(sent.body ?? []).toString(),
    body(' ', '"anthropic_version":"vertex-2023-10-16",'),
  )
  await program.stop()
})

test('no placeholder reaches the vendor, and no secret stands in logs or in the database', async () => {
  const { lab, place } = system
  for (const entry of lab.journal.entries()) {
    const seen = JSON.stringify(entry.headers) + Buffer.from(entry.body ?? []).toString()
    for (const placeholder of PLACEHOLDERS) assert.ok(!seen.includes(placeholder), entry.path)
  }
  const key = JSON.parse(readFileSync(system.keyFile, 'utf8')).private_key
  const admin = readFileSync(path.join(place.folder, 'state', 'admin.token'), 'utf8').trim()
  const tokens = lab.journal.entries().filter(entry => entry.path === '/token').length
  assert.ok(tokens > 0)
  const bearer = await bearerOfBundle(system)
  const secrets = [
    key.slice(100, 180),
    key.replaceAll('\n', '\\n').slice(100, 180),
    admin,
    bearer,
  ].flatMap(encodings)
  const log = system.gateway().output()
  const files = ['gateway.db', 'gateway.db-wal'].filter(name =>
    readdirSync(path.join(place.folder, 'state')).includes(name),
  )
  assert.ok(files.length > 0)
  for (const secret of secrets) {
    assert.ok(!log.includes(secret), 'a secret stands in the log')
    for (const file of files) {
      const bytes = readFileSync(path.join(place.folder, 'state', file))
      assert.ok(!bytes.includes(secret), `a secret stands in ${file}`)
    }
  }
  for (const name of ['cmdline', 'environ']) {
    const text = readFileSync(`/proc/${system.gateway().process.pid}/${name}`, 'latin1')
    for (const secret of secrets) assert.ok(!text.includes(secret), `a secret stands in ${name}`)
  }
})

test('a secret on the command line leaves the process list at once', async () => {
  const value = 'sk-test-on-the-command-line'
  const child = spawn(
    process.execPath,
    [
      executable,
      'provider',
      'add',
      '--type',
      'openai',
      '--name',
      'x',
      '--credential',
      `K=${value}`,
    ],
    {
      // A port where nobody answers keeps the command alive long enough to be looked at.
      env: { ...system.place.environment, OPENSHELL_GATEWAY_ENDPOINT: 'http://127.0.0.1:9' },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  const cmdline = () => readFileSync(`/proc/${child.pid}/cmdline`, 'latin1')
  let wasSeen = false
  let isGone = false
  while (child.exitCode === null && !isGone) {
    const text = cmdline()
    wasSeen ||= text.includes(value)
    isGone =
      text.includes('openshell') && !text.includes(value) && !text.startsWith(process.execPath)
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.ok(isGone, `the argument stayed (seen before: ${wasSeen})`)
  child.kill()
  await once(child, 'close')
})

/** The token that routers hold now, fetched as a sandbox would. */
async function bearerOfBundle({ place, environment, lab }: System): Promise<string> {
  const { stdout } = await run(place, ['sandbox', 'token', 'bytes'], environment)
  assert.match(stdout, /^ey[\w-]+\.[\w-]+\.[\w-]+\n$/)
  const last = lab.journal.entries().findLast(entry => entry.path.includes(':rawPredict'))
  const header = last?.headers.find(([name]) => name === 'authorization')
  // The journal keeps what the vendor saw; a vendor may see the token.
  return header?.[1].replace('Bearer ', '') ?? stdout.trim()
}

function encodings(secret: string): readonly string[] {
  return [secret, Buffer.from(secret).toString('base64'), encodeURIComponent(secret)]
}
