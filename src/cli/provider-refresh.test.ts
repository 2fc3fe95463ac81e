import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CommandWorld, NOW_MS, runOpenShell } from '../../test/support/command-line.ts'
import { type ScriptedGateway, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const NEVER = 2n ** 63n - 1n

const valid = {
  providerName: 'my-vertex',
  providerType: 'google-vertex-ai',
  credentialKey: 'GOOGLE_VERTEX_AI_TOKEN',
  status: 'refreshed',
  state: 'valid',
  expiresAtMs: BigInt(NOW_MS + 2_520_000),
  nextRefreshAtMs: BigInt(NOW_MS + 2_220_000),
  lastRefreshAtMs: BigInt(NOW_MS - 1_080_000),
  generation: 7n,
  issuedAtMs: BigInt(NOW_MS - 1_080_000),
  revision: 'r7',
  routers: 42,
  routersCurrent: 41,
}
const failed = {
  ...valid,
  providerName: 'old',
  state: 'failed',
  expiresAtMs: BigInt(NOW_MS - 90_000_000),
  nextRefreshAtMs: NEVER,
  failureClass: 'P',
  failureCode: 'oauth_invalid_grant',
  lastError: 'Google says: account not found',
  advice: 'Add the provider again with a new key',
  recoveryAction: 2,
  consecutiveFailures: 3,
  routers: 0,
  routersCurrent: 0,
  candidateState: 'waiting',
  candidateError: 'no answer yet',
  candidateCode: 'oauth_token_endpoint_unavailable',
  history: [
    {
      atMs: BigInt(NOW_MS - 60_000),
      state: 'failed',
      failureClass: 'P',
      failureCode: 'oauth_invalid_grant',
    },
  ],
}

function run(gateway: ScriptedGateway, words: string, world: CommandWorld = {}) {
  const env = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin }
  return runOpenShell(['provider', 'refresh', ...words.split(' ')], { ...world, env })
}

test('the table shows state, times in the zone of the reader, delivery and what to do', async () => {
  await using gateway = await startScriptedGateway({
    getProviderRefreshStatus: () => ({ credentials: [valid, failed] }),
  })
  const { code, out } = await run(gateway, 'status')
  assert.equal(code, 0)
  assert.deepEqual(
    out.split('\n').map(line => line.split(/ {2,}/)),
    [
      ['PROVIDER', 'CREDENTIAL', 'STATE', 'EXPIRES', 'NEXT ATTEMPT', 'DELIVERY'],
      [
        ...['my-vertex', 'GOOGLE_VERTEX_AI_TOKEN', 'valid', '13:47:00 (in 42 min)'],
        ...['13:42:00 (in 37 min)', '41/42 routers'],
      ],
      [
        ...['old', 'GOOGLE_VERTEX_AI_TOKEN', 'failed', '2099-11-23 12:05:00 (25 h ago)'],
        ...['-', 'no routers'],
      ],
      [''],
      [
        '! old GOOGLE_VERTEX_AI_TOKEN: Google says: account not found (P oauth_invalid_grant, 3 times)',
      ],
      ['', 'Add the provider again with a new key'],
      [''],
      [
        '! old GOOGLE_VERTEX_AI_TOKEN: the new credential is being tried, the standing one serves until it works: no answer yet (oauth_token_endpoint_unavailable)',
      ],
      [''],
    ],
  )
  assert.deepEqual(gateway.calls[0]?.request, { workspace: 'default' })
})

test('colour marks what fails, on a terminal alone', async () => {
  await using gateway = await startScriptedGateway({
    getProviderRefreshStatus: () => ({ credentials: [failed] }),
  })
  assert.ok((await run(gateway, 'status', { hasColor: true })).out.includes('\u001b[31mold '))
  assert.ok(!(await run(gateway, 'status')).out.includes('\u001b'))
})

