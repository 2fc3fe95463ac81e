// Goal: no expired token leaves, and a refused one costs one report and one replay.
// Method: as in forward.test.ts, with a gateway that answers reports as the test says.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  answerOf,
  bundleOf,
  type Script,
  type SeenRequest,
  until,
  untilAborted,
} from '../../test/support/fake-exchange.ts'
import {
  errorOf,
  JSON_HEAD,
  refreshedRoute,
  summary,
  world,
} from '../../test/support/router-world.ts'
import { type RejectionReport, sharedReports } from './renewal.ts'

const refusal = '{"error":{"status":"UNAUTHENTICATED"}}'

/** An upstream that accepts the given tokens and refuses every other one as dead. */
function accepting(...tokens: string[]): Script {
  return async request => {
    const isGood = tokens.some(token => request.headers.includes(`Bearer ${token}`))
    return isGood ? answerOf(200, JSON_HEAD, ['hello']) : answerOf(401, JSON_HEAD, [refusal])
  }
}

function tokensOf(seen: readonly SeenRequest[]): readonly (string | undefined)[] {
  return seen.map(({ request }) => request.headers.at(-1))
}

test('a token is sent until its last moment, and never after', async () => {
  const ROWS = [
    [501, 'answered 200'],
    [500, 'refused 503 credential_expired'],
    [0, 'refused 503 credential_expired'],
    [-3_600_000, 'refused 503 credential_expired'],
  ] as const
  for (const [leftMs, expected] of ROWS) {
    const { clock, table, ask, seen } = world({})
    table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() + leftMs })]))
    const { heard, done } = ask()
    await clock.advance(9_999)
    if (expected.startsWith('refused')) assert.equal(heard.status, 0)
    await clock.advance(1)
    assert.equal(summary(await done), expected)
    assert.equal(seen.length, expected.startsWith('answered') ? 1 : 0)
    assert.equal(clock.sleepers, 0)
  }
})

test('a request waits for a token that is on its way, and goes out with it', async () => {
  const { clock, table, ask, seen } = world({})
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() })]))
  const { heard, done } = ask()
  await clock.waitForSleepers(1)
  await clock.advance(9_999)
  table.swap(bundleOf([refreshedRoute(clock, 2, { modelId: 'other' })]))
  assert.equal(summary(await done), 'answered 200')
  assert.equal(heard.text, 'hello')
  assert.deepEqual(tokensOf(seen), ['Bearer token-2'])
  assert.equal(seen[0]?.body, '{"model":"acme-1"}')
  assert.equal(clock.sleepers, 0)
})

test('an expired token is told with its reason, since when, and the next attempt', async () => {
  const { clock, table, ask } = world({})
  const expiresAtMs = clock.nowMs() - 60_000
  const failure = {
    name: 'inference.local',
    providerName: 'acme',
    code: 'oauth_unavailable',
    message: 'the token endpoint said 503',
    sinceMs: expiresAtMs - 1_000,
    nextAttemptAtMs: clock.nowMs() + 12_000,
  } as const
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs })], [failure]))
  const { heard, done } = ask()
  await clock.waitForSleepers(1)
  await clock.advance(10_000)
  await done
  assert.equal(heard.header('retry-after'), '2')
  assert.match(
    errorOf(heard).message,
    /expired at 2027-01-15T07:59:00.000Z.*token endpoint said 503.*next attempt/,
  )

  const quiet = world({})
  quiet.table.swap(bundleOf([refreshedRoute(quiet.clock, 1, { expiresAtMs })]))
  const second = quiet.ask()
  await quiet.clock.waitForSleepers(1)
  await quiet.clock.advance(10_000)
  await second.done
  assert.equal(second.heard.header('retry-after'), '5')
})

test('waiting ends at once when the provider is gone or moved', async () => {
  for (const next of [[], [{ baseUrl: 'https://elsewhere.test' }]]) {
    const { clock, table, ask, seen } = world({})
    table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() })]))
    const { done } = ask()
    await clock.waitForSleepers(1)
    table.swap(bundleOf(next.map(rest => refreshedRoute(clock, 2, rest))))
    assert.equal(summary(await done), 'refused 503 credential_expired')
    assert.deepEqual([seen.length, clock.sleepers], [0, 0])
  }
})

