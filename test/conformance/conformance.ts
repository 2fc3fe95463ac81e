import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { inspect } from 'node:util'
import type { Credential } from '../../src/core/credential.ts'
import type { RefreshResult } from '../../src/providers/refresher.ts'
import { afterAttempt, newCredential } from '../../src/refresh/transition.ts'
import { present } from '../store/records.ts'
import { formOf, type Script } from '../support/scripted-fetch.ts'
import { assertionsOf, issuedAtSeconds } from './assertions.ts'
import type { Expected, Fixture, Refusal } from './fixture.ts'
import {
  createFixtureWorld,
  createTaskWorld,
  endlessAnswer,
  providerOf,
  tokenAnswer,
  tokenIn,
} from './fixture-world.ts'
import { assertClean, describeSecrets } from './redaction.ts'

const MINUTE_MS = 60_000
/** What no answer is believed beyond: the longest life that any vendor gives. */
const LIFE_SECONDS_MAX = 100_800
const CALLERS = 200

/**
 * Declares the tests that every way of getting a token passes. Call it from a test file of your own
 * with what is particular about yours; the token endpoint is played, no network is touched.
 */
export function describeProvider(fixture: Fixture): void {
  describe(`${fixture.type.type}: ${fixture.name}`, () => {
    describeRequest(fixture)
    describeAnswers(fixture)
    describeRefusals(fixture)
    describeTrouble(fixture)
    describeSecrets(fixture)
    describeTask(fixture)
  })
}

function describeRequest(fixture: Fixture): void {
  test('the request is the golden one, and nothing more is sent', async () => {
    const { refresh, asked } = createFixtureWorld(fixture, () => tokenAnswer(fixture, 'token-1'))
    assert.equal(summary(fixture, await refresh()), 'minted token-1')
    const [request] = asked()
    assert.equal(asked().length, 1)
    assert.equal(request?.method, fixture.request.method ?? 'POST')
    assert.equal(request?.url, fixture.request.url)
    const headers = new Map(request?.headers)
    const { form, json } = fixture.request
    const type = headers.get('content-type') ?? ''
    if (form !== undefined) assert.equal(type, 'application/x-www-form-urlencoded')
    if (json !== undefined) assert.equal(type, 'application/json')
    for (const name of ['content-type', 'accept']) headers.delete(name)
    expectEach(Object.fromEntries(headers), fixture.request.headers ?? {})
    if (form !== undefined) {
      const fields = formOf(request)
      assert.equal(new Set(fields.keys()).size, fields.size, 'a field is repeated')
      expectEach(Object.fromEntries(fields), form)
    } else if (json !== undefined) {
      expectEach(JSON.parse(Buffer.from(request?.body ?? []).toString()), json)
    } else assert.equal(request?.body, null)
  })

  test('each attempt is made anew: no two assertions are alike', async () => {
    const { refresh, asked, clock } = createFixtureWorld(fixture, (_request, index) =>
      tokenAnswer(fixture, `token-${index}`),
    )
    await refresh()
    clock.stepWall(1_000)
    await refresh()
    const [first = [], second = []] = asked().map(assertionsOf)
    const given = [
      ...Object.values(fixture.files ?? {}).map(text => text.trim()),
      ...Object.values(fixture.sources ?? {}).map(({ token }) => token),
      ...(fixture.secrets ?? []),
    ]
    for (const [index, assertion] of first.entries()) {
      if (given.includes(assertion)) continue
      assert.notEqual(assertion, second[index])
    }
  })

  test('the route sends the minted token and says nothing secret', () => {
    const provider = providerOf(fixture)
    const { rules } = createFixtureWorld(fixture, () => 'silence')
    const { shape, credential } = fixture.type.route(provider, fixture.model ?? 'model', rules)
    assert.deepEqual(credential, { kind: 'token' })
    assertClean(fixture, inspect({ shape, credential }, { depth: 9 }))
    const deadTokenStatus = fixture.deadTokenStatus ?? 401
    assert.ok(shape.deadToken.some(rule => rule.status === deadTokenStatus))
  })

  test('every key of the material and the configuration is one that the type lists', () => {
    const { credentialKeys, configKeys } = fixture.type
    const known = new Set([...credentialKeys, ...configKeys].map(key => key.name))
    for (const key of [...Object.keys(fixture.material), ...Object.keys(fixture.config)]) {
      assert.ok(known.has(key), `${key} is not listed`)
    }
  })
}