test('JSON has every key for every credential, times in RFC 3339 or null', async () => {
  await using gateway = await startScriptedGateway({
    getProviderRefreshStatus: () => ({ credentials: [valid, failed] }),
  })
  const { out } = await run(gateway, 'status my-vertex -o json')
  const common = {
    type: 'google-vertex-ai',
    credential_key: 'GOOGLE_VERTEX_AI_TOKEN',
    revision: 'r7',
    issued_at: '2099-11-24T11:47:00.000Z',
    last_attempt_at: null,
    failing_since: null,
  }
  assert.deepEqual(JSON.parse(out), [
    {
      ...common,
      provider: 'my-vertex',
      state: 'valid',
      expires_at: '2099-11-24T12:47:00.000Z',
      next_refresh_at: '2099-11-24T12:42:00.000Z',
      last_refresh_at: '2099-11-24T11:47:00.000Z',
      failure_class: null,
      failure_code: null,
      message: null,
      recovery_action: null,
      consecutive_failures: 0,
      routers: 42,
      routers_current: 41,
      generation: 7,
      advice: null,
      candidate: null,
      history: [],
    },
    {
      ...common,
      provider: 'old',
      state: 'failed',
      expires_at: '2099-11-23T11:05:00.000Z',
      next_refresh_at: null,
      last_refresh_at: '2099-11-24T11:47:00.000Z',
      failure_class: 'P',
      failure_code: 'oauth_invalid_grant',
      message: 'Google says: account not found',
      recovery_action: 'reauthorize',
      consecutive_failures: 3,
      routers: 0,
      routers_current: 0,
      generation: 7,
      advice: 'Add the provider again with a new key',
      candidate: {
        state: 'waiting',
        message: 'no answer yet',
        failure_code: 'oauth_token_endpoint_unavailable',
      },
      history: [
        {
          at: '2099-11-24T12:04:00.000Z',
          state: 'failed',
          failure_class: 'P',
          failure_code: 'oauth_invalid_grant',
        },
      ],
    },
  ])
  assert.deepEqual(gateway.calls[0]?.request, { provider: 'my-vertex', workspace: 'default' })
})

test('of one provider, the table is followed by how it came to be so', async () => {
  await using gateway = await startScriptedGateway({
    getProviderRefreshStatus: () => ({ credentials: [failed] }),
  })
  const { out } = await run(gateway, 'status old')
  const lines = out.split('\n').map(line => line.split(/ {2,}/))
  assert.deepEqual(lines.slice(-5), [
    ['GOOGLE_VERTEX_AI_TOKEN: token 7 minted 12:47:00 (18 min ago), revision r7 in 0 of 0 routers'],
    [''],
    ['SINCE', 'STATE', 'BECAUSE'],
    ['13:04:00 (60 s ago)', 'failed', 'P oauth_invalid_grant'],
    [''],
  ])
  assert.match(
    out,
    /^! old GOOGLE_VERTEX_AI_TOKEN: the new credential is being tried, the standing one serves until it works: no answer yet \(oauth_token_endpoint_unavailable\)$/m,
  )
})

test('without a refreshed credential that is said', async () => {
  await using gateway = await startScriptedGateway({ getProviderRefreshStatus: () => ({}) })
  assert.equal((await run(gateway, 'status')).out, 'No credential is refreshed here.\n')
  assert.equal((await run(gateway, 'status -o json')).out, '[]\n')
})

test('--watch redraws a terminal until it is stopped, through an outage, and ends with 0', async () => {
  await using gateway = await startScriptedGateway()
  const answers = [[valid], null, [failed]]
  gateway.script = {
    getProviderRefreshStatus: () => {
      const credentials = answers.shift()
      if (credentials !== null) return { credentials }
      throw new AppError('gateway_unreachable', 'away')
    },
  }
  const stop = new AbortController()
  const onSleep = () => {
    if (answers.length === 0) stop.abort()
  }
  const { code, out, err } = await run(gateway, 'status --watch', {
    isTerminal: true,
    stop: stop.signal,
    onSleep,
  })
  assert.equal(code, 0)
  assert.equal(err, '')
  const screens = out.split('\u001b[H').slice(1)
  assert.equal(screens.length, 3)
  assert.match(screens[0] ?? '', /^13:05:00 {2}Ctrl-C ends[\s\S]*my-vertex/)
  assert.match(screens[1] ?? '', /Cannot reach a gateway[\s\S]*my-vertex/)
  assert.match(screens[2] ?? '', /! old/)
  for (const screen of screens) {
    const lines = screen.split('\n')
    assert.equal(lines.pop(), '\u001b[J')
    for (const line of lines) assert.ok(line.endsWith('\u001b[K'), line)
  }
})

