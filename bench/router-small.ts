// A small request, 1 KB in and 1 KB out, kept connections: CPU at saturation, latency added at 200
// requests a second. `npm run bench -- router-small [--quick] [--rounds N] [--subjects A,B]`

import { differenceOf, ratioOf } from './harness/figures.ts'
import { readOptions } from './harness/options.ts'
import { publish } from './harness/report.ts'
import { measureSmall } from './harness/small.ts'

const options = readOptions({
  all: ['direct', 'nginx', 'haproxy', 'go', 'portkey', 'router'],
  quick: ['direct', 'nginx', 'router'],
})
const setting = { isTlsToAgent: false, isTlsToUpstream: false }
const { tables, notes, saturated, paced } = await measureSmall(options, setting, 'plain')
const cpu = (one: { readonly cpuUs: number }) => one.cpuUs
const p99 = (one: { readonly p99Us: number }) => one.p99Us

publish({
  bench: 'router-small',
  ...options,
  tables,
  notes,
  budgets: [
    {
      what: 'CPU per request, router / nginx',
      unit: '×',
      bound: 'at most',
      limit: 2,
      value: ratioOf(saturated, { of: 'router', to: 'nginx' }, cpu),
    },
    {
      what: "CPU per request, Go's ReverseProxy / router",
      unit: '×',
      bound: 'at least',
      limit: 2.5,
      value: ratioOf(saturated, { of: 'go', to: 'router' }, cpu),
    },
    {
      what: 'CPU per request, Portkey / router',
      unit: '×',
      bound: 'at least',
      limit: 40,
      value: ratioOf(saturated, { of: 'portkey', to: 'router' }, cpu),
    },
    {
      what: 'latency added at 200 requests/s, p99',
      unit: 'ms',
      bound: 'at most',
      limit: 0.5,
      value: inMs(differenceOf(paced, { of: 'router', to: 'direct' }, p99)),
    },
  ],
})

function inMs(us: number | null): number | null {
  return us === null ? null : us / 1_000
}