function describeAnswers(fixture: Fixture): void {
  const mint = (script: Script) => createFixtureWorld(fixture, () => script).refresh()

  test('a success carries token, life, instant and lead', async () => {
    const world = createFixtureWorld(fixture, () => tokenAnswer(fixture, 'token-1'))
    const result = await world.refresh()
    assert.ok(result.kind === 'minted')
    assert.ok(Math.abs(result.lifetimeMs - 3_600_000) <= 1_000, `${result.lifetimeMs}`)
    assert.equal(result.requestedAtMs, world.clock.nowMs())
    assert.equal(result.leadMs, fixture.leadMs)
    assert.equal(result.rotatedMaterial.size, 0)
  })

  test('a token is a word of printable characters, and nothing else is one', async () => {
    const { ownForm } = fixture
    const charsMax = ownForm?.tokenCharsMax ?? 65_536
    const words = ['', 'a b', 'a\nb', 'token\r\nx-evil: 1', 'tok\u0000en', 'tokén']
    const values = ['undefined', 'null', 7, null, true, {}, [], ['token']]
    for (const token of [
      ...(ownForm === undefined ? values : []),
      ...[...words, 'x'.repeat(charsMax + 1)],
    ]) {
      const result = await mint(tokenAnswer(fixture, token))
      assert.equal(classOf(result), 'X', inspect(token).slice(0, 60))
      assertClean(fixture, inspect(result, { depth: 9 }))
    }
    assert.equal((await mint(tokenAnswer(fixture, 'x'.repeat(charsMax)))).kind, 'minted')
    for (const script of ownForm?.notTokens ?? []) {
      assert.equal(classOf(await mint(script)), 'X', inspect(script).slice(0, 200))
    }
  })

  test('a 200 that is not a token is never one', async () => {
    const bodies = [
      { error: 'invalid_grant' },
      { error: 'invalid_client', access_token: 'token', expires_in: 3_600 },
      '<html><body>Sign in to this network</body></html>',
      ...['', '[]', 'null', '"token"', '{', '{}'],
      Buffer.from([0xff, 0xfe, 0x00]),
      'x'.repeat(1_048_577),
    ]
    for (const body of bodies) {
      const result = await mint({ body })
      assert.notEqual(result.kind, 'minted', inspect(body).slice(0, 60))
      assertClean(fixture, inspect(result, { depth: 9 }))
    }
  })

  if (fixture.ownForm !== undefined) return
  const { rotates, rotatedTo = (refreshToken: string) => refreshToken } = fixture
  test('a refresh token in the answer replaces what it must, and nothing where none is kept', async () => {
    const { body } = Object(tokenAnswer(fixture, 'token'))
    const result = await mint({ body: { ...body, refresh_token: 'next' } })
    assert.ok(result.kind === 'minted')
    const rotated = [...result.rotatedMaterial].map(([key, secret]) => [key, secret.reveal()])
    assert.deepEqual(rotated, rotates === undefined ? [] : [[rotates, rotatedTo('next')]])
  })

  if (fixture.hasExpiresIn === false) return
  test('the life is a number of seconds or a string of digits, within reason', async () => {
    const cases: readonly (readonly [spelt: string, seconds: number | null])[] = [
      ...([
        ['3599', 3_599],
        ['"3599"', 3_599],
        ['3599.7', 3_599],
        ['1', 1],
      ] as const),
      ...([
        ['1e309', LIFE_SECONDS_MAX],
        ['9e18', LIFE_SECONDS_MAX],
      ] as const),
      ...([
        ['2147483648', LIFE_SECONDS_MAX],
        ['"9999999999"', LIFE_SECONDS_MAX],
      ] as const),
      ...['0', '-1', '"0"', 'null', '""', 'true', '[3600]', '"1e3"', '"0x10"', '"-5"', '{}'].map(
        spelt => [spelt, null] as const,
      ),
    ]
    for (const [spelt, seconds] of cases) {
      const { body } = Object(tokenAnswer(fixture, 'token', 'LIFE'))
      const result = await mint({ body: JSON.stringify(body).replaceAll('"LIFE"', spelt) })
      const life = result.kind === 'minted' ? result.lifetimeMs / 1_000 : null
      assert.equal(life, seconds, spelt)
      if (seconds === null) assert.equal(classOf(result), 'X', spelt)
    }
    const missing = await mint(endlessAnswer(fixture, 'token'))
    const fallback = fixture.fallbackSeconds ?? null
    assert.equal(missing.kind === 'minted' ? missing.lifetimeMs / 1_000 : null, fallback)
    for (const [type, isBearer] of [
      ['bearer', true],
      ['BEARER', true],
      ['mac', false],
      ['N_A', false],
      [7, false],
    ] as const) {
      const typed = { ...Object(tokenAnswer(fixture, 'token')).body, token_type: type }
      assert.equal((await mint({ body: typed })).kind === 'minted', isBearer, `${type}`)
    }
  })
}