test('an agent that leaves while a token is awaited is let go', async () => {
  const { clock, table, ask, seen } = world({})
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() })]))
  const { heard, leave, done } = ask()
  await clock.waitForSleepers(1)
  leave()
  assert.equal(summary(await done), 'abandoned 0')
  assert.deepEqual([heard.status, seen.length, clock.sleepers], [0, 0, 0])
})

test('a token that dies while the body is read is not sent', async () => {
  const { clock, table, ask, seen } = world({})
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() + 5_000 })]))
  async function* slow(): AsyncGenerator<string> {
    yield '{'
    await clock.advance(6_000)
    yield '}'
  }
  const { done } = ask({ chunks: slow() })
  await clock.waitForSleepers(1)
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual(tokensOf(seen), ['Bearer token-2'])
})

test('a dead token is reported once, and the request is replayed with the newer one', async () => {
  const { clock, table, ask, seen, reports, lines } = world({ script: accepting('token-2') })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, done } = ask({ chunks: ['{"model":"x",', '"a":1}'] })
  await until(() => reports.length === 1)
  await clock.advance(9_999)
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  const outcome = await done
  assert.equal(summary(outcome), 'answered 200')
  assert.equal(outcome.isReplayed, true)
  assert.deepEqual([heard.status, heard.text, heard.ending], [200, 'hello', 'clean'])
  assert.deepEqual(tokensOf(seen), ['Bearer token-1', 'Bearer token-2'])
  assert.deepEqual(
    seen.map(one => one.body),
    ['{"model":"acme-1","a":1}', '{"model":"acme-1","a":1}'],
  )
  assert.deepEqual([reports, clock.sleepers], [[1], 0])
  assert.doesNotMatch(lines.join(), /token-\d/)
})

test('the report says how the vendor refused, without the token', async () => {
  for (const [headers, body, reason] of [
    [[], '{\n "error": "token-1 is\u0007 dead"\n}', '{ "error": "[secret] is dead" }'],
    [['www-authenticate', 'Bearer error="invalid_token"'], ' ', 'Bearer error="invalid_token"'],
    [[], '', ''],
  ] as const) {
    const { clock, table, ask, reports, reasons, lines } = world({
      script: async () => answerOf(401, headers, [body]),
      report: async () => ({ outcome: 'refused', message: 'no', nextAttemptAtMs: 0 }),
    })
    table.swap(bundleOf([refreshedRoute(clock)]))
    const { heard, done } = ask()
    await done
    assert.deepEqual([reports, reasons], [[1], [reason]])
    assert.ok(
      lines.some(line => line.startsWith('token.rejected') && line.includes('"status":401')),
    )
    assert.doesNotMatch(lines.join() + heard.text, /token-1|\\u0007/)
  }
})

test('requests that were refused with the same token share one report', async () => {
  const { clock } = world({})
  const answers: PromiseWithResolvers<RejectionReport>[] = []
  const report = sharedReports(() => {
    const answer = Promise.withResolvers<RejectionReport>()
    answers.push(answer)
    return answer.promise
  })
  const refusal = { status: 401, reason: '' }
  const send = (generation: number, providerName = 'acme') =>
    report(refreshedRoute(clock, generation, { providerName }), refusal)
  const heard: RejectionReport = { outcome: 'known', message: '', nextAttemptAtMs: 0 }
  const first = [send(1), send(1), send(1)]
  const others = [send(2), send(1, 'other')]
  assert.equal(answers.length, 3)
  for (const answer of answers) answer.resolve(heard)
  assert.deepEqual(await Promise.all([...first, ...others]), Array(5).fill(heard))
  const failed = [send(1), send(1)]
  assert.equal(answers.length, 4)
  answers[3]?.reject(new Error('no route'))
  for (const one of await Promise.allSettled(failed)) assert.equal(one.status, 'rejected')
  void send(1)
  assert.equal(answers.length, 5)
})

