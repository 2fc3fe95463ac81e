// Goal: docs/observability.md and docs/alerts.yaml are about this program: what it tells stands in the
// page and the other way round, and an alert asks only for what is told.
// Method: a real gateway's /metrics, the sources' log calls, and the rules, read beside the pages.
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { createRouteTable } from '../src/router/route-table.ts'
import { createRouterMetrics } from '../src/sandbox/metrics.ts'
import { OpenShell } from '../src/wire/gen/openshell/v1/openshell_pb.ts'
import { FakeClock } from './support/fake-clock.ts'
import { startTestGateway, until, vertexProvider } from './support/gateway.ts'
import { metricTypes, type Sample, samplesOf, seriesOf } from './support/prometheus.ts'
import { expressionFaults, type MetricLabels } from './support/promql.ts'

const root = path.dirname(import.meta.dirname)
const read = (file: string): string => readFileSync(path.join(root, file), 'utf8')
const page = read('docs/observability.md')

/** The cells of a section's table, without its head. */
function rowsIn(heading: string): readonly (readonly string[])[] {
  const text = page.split(/^#+ /m).find(part => part.startsWith(`${heading}\n`)) ?? ''
  const lines = text.split('\n').filter(line => line.startsWith('| `'))
  assert.ok(lines.length > 0, heading)
  return lines.map(line =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  )
}

/** What stands in backticks in a cell. */
function quoted(cell: string | undefined): readonly string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)
}

/** `/metrics` of a gateway that has lived a little: a provider, a router, a poll. */
async function livelyAnswer(): Promise<string> {
  await using world = await startTestGateway()
  const series = 'openshell_refreshes_total'
  await world.call(OpenShell.method.createProvider, { provider: vertexProvider(world.lab, 'vx') })
  const scrape = async () => (await fetch(`${world.origin}/metrics`)).text()
  const labels = 'workspace="default",provider="vx",outcome="minted",class="",reason="first"'
  await until(async () => seriesOf(await scrape(), `${series}{${labels}}`) === 1, 'the first mint')
  return await scrape()
}

const answer = await livelyAnswer()

const METRIC_TABLES = ['Metrics of the gateway', 'Metrics of the router']

/** The labels of each metric by the page, those of histograms with `le` in the parts. */
function labelsByPage(): MetricLabels {
  return new Map(
    METRIC_TABLES.flatMap(rowsIn).flatMap(([name, type, labels = '']) => {
      const [metric = ''] = quoted(name)
      const names = labels.split(', ').filter(one => one !== '')
      const parts: readonly (readonly [string, readonly string[]])[] =
        type === 'histogram'
          ? [
              [`${metric}_bucket`, [...names, 'le']],
              [`${metric}_sum`, names],
              [`${metric}_count`, names],
            ]
          : [[metric, names]]
      return parts
    }),
  )
}

test('each metric of the gateway stands in the page with its type, and no other', () => {
  const told = rowsIn('Metrics of the gateway').map(([name, type]) => `${quoted(name)[0]} ${type}`)
  const real = [...metricTypes(answer)].map(([name, type]) => `${name} ${type}`)
  assert.deepEqual([...told].sort(), [...real].sort())
})

test('each metric of the router stands in the page with its type, and no other', () => {
  const clock = new FakeClock()
  const { answer: answerNow } = createRouterMetrics({
    ...{ clock, gatewayClock: clock, table: createRouteTable(), tracer: null },
  })
  const told = rowsIn('Metrics of the router').map(([name, type]) => `${quoted(name)[0]} ${type}`)
  const text = Buffer.from(answerNow().body).toString()
  const real = [...metricTypes(text)].map(([name, type]) => `${name} ${type}`)
  assert.deepEqual([...told].sort(), [...real].sort())
})

test('the labels in the page are those of the series', () => {
  const byPage = labelsByPage()
  const samples: readonly Sample[] = samplesOf(answer)
  assert.ok(samples.length > 30)
  for (const { name, labels } of samples)
    assert.deepEqual(Object.keys(labels).sort(), [...(byPage.get(name) ?? [])].sort(), name)
})