function describeRefusals(fixture: Fixture): void {
  for (const refusal of fixture.refusals) {
    const said = typeof refusal.body === 'string' ? refusal.body : JSON.stringify(refusal.body)
    test(`${refusal.status} ${said.slice(0, 90)} means ${refusal.class} ${refusal.code}`, async () => {
      const { refresh, asked } = createFixtureWorld(fixture, () => answerOf(refusal))
      const result = await refresh()
      const isTwice = refusal.class === 'S' || refusal.class === 'C'
      assert.equal(classOf(result), isTwice ? 'P' : refusal.class)
      assert.ok(result.kind === 'failed')
      assert.equal(result.failure.code, refusal.code)
      assert.ok(result.failure.advice.length > 10, 'nothing tells a person what to do')
      assert.equal(
        result.failure.recoveryAction,
        refusal.recoveryAction ?? result.failure.recoveryAction,
      )
      assert.equal(asked().length, isTwice ? 2 : 1)
    })
  }

  for (const refusal of fixture.refusals.filter(one => one.class === 'S' || one.class === 'C')) {
    test(`${refusal.code}: one second try, and it may succeed`, async () => {
      for (const minutes of [10, -10]) {
        const world = createFixtureWorld(fixture, (_request, index) => {
          const date = new Date(world.clock.nowMs() + minutes * MINUTE_MS).toUTCString()
          return index === 0 ? answerOf(refusal, { date }) : tokenAnswer(fixture, 'token-2')
        })
        assert.equal(summary(fixture, await world.refresh()), 'minted token-2')
        const [first = 0, second = 0] = world.asked().map(issuedAtSeconds)
        assert.equal(world.asked().length, 2)
        if (refusal.class === 'C') assert.equal(Math.round((second - first) / 60), minutes)
      }
    })
  }

  for (const refusal of fixture.refusals.filter(one => one.class === 'C')) {
    test(`${refusal.code}: a Date that lies or was cached teaches nothing`, async () => {
      const now = new Date(1_800_000_000_000 + 10 * MINUTE_MS).toUTCString()
      for (const headers of [{ date: 'Thu, 01 Jan 1970 00:00:00 GMT' }, { date: now, age: '3' }]) {
        const world = createFixtureWorld(fixture, () => answerOf(refusal, headers))
        await world.refresh()
        const [first = 0, second = 1] = world.asked().map(issuedAtSeconds)
        assert.equal(first, second)
      }
    })
  }
}

