// The small request of `router-small` with TLS 1.3 on the agent's side, and on both sides.
// `npm run bench -- router-tls [--quick] [--rounds N] [--subjects A,B]`
import { medianOf, ratioOf } from './harness/figures.ts'
import { hasOpenssl, stopWithout } from './harness/native.ts'
import { readOptions } from './harness/options.ts'
import { publish } from './harness/report.ts'
import { CONNECTIONS, measureHttp2, measureSmall, type Saturated } from './harness/small.ts'

const options = readOptions({
  all: ['direct', 'nginx', 'haproxy', 'go', 'router'],
  quick: ['nginx', 'router'],
})
if (!hasOpenssl) stopWithout('TLS needs the headers of OpenSSL (libssl-dev)')

const cpu = (one: Saturated) => one.cpuUs
const pair = { of: 'router', to: 'nginx' }
const toAgent = await measureSmall(
  options,
  { isTlsToAgent: true, isTlsToUpstream: false },
  "TLS on the agent's side",
)
const both = await measureSmall(
  options,
  { isTlsToAgent: true, isTlsToUpstream: true },
  'TLS on both sides',
)
const http2 = await measureHttp2(options)

publish({
  bench: 'router-tls',
  ...options,
  tables: [...toAgent.tables, ...both.tables, ...http2.tables],
  notes: [...new Set([...toAgent.notes, ...both.notes, ...http2.notes])],
  budgets: [
    {
      what: "CPU per request, TLS on the agent's side, router / nginx",
      unit: '×',
      bound: 'at most',
      limit: 1.9,
      value: ratioOf(toAgent.saturated, pair, cpu),
    },
    {
      what: 'CPU per request, TLS on both sides, router / nginx',
      unit: '×',
      bound: 'at most',
      limit: 1.9,
      value: ratioOf(both.saturated, pair, cpu),
    },
    {
      what: `TLS handshakes at the upstream in a run of ${CONNECTIONS} connections`,
      unit: '',
      bound: 'at most',
      limit: CONNECTIONS,
      value: medianOf(both.saturated, 'router', one => one.handshakes),
    },
  ],
})
