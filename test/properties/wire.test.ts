// Goal: a router gets exactly the bundle that the gateway built. Method: arbitrary bundles through the
// wire and back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import fc from 'fast-check'
import type { Bundle } from '../../src/core/bundle.ts'
import type { Operation, ResolvedRoute } from '../../src/core/route.ts'
import { Secret } from '../../src/core/secret.ts'
import { bundleFromWire, bundleToWire } from '../../src/wire/bundle.ts'
import { GetInferenceBundleResponseSchema } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { revealed } from '../store/records.ts'
import { holds } from './holds.ts'

const ROUTE_NAMES = ['inference.local', 'sandbox-system'] as const

const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const texts = fc.dictionary(text, text, { maxKeys: 3 }).map(all => new Map(Object.entries(all)))
const instant = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const operation: fc.Arbitrary<Operation> = fc.record({
  protocol: fc.constantFrom('anthropic_messages', 'openai_chat_completions', 'watsonx_chat'),
  baseUrl: text,
  path: text,
  streamPath: text,
  model: fc.constantFrom('replace', 'remove', 'keep'),
  version: fc.option(fc.record({ byHeader: texts, fallback: text })),
  removeMembers: fc.array(text, { maxLength: 3 }),
  dropQuery: fc.array(text, { maxLength: 3 }),
  keepQuery: fc.array(text, { maxLength: 3 }),
  hasBetas: fc.boolean(),
  defaultMembers: fc.array(fc.record({ path: text, json: text }), { maxLength: 2 }),
  translation: fc.option(fc.record({ name: text, options: texts })),
})
const route: fc.Arbitrary<ResolvedRoute> = fc.record({
  name: fc.constantFrom(...ROUTE_NAMES),
  providerName: text,
  providerId: text,
  providerType: text,
  baseUrl: fc.webUrl(),
  modelId: text,
  credential: text.map(value => new Secret(value)),
  expiresAtMs: fc.option(instant),
  mandatoryAtMs: fc.option(instant),
  generation: fc.nat(Number.MAX_SAFE_INTEGER),
  timeoutMs: fc.nat(100_000).map(seconds => seconds * 1_000),
  operations: fc.array(operation, { maxLength: 3 }),
  auth: fc.oneof(
    fc.record({ kind: fc.constant('header' as const), header: text, prefix: text }),
    fc.record({ kind: fc.constant('sigv4' as const), service: text, region: text }),
  ),
  defaultHeaders: texts,
  allowHeaders: fc.array(text, { maxLength: 3 }),
  betas: fc.option(
    fc.record({
      allow: fc.array(text, { maxLength: 3 }),
      carrier: fc.constantFrom('header' as const, 'body' as const),
      members: fc.array(fc.record({ path: text, betas: fc.array(text, { maxLength: 2 }) }), {
        maxLength: 2,
      }),
      refusals: fc.array(text, { maxLength: 2 }),
    }),
  ),
  deadToken: fc.array(
    fc.record({
      status: fc.integer({ min: 100, max: 599 }),
      when: fc.array(text, { maxLength: 2 }),
      unless: fc.array(text, { maxLength: 2 }),
    }),
    { maxLength: 2 },
  ),
})
const anyBundle: fc.Arbitrary<Bundle> = fc.record({
  revision: text,
  generatedAtMs: fc.nat(Number.MAX_SAFE_INTEGER),
  changes: fc.nat(Number.MAX_SAFE_INTEGER),
  routes: fc.array(route, { maxLength: 3 }),
  failures: fc.array(
    fc.record({
      name: fc.constantFrom(...ROUTE_NAMES),
      ...{ providerName: text, code: text, message: text },
      sinceMs: fc.nat(Number.MAX_SAFE_INTEGER),
      nextAttemptAtMs: fc.nat(Number.MAX_SAFE_INTEGER),
    }),
    { maxLength: 2 },
  ),
})

test('through the wire and back a bundle is the same', async () => {
  await holds(
    fc.property(anyBundle, bundle => {
      const bytes = toBinary(GetInferenceBundleResponseSchema, bundleToWire(bundle))
      const back = bundleFromWire(fromBinary(GetInferenceBundleResponseSchema, bytes))
      assert.deepEqual(sorted(back), sorted(bundle))
    }),
    400,
  )
})

/** In clear, with the members of maps in order: protobuf keeps none. */
function sorted(value: unknown): unknown {
  if (value instanceof Map) return [...value].sort().map(sorted)
  if (value instanceof Secret) return revealed(value)
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, sorted(one)]))
}