test('--watch appends what changed where there is no terminal', async () => {
  await using gateway = await startScriptedGateway()
  const both = [valid, failed]
  const answers = [both, both, [valid], null, [{ ...valid, state: 'refreshing' }]]
  gateway.script = {
    getProviderRefreshStatus: () => {
      const credentials = answers.shift()
      if (credentials !== null) return { credentials }
      throw new AppError('gateway_unreachable', 'away')
    },
  }
  const stop = new AbortController()
  const onSleep = () => {
    if (answers.length === 0) stop.abort()
  }
  const { out, err } = await run(gateway, 'status --watch', { stop: stop.signal, onSleep })
  assert.deepEqual(out.split('\n'), [
    '13:05:00 my-vertex GOOGLE_VERTEX_AI_TOKEN valid, expires 13:47:00 (in 42 min), 41/42 routers',
    '13:05:00 old GOOGLE_VERTEX_AI_TOKEN failed, expires 2099-11-23 12:05:00 (25 h ago), no routers, Google says: account not found, Add the provider again with a new key',
    '13:05:00 old GOOGLE_VERTEX_AI_TOKEN gone',
    '13:05:00 my-vertex GOOGLE_VERTEX_AI_TOKEN refreshing, expires 13:47:00 (in 42 min), 41/42 routers',
    '',
  ])
  assert.match(err, /^13:05:00 Cannot reach a gateway at [^\n]*\n$/)
})

test('--watch -o json writes one array a line, when something changed', async () => {
  await using gateway = await startScriptedGateway()
  const answers = [[valid], [valid], [failed]]
  gateway.script = { getProviderRefreshStatus: () => ({ credentials: answers.shift() }) }
  const stop = new AbortController()
  const onSleep = () => {
    if (answers.length === 0) stop.abort()
  }
  const { out } = await run(gateway, 'status --watch -o json', { stop: stop.signal, onSleep })
  const lines = out.trimEnd().split('\n')
  assert.deepEqual(
    lines.map(line => JSON.parse(line)[0].provider),
    ['my-vertex', 'old'],
  )
  assert.equal((await run(gateway, 'status --watch -o yaml')).code, 2)
})

test('--watch fails at once when the gateway is away from the start, or refuses', async () => {
  const away = await runOpenShell(['provider', 'refresh', 'status', '--watch'], {
    env: { OPENSHELL_GATEWAY_ENDPOINT: 'http://127.0.0.1:1' },
  })
  assert.equal(away.code, 3)
  await using gateway = await startScriptedGateway()
  const answers = [[valid]]
  gateway.script = {
    getProviderRefreshStatus: () => {
      const credentials = answers.shift()
      if (credentials !== undefined) return { credentials }
      throw new AppError('permission_denied', 'No')
    },
  }
  assert.equal((await run(gateway, 'status --watch')).code, 4)
})

test('rotate says that it was asked for', async () => {
  await using gateway = await startScriptedGateway({
    rotateProviderCredential: () => ({ status: valid }),
  })
  const { code, out } = await run(gateway, 'rotate my-vertex')
  assert.equal(code, 0)
  assert.equal(out, '✓ Rotation requested for my-vertex GOOGLE_VERTEX_AI_TOKEN (valid)\n')
  assert.deepEqual(gateway.calls[0]?.request, { provider: 'my-vertex', workspace: 'default' })
})

test('delete says whether there was anything to stop', async () => {
  await using gateway = await startScriptedGateway({
    deleteProviderRefresh: () => ({ deleted: true }),
  })
  const { code, out } = await run(gateway, 'delete my-vertex')
  assert.equal(code, 0)
  assert.equal(out, '✓ Deleted refresh config for my-vertex\n')
  gateway.script = { deleteProviderRefresh: () => ({ deleted: false }) }
  assert.match((await run(gateway, 'delete my-vertex')).out, /^! No refresh config found/)
})
