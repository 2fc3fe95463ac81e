import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { AppError } from '../../src/core/errors.ts'
import type { FetchRequest } from '../../src/system/fetch.ts'
import { formOf, type Script } from '../support/scripted-fetch.ts'
import type { Fixture } from './fixture.ts'
import { createFixtureWorld, tokenAnswer } from './fixture-world.ts'

/** Declares the tests that no secret of a fixture gets out. */
export function describeSecrets(fixture: Fixture): void {
  test('a peer that repeats all that it was sent gets no secret into a failure', async () => {
    const refuse =
      fixture.refuse ??
      ((words: string) => ({ error: 'invalid_request', error_description: words }))
    const echoes = (request: FetchRequest) => [
      ...formOf(request).values(),
      ...[...request.headers.values()].flatMap(value => [value, ...partsOfBasic(value)]),
      Buffer.from(request.body ?? []).toString(),
    ]
    const speakers: readonly ((words: string) => Script)[] = [
      words => ({ status: 400, body: refuse(words) }),
      words => ({ status: 200, body: refuse(words) }),
      words => ({ status: 502, body: words }),
      words => ({ body: { access_token: `${words} \n`, expires_in: words } }),
    ]
    for (const speak of speakers) {
      const { length } = echoes({ ...EMPTY_REQUEST, ...(await sentBy(fixture)) })
      for (let index = 0; index < length; index += 1) {
        const world = createFixtureWorld(fixture, request => speak(echoes(request)[index] ?? ''))
        const result = await world.refresh()
        assert.notEqual(result.kind, 'minted')
        assertClean(fixture, inspect(result, { depth: 9 }) + JSON.stringify(result))
      }
    }
  })

  test('material that cannot work is refused in words that hold nothing of it', async () => {
    for (const key of Object.keys(fixture.material)) {
      for (const text of ['', 'nonsense', (fixture.material[key] ?? '').slice(0, -40)]) {
        const broken = { ...fixture, material: { ...fixture.material, [key]: text } }
        const { refresh } = createFixtureWorld(broken, () => ({ status: 503 }))
        const said = await refresh().catch((error: unknown) => {
          assert.ok(error instanceof AppError, String(error))
          return error
        })
        assertClean(fixture, inspect(said, { depth: 9 }))
      }
    }
  })
}

/** Fails when the text holds a secret of the fixture, raw or in an encoding. */
export function assertClean(fixture: Fixture, text: string): void {
  const sources = Object.values(fixture.sources ?? {}).map(source => source.token)
  const files = Object.values(fixture.files ?? {}).map(file => file.trim())
  const secrets = [
    ...Object.values(fixture.material),
    ...(fixture.secrets ?? []),
    ...sources,
    ...files,
  ]
  // A key's lines, as the file of a key may be quoted in part.
  const lines = secrets.flatMap(secret => [secret, ...secret.split(/\n|\\n/)])
  for (const secret of lines.filter(line => line.length >= 12 && !line.startsWith('-----'))) {
    for (const form of encodings(secret)) assert.ok(!text.includes(form), 'a secret got out')
  }
}

function encodings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    new URLSearchParams([['', secret]]).toString().slice(1),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ]
}

const EMPTY_REQUEST: Pick<FetchRequest, 'headers' | 'body'> = { headers: new Map(), body: null }

async function sentBy(fixture: Fixture): Promise<FetchRequest> {
  const world = createFixtureWorld(fixture, () => tokenAnswer(fixture, 'token'))
  await world.refresh()
  const [request] = world.asked()
  assert.ok(request !== undefined, 'nothing was sent')
  return { ...request, signal: new AbortController().signal }
}

/** What a server may find in Basic and repeat: all of it, and the secret alone, decoded or not. */
function partsOfBasic(header: string): readonly string[] {
  const [, base64] = /^Basic (.+)$/.exec(header) ?? []
  if (base64 === undefined) return []
  const pair = Buffer.from(base64, 'base64').toString()
  const secret = pair.slice(pair.indexOf(':') + 1)
  const decoded = new URLSearchParams(`v=${secret.replaceAll('&', '%26')}`).get('v') ?? ''
  return [base64, pair, secret, decoded]
}
