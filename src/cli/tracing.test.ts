import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readTracing } from './tracing.ts'

const at = 'http://127.0.0.1:4318'

test('OpenTelemetry’s own variables say where traces go', () => {
  const rows: readonly (readonly [
    env: Record<string, string>,
    url: string | null,
    name: string,
  ])[] = [
    [{}, null, ''],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, null, ''],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: at }, `${at}/v1/traces`, 'openshell'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: `${at}/` }, `${at}/v1/traces`, 'openshell'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: `${at}/otlp` }, `${at}/otlp/v1/traces`, 'openshell'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_SERVICE_NAME: 'mine' }, `${at}/v1/traces`, 'mine'],
    [
      { OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
      `${at}/v1/traces`,
      'openshell',
    ],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_SDK_DISABLED: 'true' }, null, ''],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_TRACES_EXPORTER: 'none' }, null, ''],
  ]
  for (const [env, url, name] of rows) {
    const read = readTracing(env, 'openshell')
    assert.equal(read?.url ?? null, url)
    assert.equal(read?.serviceName ?? '', name)
  }
})

test('headers are decoded, kept secret, and never quoted when they are wrong', () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_EXPORTER_OTLP_HEADERS: '' }
  const read = (text: string) => readTracing({ ...env, OTEL_EXPORTER_OTLP_HEADERS: text }, 's')
  const headers = read('X-Key=a%20b, authorization=Bearer x=,')?.headers ?? new Map()
  assert.deepEqual(
    [...headers].map(([name, value]) => [name, value.reveal()]),
    [
      ['x-key', 'a b'],
      ['authorization', 'Bearer x='],
    ],
  )
  assert.ok(!JSON.stringify([...headers]).includes('a b'))
  for (const wrong of ['hush', '=hush', 'a b=hush', 'a=hush%0d%0ab', 'a=hush%zz']) {
    assert.throws(
      () => read(wrong),
      (error: Error) => !error.message.includes('hush'),
    )
  }
})

test('what cannot be used is refused', () => {
  const rows: readonly Record<string, string>[] = [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'grpc://collector:4317' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://user:word@collector:4318' },
    { OTEL_EXPORTER_OTLP_ENDPOINT: at, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
  ]
  for (const env of rows) assert.throws(() => readTracing(env, 's'), { code: 'invalid_usage' })
})