test('a token that is newer already is used without a report', async () => {
  const { clock, table, ask, reports } = world({
    script: async (request, turn) => {
      if (turn === 1) table.swap(bundleOf([refreshedRoute(clock, 2)]))
      return accepting('token-2')(request, turn)
    },
  })
  table.swap(bundleOf([refreshedRoute(clock)]))
  assert.equal(summary(await ask().done), 'answered 200')
  assert.deepEqual(reports, [])
})

test('the token of a provider that was added anew is newer, although it counts from 1', async () => {
  const { clock, table, ask, seen, reports } = world({ script: accepting('token-1') })
  table.swap(bundleOf([refreshedRoute(clock, 5)]))
  const { done } = ask()
  await until(() => reports.length === 1)
  table.swap(bundleOf([refreshedRoute(clock, 1)]))
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([tokensOf(seen), reports], [['Bearer token-5', 'Bearer token-1'], [5]])
})

test('when no newer token comes in time the answer is 503', async () => {
  const { clock, table, ask, seen } = world({ script: accepting() })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, done } = ask()
  await clock.waitForSleepers(1)
  await until(() => seen.length === 1)
  await clock.advance(9_999)
  assert.equal(heard.status, 0)
  await clock.advance(1)
  assert.equal(summary(await done), 'refused 503 credential_rejected')
  assert.deepEqual([heard.header('retry-after'), seen.length, clock.sleepers], ['5', 1, 0])
})

test('when the report is never answered the wait is no longer', async () => {
  const { clock, table, ask } = world({ script: accepting(), report: () => new Promise(() => {}) })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, done } = ask()
  await clock.waitForSleepers(1)
  await clock.advance(10_000)
  assert.equal(summary(await done), 'refused 503 credential_rejected')
  assert.match(errorOf(heard).message, /not brought a new one in time/)
})

test('when the gateway has none to give the answer is 503 at once, in its words', async () => {
  const { clock, table, ask, lines } = world({
    script: accepting(),
    report: async () => ({
      outcome: 'refused',
      message: 'the next refresh may be forced in 20 s',
      nextAttemptAtMs: clock.nowMs() + 20_000,
    }),
  })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, done } = ask()
  assert.equal(summary(await done), 'refused 503 credential_rejected')
  assert.equal(heard.header('retry-after'), '20')
  assert.match(errorOf(heard).message, /may be forced in 20 s/)
  assert.match(lines.join(), /token\.rejected/)

  const alone = world({ script: accepting(), report: () => Promise.reject(new Error('no route')) })
  alone.table.swap(bundleOf([refreshedRoute(alone.clock)]))
  const second = alone.ask()
  assert.equal(summary(await second.done), 'refused 503 credential_rejected')
  assert.match(errorOf(second.heard).message, /gateway cannot be reached/)
  assert.match(alone.lines.join(), /report\.failed/)
})

test('a fresh token that is refused too ends in 503, not in a loop', async () => {
  for (const [nextInMs, retryAfter] of [
    [0, '5'],
    [28_001, '29'],
  ] as const) {
    const { clock, table, ask, seen, reports } = world({
      script: accepting(),
      report: async () => ({
        outcome: reports.length === 1 ? 'refreshing' : 'refused',
        message: '',
        nextAttemptAtMs: nextInMs === 0 ? 0 : clock.nowMs() + nextInMs,
      }),
    })
    table.swap(bundleOf([refreshedRoute(clock)]))
    const { heard, done } = ask()
    await until(() => reports.length === 1)
    table.swap(bundleOf([refreshedRoute(clock, 2)]))
    const outcome = await done
    assert.equal(summary(outcome), 'refused 503 credential_rejected')
    assert.equal(outcome.isReplayed, true)
    assert.equal(heard.header('retry-after'), retryAfter)
    assert.deepEqual([seen.length, reports, clock.sleepers], [2, [1, 2], 0])
  }
})

