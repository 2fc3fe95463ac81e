// Goal: a bundle crosses the wire unchanged, and what this router does not know does it no harm.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import { bundleOf, operationOf, routeOf } from '../../test/support/fake-exchange.ts'
import type { Bundle } from '../core/bundle.ts'
import type { Operation, ResolvedRoute, RouteAuth } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { bundleFromWire, bundleToWire } from './bundle.ts'
import { GetInferenceBundleResponseSchema } from './gen/openshell/inference/v1/inference_pb.ts'

const SEED = Number(process.env.SEED ?? 7)

/** Plain objects, as the code makes them. */
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true })

const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const texts = fc.array(text, { maxLength: 3 })
const map = fc
  .array(fc.tuple(fc.stringMatching(/^[a-z][a-z-]{0,9}$/), text), { maxLength: 3 })
  .map(entries => new Map([...new Map(entries)].sort()))
const instant = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER })
const routeName = fc.constantFrom('inference.local' as const, 'sandbox-system' as const)

const operation: fc.Arbitrary<Operation> = record({
  protocol: fc.constantFrom(
    'anthropic_messages' as const,
    'openai_embeddings' as const,
    'model_discovery' as const,
  ),
  baseUrl: text,
  path: text,
  streamPath: text,
  model: fc.constantFrom('replace' as const, 'remove' as const, 'keep' as const),
  version: fc.option(record({ byHeader: map, fallback: text })),
  removeMembers: texts,
  dropQuery: texts,
  keepQuery: texts,
  hasBetas: fc.boolean(),
  defaultMembers: fc.array(record({ path: text, json: text }), { maxLength: 2 }),
  translation: fc.option(record({ name: text, options: map })),
})

const auth: fc.Arbitrary<RouteAuth> = fc.oneof(
  record({ kind: fc.constant('header' as const), header: text, prefix: text }),
  record({ kind: fc.constant('sigv4' as const), service: text, region: text }),
)

const route: fc.Arbitrary<ResolvedRoute> = record({
  name: routeName,
  providerName: text,
  providerId: text,
  providerType: text,
  baseUrl: fc.webUrl(),
  modelId: text,
  operations: fc.array(operation, { maxLength: 4 }),
  auth,
  defaultHeaders: map,
  allowHeaders: texts,
  betas: fc.option(
    record({
      allow: texts,
      carrier: fc.constantFrom('header' as const, 'body' as const),
      members: fc.array(record({ path: text, betas: texts }), { maxLength: 2 }),
      refusals: texts,
    }),
  ),
  deadToken: fc.array(
    record({ status: fc.integer({ min: 100, max: 599 }), when: texts, unless: texts }),
    { maxLength: 2 },
  ),
  credential: text.map(value => new Secret(value)),
  expiresAtMs: fc.option(instant),
  mandatoryAtMs: fc.option(instant),
  generation: count,
  timeoutMs: fc.integer({ min: 0, max: 86_400 }).map(seconds => seconds * 1_000),
})

const bundle: fc.Arbitrary<Bundle> = record({
  revision: text,
  generatedAtMs: count,
  changes: count,
  routes: fc.array(route, { maxLength: 3 }),
  failures: fc.array(
    record({
      name: routeName,
      providerName: text,
      code: text,
      message: text,
      sinceMs: count,
      nextAttemptAtMs: count,
    }),
    { maxLength: 2 },
  ),
})

/** With the secrets shown, since all secrets look alike to a comparison. */
function shown(one: Bundle) {
  return {
    ...one,
    routes: one.routes.map(each => ({ ...each, credential: each.credential.reveal() })),
  }
}
const throughBytes = (one: Bundle): Bundle => {
  const bytes = toBinary(GetInferenceBundleResponseSchema, bundleToWire(one))
  return bundleFromWire(fromBinary(GetInferenceBundleResponseSchema, bytes))
}

test('what goes in comes out', () => {
  fc.assert(
    fc.property(bundle, one => assert.deepEqual(shown(throughBytes(one)), shown(one))),
    { seed: SEED, numRuns: 300 },
  )
})

test('what a newer gateway adds and this router does not know is left out, and nothing else', () => {
  const wire = bundleToWire(
    bundleOf(
      [routeOf({ operations: [operationOf(), operationOf()] }), routeOf(), routeOf()],
      [
        {
          name: 'inference.local',
          providerName: 'p',
          code: 'c',
          message: 'm',
          sinceMs: 1,
          nextAttemptAtMs: 2,
        },
        {
          name: 'sandbox-system',
          providerName: 'p',
          code: 'c',
          message: 'm',
          sinceMs: 1,
          nextAttemptAtMs: 2,
        },
      ],
    ),
  )
  const [first, second, third] = wire.routes
  assert.ok(first !== undefined && second !== undefined && third !== undefined)
  if (first.operations[0] !== undefined) first.operations[0].protocol = 'mind_reading'
  second.name = 'new-route'
  delete third.auth
  if (wire.failures[0] !== undefined) wire.failures[0].name = 'new-route'
  const read = bundleFromWire(wire)
  assert.equal(read.routes.length, 1)
  assert.equal(read.routes[0]?.operations.length, 1)
  assert.deepEqual(
    read.failures.map(one => one.name),
    ['sandbox-system'],
  )
})

test('an edit or a way to authenticate that this router does not know is not guessed', () => {
  for (const spoil of ['edit', 'auth'] as const) {
    const wire = bundleToWire(bundleOf([routeOf()]))
    const [one] = wire.routes
    assert.ok(one?.operations[0] !== undefined && one.auth !== undefined)
    if (spoil === 'edit') one.operations[0].modelEdit = 'rewrite'
    else one.auth.kind = 'new'
    const { routes } = bundleFromWire(wire)
    assert.equal(routes.length, spoil === 'edit' ? 1 : 0)
    assert.deepEqual(
      routes.flatMap(each => each.operations),
      [],
    )
  }
  const bare = create(GetInferenceBundleResponseSchema, { routes: [{ name: 'inference.local' }] })
  assert.deepEqual(bundleFromWire(bare).routes, [])
})

for (const [label, baseUrl, path, expected] of [
  [
    'a usual path below a base with /v1 at its end',
    'https://a.test/v1',
    '/chat/completions',
    undefined,
  ],
  [
    'a usual path below a base with /v1 at its beginning',
    'https://a.test/v1/openai',
    '/chat/completions',
    undefined,
  ],
  [
    'a usual path below a base without /v1',
    'https://a.test/api',
    '/chat/completions',
    '/chat/completions',
  ],
  ['a usual path below a bare host', 'https://a.test', '/chat/completions', '/chat/completions'],
  ['a path of the vendor', 'https://a.test/v1', '/v2/chat', '/v2/chat'],
  ['a model in the path', 'https://a.test/models', '/{model}:predict', ':predict'],
  ['a model that is the path', 'https://a.test/models', '/{model}', ''],
] as const) {
  test(`a foreign sandbox is told of ${label}`, () => {
    const operations = [operationOf({ protocol: 'openai_chat_completions', path })]
    const [wire] = bundleToWire(bundleOf([routeOf({ baseUrl, operations })])).routes
    assert.equal(wire?.requestPathOverride, expected)
    assert.equal(wire?.modelInPath, path.startsWith('/{model}'))
  })
}

test('a route without operations is still a route', () => {
  const [wire] = bundleToWire(bundleOf([routeOf({ operations: [] })])).routes
  assert.deepEqual([wire?.protocols, wire?.requestPathOverride], [[], undefined])
})