test('each span that is started stands in the page, and no other', () => {
  const sources = ['src/gateway/refresh-traces.ts', 'src/sandbox/request-traces.ts'].map(read)
  const started = sources.flatMap(text => [...text.matchAll(/tracer\.start\('([a-z ]+)'/g)])
  assert.deepEqual(
    rowsIn('Traces')
      .flatMap(([name]) => quoted(name))
      .sort(),
    started.map(([, name]) => name).sort(),
  )
})

test('each audit action stands in the page, and no other', () => {
  const union = read('src/gateway/audit.ts').split('export type AuditAction =')[1] ?? ''
  const actions = [...(union.split('\n\n')[0] ?? '').matchAll(/'([a-z_.]+)'/g)]
  assert.ok(actions.length > 10)
  assert.deepEqual(
    rowsIn('Audit lines').flatMap(([name]) => quoted(name)),
    actions.map(([, action]) => `audit.${action}`),
  )
})

test('each event that is logged stands in the page, and no other', () => {
  const rooms = {
    'Of the gateway': ['gateway/**', 'refresh/**'],
    'Of the router': ['router/**', 'sandbox/**', 'cli/sandbox-run'],
    'Of both': ['system/**'],
  }
  for (const [heading, places] of Object.entries(rooms)) {
    const sources = places
      .flatMap(place => globSync(`src/${place}.ts`, { cwd: root }))
      .filter(file => !file.endsWith('.test.ts'))
      .map(read)
    const logged = sources.flatMap(text =>
      [...text.matchAll(/\blog(?:\.\w+|\[\w+\])\(\s*([^)]*?)[,)]/g)].flatMap(([, first = '']) =>
        [...first.matchAll(/'([a-z_]+\.[a-z_]+)'/g)].map(([, event]) => event ?? ''),
      ),
    )
    const told = rowsIn(heading).flatMap(([name]) => quoted(name))
    assert.deepEqual([...told].sort(), [...new Set(logged)].sort(), heading)
  }
})

/** An alert as Prometheus reads it. */
interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

const alerts: readonly Alert[] = parse(read('docs/alerts.yaml')).groups.flatMap(
  (group: { readonly rules: readonly Alert[] }) => group.rules,
)

/** How GitHub makes an anchor of a heading. */
function anchorsOf(text: string): readonly string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replace(/\s/g, '-'),
  )
}

test('each alert has a name of its own, a span, a severity, words, and a section that says what to do', () => {
  assert.ok(alerts.length >= 10)
  assert.equal(new Set(alerts.map(one => one.alert)).size, alerts.length)
  const anchors = anchorsOf(page)
  for (const { alert, for: span, labels, annotations } of alerts) {
    assert.match(alert, /^OpenShell[A-Z]\w+$/)
    assert.match(span, /^\d+[smh]$/, alert)
    assert.match(labels.severity ?? '', /^(critical|warning)$/, alert)
    assert.ok((annotations.summary ?? '').length > 20, `${alert} has no summary`)
    assert.ok((annotations.description ?? '').length > 40, `${alert} has no description`)
    const [file, anchor = ''] = (annotations.runbook ?? '').split('#')
    assert.equal(file, 'docs/observability.md', alert)
    assert.ok(anchors.includes(anchor), `${alert}: no section "${anchor}"`)
  }
})

test('each alert asks for metrics and labels that there are, and speaks of labels that it keeps', () => {
  const metrics = labelsByPage()
  for (const { alert, expr, annotations } of alerts) {
    assert.deepEqual(expressionFaults(expr, metrics), [], alert)
    const words = Object.values(annotations).join(' ')
    for (const [, label = ''] of words.matchAll(/\$labels\.(\w+)/g)) {
      const isThere = label === 'instance' || [...metrics.values()].some(of => of.includes(label))
      assert.ok(isThere, `${alert} speaks of ${label}`)
    }
  }
})

test('an alert’s values of labels are values that the gateway gives', () => {
  const samples = samplesOf(answer)
  const given = new Set(
    samples.flatMap(({ labels }) => Object.entries(labels).map(pair => pair.join('='))),
  )
  // Routers come with their own two, of which this gateway has none.
  for (const state of ['current', 'behind']) given.add(`state=${state}`)
  for (const { alert, expr } of alerts) {
    for (const [, label, values = ''] of expr.matchAll(/(\w+)=~?"([^"]*)"/g)) {
      for (const value of values.split('|'))
        assert.ok(given.has(`${label}=${value}`), `${alert}: ${label}="${value}"`)
    }
  }
})

test('a wrong expression would be found', () => {
  const metrics = labelsByPage()
  const rows: readonly (readonly [expression: string, fault: RegExp])[] = [
    ['openshell_token_expiry_second < 1', /metric openshell_token_expiry_second/],
    ['sum(openshell_credentials', /unbalanced/],
    ['openshell_credentials{state="failed") == 1', /unbalanced/],
    ['summ(openshell_credentials) > 1', /function summ/],
    ['openshell_credentials{sate="failed"} == 1', /label sate/],
    ['sum by (provder) (openshell_failing_seconds) > 1', /label provder/],
    ['rate(openshell_tokens_rejected_total) > 0', /range/],
    ['openshell_failing_seconds[5m] > 0', /range/],
    ['openshell_failing_seconds openshell_credentials', /two values/],
    ['openshell_failing_seconds > > 1', /two operators/],
    ['openshell_failing_seconds >', /ends/],
    ['openshell_failing_seconds # 1', /character/],
    ['openshell_credentials{state=failed} == 1', /string/],
    ['rate(openshell_tokens_rejected_total[5 minutes]) > 0', /character|span/],
  ]
  for (const [expression, fault] of rows)
    assert.match(expressionFaults(expression, metrics).join('; '), fault, expression)
})