test('a body that was not kept is not replayed; the agent is told to send it again', async () => {
  const { clock, table, ask, seen, reports } = world({
    script: accepting('token-2'),
    limits: { replayBytesMax: 20 },
  })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, done } = ask({ chunks: [`{"a":"${'x'.repeat(20)}"}`] })
  await until(() => reports.length === 1)
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  assert.equal(summary(await done), 'refused 503 credential_rejected')
  assert.deepEqual([heard.header('retry-after'), seen.length], ['1', 1])
  assert.match(errorOf(heard).message, /Send it again/)
})

test('a refusal that is no dead token passes through whole', async () => {
  const long = 'x'.repeat(100_000)
  const ROWS = [
    [401, ['{"error":{"code":"Permission', 'Denied"}}', long]],
    [403, [refusal]],
    [401, [`PermissionDenied${long}`]],
    [401, ['x'.repeat(64 * 1024 - 16), 'PermissionDenied', long]],
  ] as const
  for (const [status, chunks] of ROWS) {
    const { clock, table, ask, reports } = world({
      script: async () => answerOf(status, ['www-authenticate', 'Bearer'], chunks),
    })
    table.swap(bundleOf([refreshedRoute(clock)]))
    const { heard, done } = ask()
    assert.equal(summary(await done), `answered ${status}`)
    assert.deepEqual([heard.text, heard.header('www-authenticate')], [chunks.join(''), 'Bearer'])
    assert.deepEqual([reports, clock.sleepers], [[], 0])
  }
})

test('only the first 64 KiB of a refusal are judged', async () => {
  const { clock, table, ask, reports, seen } = world({
    script: async () => answerOf(401, [], ['x'.repeat(64 * 1024 - 15), 'PermissionDenied']),
    report: async () => ({ outcome: 'refused', message: 'no', nextAttemptAtMs: 0 }),
  })
  table.swap(bundleOf([refreshedRoute(clock)]))
  assert.equal(summary(await ask().done), 'refused 503 credential_rejected')
  assert.deepEqual(reports, [1])
  assert.equal(seen[0]?.request.signal.aborted, true)
})

test('a refusal that breaks off or stalls is an upstream error', async () => {
  const broken = world({ script: async () => answerOf(401, [], ['x', new Error('reset')]) })
  broken.table.swap(bundleOf([refreshedRoute(broken.clock)]))
  assert.equal(summary(await broken.ask().done), 'refused 502 upstream_broken')

  const stalled = world({
    script: async request => answerOf(401, [], stalling(request.signal)),
  })
  stalled.table.swap(bundleOf([refreshedRoute(stalled.clock)]))
  const { done } = stalled.ask()
  await stalled.clock.waitForSleepers(1)
  await stalled.clock.advance(120_000)
  assert.equal(summary(await done), 'refused 504 upstream_timeout')
})

test('an agent that leaves while a renewal is awaited is let go', async () => {
  const { clock, table, ask, seen, reports } = world({ script: accepting() })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const { heard, leave, done } = ask()
  await until(() => reports.length === 1)
  leave()
  assert.equal(summary(await done), 'abandoned 0')
  assert.deepEqual([heard.status, seen.length, clock.sleepers], [0, 1, 0])
})

test('a compressed refusal is read before it is judged', async () => {
  const clock = new FakeClock()
  const body = gzipSync('{"error":{"code":"PermissionDenied"}}')
  for (const chunk of [body, body.subarray(0, body.length - 9), Buffer.from('PermissionDenied')]) {
    const { ask, reports } = world({
      routes: [refreshedRoute(clock)],
      script: async () => answerOf(401, ['content-encoding', 'gzip'], [chunk]),
    })
    assert.equal(summary(await ask().done), 'answered 401')
    assert.deepEqual(reports, [])
  }
})

async function* stalling(signal: Parameters<typeof untilAborted>[0]): AsyncGenerator<string> {
  yield 'x'
  await untilAborted(signal)
}
