// Goal: the released programs send their traces to a collector, and go on without one.
// Method: a pretend collector on loopback; the lab as the vendor.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { test } from 'node:test'
import { until } from '../support/gateway.ts'
import { createPlace, freePort, type Place, run, start } from '../support/programs.ts'

interface Span {
  readonly service: string
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
}

/** A collector that keeps what it hears. */
async function startCollector() {
  const spans: Span[] = []
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      for (const { resource, scopeSpans } of JSON.parse(`${Buffer.concat(chunks)}`).resourceSpans) {
        const [{ value }] = resource.attributes
        for (const span of scopeSpans[0].spans) spans.push({ ...span, service: value.stringValue })
      }
      response.setHeader('content-type', 'application/json').end('{}')
    })
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return { spans, server, endpoint: `http://127.0.0.1:${port}` }
}

/** A gateway, a lab with a provider, and a router, all told to trace. */
async function startPrograms(place: Place, collector: string) {
  const [gatewayPort, labPort] = [await freePort(), await freePort()]
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector,
    OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${gatewayPort}`,
  }
  const listen = ['--listen', `127.0.0.1:${gatewayPort}`]
  const allow = ['--allow-endpoint', `127.0.0.1:${labPort}`]
  const gateway = start(place, ['gateway', 'start', ...listen, ...allow], environment)
  const lab = start(place, ['lab', 'start', '--listen', `127.0.0.1:${labPort}`, '-o', 'json'])
  const { baseUrl, serviceAccountUrl } = JSON.parse(await lab.line('serviceAccountUrl'))
  const key = await (await fetch(serviceAccountUrl)).text()
  await gateway.line('gateway.started')
  const ask = async (...words: readonly string[]) => {
    const { code, stderr } = await run(place, words, environment)
    assert.equal(code, 0, stderr)
  }
  await ask(
    ...['provider', 'add', '--name', 'vx', '--type', 'vertex'],
    ...['--credential', `GOOGLE_SERVICE_ACCOUNT_JSON=${key}`],
    ...['--config', `VERTEX_BASE_URL=${baseUrl}`],
  )
  await ask('inference', 'set', '--provider', 'vx', '--model', 'claude-3-7-sonnet')
  const router = start(place, ['sandbox', 'serve', '-o', 'json'], environment)
  const { baseUrl: url } = JSON.parse(await router.line('baseUrl'))
  const stop = async () => {
    for (const one of [router, gateway, lab]) assert.equal(await one.stop(), 0, one.output())
  }
  return { url, stop }
}

const TRACE = '0af7651916cd43dd8448eb211c80319c'

async function message(url: string): Promise<number> {
  const answer = await fetch(`${url}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', traceparent: `00-${TRACE}-b7ad6b7169203331-01` },
    body: JSON.stringify({
      ...{ model: 'any', max_tokens: 8 },
      messages: [{ role: 'user', content: 'hi' }],
    }),
  })
  await answer.arrayBuffer()
  return answer.status
}

test('a request and the refresh of its token stand at the collector when the programs end', async context => {
  const place = createPlace()
  const { spans, server, endpoint } = await startCollector()
  context.after(() => {
    server.close()
    place.remove()
  })
  const { url, stop } = await startPrograms(place, endpoint)
  assert.equal(await message(url), 200)
  await stop()
  const named = (service: string) => spans.filter(one => one.service === service)
  assert.deepEqual(
    named('openshell-gateway').map(({ name }) => name),
    ['token request'],
  )
  const request = named('openshell-router').find(({ name }) => name === 'agent request')
  const attempt = named('openshell-router').find(({ name }) => name === 'upstream attempt')
  assert.equal(request?.traceId, TRACE)
  assert.equal(request?.parentSpanId, 'b7ad6b7169203331')
  assert.equal(attempt?.parentSpanId, request?.spanId)
})

test('a collector that is away changes nothing but the counts', async context => {
  const place = createPlace()
  context.after(() => place.remove())
  const { url, stop } = await startPrograms(place, `http://127.0.0.1:${await freePort()}`)
  assert.equal(await message(url), 200)
  const series = 'openshell_router_trace_spans_total{outcome="dropped"} 2'
  await until(async () => {
    const text = await (await fetch(`${url}/openshell/metrics`)).text()
    return text.includes(series)
  }, 'the spans to be dropped')
  assert.equal(await message(url), 200)
  await stop()
})