function describeTrouble(fixture: Fixture): void {
  test('what every endpoint may say or fail to say has its class', async () => {
    const reset = Object.assign(new Error('other side closed'), { code: 'ECONNRESET' })
    const cases: readonly (readonly [
      script: Script,
      failureClass: string,
      retryAfterMs: number,
    ])[] = [
      [{ status: 503 }, 'T', 0],
      [{ status: 500, body: '<html>' }, 'T', 0],
      [{ status: 408 }, 'T', 0],
      [reset, 'T', 0],
      [{ status: 429 }, 'H', 0],
      [{ status: 429, headers: { 'retry-after': '120' } }, 'H', 120_000],
      [{ status: 429, headers: { 'retry-after': '0' } }, 'H', 0],
      [{ status: 429, headers: { 'retry-after': '-5' } }, 'H', 0],
      [{ status: 429, headers: { 'retry-after': 'abc' } }, 'H', 0],
      [{ status: 429, headers: { 'retry-after': '9999999' } }, 'H', 3_600_000],
      [{ status: 503, headers: { 'retry-after': '7' } }, 'H', 7_000],
      [{ status: 204 }, 'X', 0],
    ]
    for (const [script, failureClass, retryAfterMs] of cases) {
      const result = await createFixtureWorld(fixture, () => script).refresh()
      assert.equal(classOf(result), failureClass, inspect(script))
      assert.equal(result.kind === 'failed' && result.failure.retryAfterMs, retryAfterMs)
    }
  })

  test('a redirect is not followed', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      const world = createFixtureWorld(fixture, () => ({
        status,
        headers: { location: 'https://evil.example/token' },
        body: Object(tokenAnswer(fixture, 'token')).body,
      }))
      assert.equal(classOf(await world.refresh()), 'X')
      assert.equal(world.asked().length, 1)
      assert.ok(world.peer.requests.every(request => !request.url.includes('evil')))
    }
  })

  test('silence ends by the deadline, and an abort ends it at once', async () => {
    const world = createFixtureWorld(fixture, () => 'silence')
    const silent = world.refresh()
    await world.clock.waitForSleepers(1)
    while (world.peer.silent === 0) await new Promise(resolve => setImmediate(resolve))
    await world.clock.advance(30_000)
    assert.equal(classOf(await silent), 'T')
    const controller = new AbortController()
    const leaving = assert.rejects(world.refresh(controller.signal))
    while (world.peer.silent === 0) await new Promise(resolve => setImmediate(resolve))
    controller.abort()
    await leaving
    await assert.rejects(world.refresh(AbortSignal.abort()))
    assert.equal(world.peer.silent, 0)
  })

  for (const [url, source] of Object.entries(fixture.sources ?? {})) {
    test(`the token of ${url} is used and never handed out`, async () => {
      const world = createFixtureWorld(fixture, () => tokenAnswer(fixture, 'token-1'))
      assert.equal(summary(fixture, await world.refresh()), 'minted token-1')
      assert.ok(world.peer.requests.some(request => request.url === url))
      const refused: Fixture = {
        ...fixture,
        sources: {
          ...fixture.sources,
          [url]: { ...source, body: source.refused ?? { error: 'invalid_grant' } },
        },
      }
      const dry = createFixtureWorld(refused, () => tokenAnswer(fixture, 'token-1'))
      assert.notEqual((await dry.refresh()).kind, 'minted')
      assert.equal(dry.asked().length, 0)
    })
  }
}

const BY_PERSON = { reason: 'person', who: 'admin' } as const

function describeTask(fixture: Fixture): void {
  test('many who need a token at once cost one request, and log no secret', async () => {
    const world = createFixtureWorld(fixture, (_request, index) =>
      tokenAnswer(fixture, `token-${index + 1}`),
    )
    await using running = await createTaskWorld(world, fixture)
    const credential = await running.credential()
    const outcomes = await Promise.all(
      Array.from({ length: CALLERS }, () => running.task.force(credential, BY_PERSON)),
    )
    assert.equal(world.asked().length, 1)
    assert.ok(outcomes.every(outcome => outcome?.kind === 'minted'))
    const minted = present((await running.credential()).token).value.reveal()
    assert.equal(tokenIn(fixture, minted), 'token-1')
    assertClean(fixture, running.lines.join('\n'))
    assert.ok(!running.lines.join('\n').includes('token-1'))
  })

  test('the same token again is no new one, and is not asked for in a loop', async () => {
    const world = createFixtureWorld(fixture, () => tokenAnswer(fixture, 'token-1'))
    const nowMs = world.clock.nowMs()
    const chance = { nowMs, fraction: 0.5 }
    const fresh = newCredential(world.provider.id, fixture.type.tokenKey, nowMs)
    const next = async (credential: Credential): Promise<Credential> => {
      const attempt = { standing: await world.refresh(), candidate: null }
      return afterAttempt(credential, attempt, chance).credential
    }
    const first = await next(fresh)
    const second = await next(first)
    assert.deepEqual([first.generation, second.generation], [1, 1])
    assert.equal(second.token, first.token)
    assert.ok((second.dueAtMs ?? 0) - nowMs >= 15_000)
  })
}

function answerOf(refusal: Refusal, headers: Readonly<Record<string, string>> = {}): Script {
  return { ...refusal, headers: { ...refusal.headers, ...headers } }
}

function expectEach(
  found: Readonly<Record<string, unknown>>,
  expected: Readonly<Record<string, Expected>>,
): void {
  assert.deepEqual(Object.keys(found).sort(), Object.keys(expected).sort())
  for (const [name, want] of Object.entries(expected)) {
    const value = String(found[name])
    if (typeof want === 'string') assert.equal(value, want, name)
    else want(value)
  }
}

function summary(fixture: Fixture, result: RefreshResult): string {
  return result.kind === 'minted'
    ? `minted ${tokenIn(fixture, result.token.reveal())}`
    : `${result.failure.class} ${result.failure.code}: ${result.failure.message}`
}

function classOf(result: RefreshResult): string {
  return result.kind === 'minted' ? 'minted' : result.failure.class
}
