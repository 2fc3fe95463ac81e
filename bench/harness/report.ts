// Where the figures go: a readable table, and JSON that `npm run bench -- report` makes the page of.
import { mkdirSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { significant } from './figures.ts'

/** Where results are kept between runs. */
export const resultsFolder = path.join(path.dirname(import.meta.dirname), 'results')

/** A promised figure beside the measured one. */
export interface Budget {
  readonly what: string
  readonly unit: string
  readonly bound: 'at most' | 'at least'
  readonly limit: number
  /** null: it could not be measured here. */
  readonly value: number | null
}

/** A table: a cell is a number, a text, or nothing. */
export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (number | string | null)[])[]
}

/** All that one bench found. */
export interface Report {
  readonly bench: string
  readonly isQuick: boolean
  readonly rounds: number
  readonly tables: readonly Table[]
  readonly budgets: readonly Budget[]
  /** What was left out or discarded, in words. */
  readonly notes: readonly string[]
}

/** The benches whose results make the page, in its order. */
export const BENCHES = [
  ...['router-small', 'router-tls', 'connections', 'router-bodies', 'scan', 'router-streams'],
  ...['gateway-watchers', 'gateway-polls', 'refresh-scale', 'replicas-scale', 'start'],
] as const

/** A report as it is kept. */
export interface KeptReport extends Report {
  readonly at: string
  readonly machine: Machine
}

/** What the figures were measured on. */
interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGb: number
  readonly kernel: string
  readonly node: string
  /** Runnable processes over the last minute; above 1 or 2 the machine was shared. */
  readonly load: number
}

/** Prints a report and keeps it as JSON. */
export function publish(report: Report): void {
  const kept: KeptReport = { ...report, at: new Date().toISOString(), machine: machine() }
  mkdirSync(resultsFolder, { recursive: true })
  // A first impression takes no real result's place.
  const file = path.join(resultsFolder, `${report.bench}${report.isQuick ? '.quick' : ''}.json`)
  writeFileSync(file, `${JSON.stringify(kept, null, 2)}\n`)
  for (const table of report.tables) process.stdout.write(`\n${text(table)}`)
  if (report.budgets.length > 0) process.stdout.write(`\n${text(budgetTable(report.budgets))}`)
  for (const note of report.notes) process.stdout.write(`note: ${note}\n`)
  if (report.isQuick) process.stdout.write('note: --quick is a first impression\n')
  process.stdout.write(`\n${path.relative(process.cwd(), file)}\n`)
}

/** Budgets as a table, with whether each is met. */
export function budgetTable(budgets: readonly Budget[]): Table {
  return {
    title: 'Budgets',
    columns: ['budget', 'measured', 'promised', ''],
    rows: budgets.map(one => [
      one.what,
      one.value === null ? '–' : `${significant(one.value)} ${one.unit}`.trim(),
      `${one.bound} ${one.limit} ${one.unit}`.trim(),
      verdict(one),
    ]),
  }
}

/** Whether a promise is kept, in words. */
export function verdict({ bound, limit, value }: Budget): string {
  if (value === null) return 'not measured'
  const isMet = bound === 'at most' ? value <= limit : value >= limit
  return isMet ? 'met' : 'NOT MET'
}

/** A cell as a reader sees it. */
export function cell(value: number | string | null): string {
  if (typeof value === 'string') return value
  const shown = significant(value)
  return shown === null ? '–' : shown.toLocaleString('en-US', { maximumFractionDigits: 4 })
}

function text({ title, columns, rows }: Table): string {
  const lines = [columns, ...rows.map(row => row.map(cell))]
  const widths = columns.map((_, at) => Math.max(...lines.map(line => (line[at] ?? '').length)))
  const written = lines.map(line =>
    line
      .map((one, at) => (at === 0 ? one.padEnd(widths[at] ?? 0) : one.padStart(widths[at] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
  const [head = '', ...body] = written
  return [title, head, '─'.repeat(head.length), ...body, ''].join('\n')
}

function machine(): Machine {
  const [cpu] = os.cpus()
  return {
    cpu: cpu?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    load: Math.round((os.loadavg()[0] ?? 0) * 10) / 10,
  }
}
