// Puts the kept results into docs/performance.md, between its marks, and draws docs/performance.svg.
// Results of `--quick` are no results. `npm run bench -- report`
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { drawPlot } from './harness/plot.ts'
import {
  BENCHES,
  budgetTable,
  cell,
  type KeptReport,
  resultsFolder,
  type Table,
} from './harness/report.ts'

const docs = path.join(path.dirname(import.meta.dirname), 'docs')
const page = path.join(docs, 'performance.md')
const MARKS = ['<!-- results: begin -->', '<!-- results: end -->'] as const

const reports = BENCHES.flatMap((bench): readonly KeptReport[] => {
  const file = path.join(resultsFolder, `${bench}.json`)
  return existsSync(file) ? [JSON.parse(readFileSync(file, 'utf8'))] : []
})
const absent = BENCHES.filter(bench => !reports.some(one => one.bench === bench))
if (reports.length === 0) {
  process.stderr.write('There are no results yet: npm run bench -- all\n')
  process.exit(1)
}

const results = [
  ...reports.map(section),
  ...(absent.length > 0 ? [`Not measured yet: ${absent.join(', ')}.`] : []),
].join('\n\n')
const [before, after] = [MARKS[0], MARKS[1]].map((mark, at) => {
  const parts = readFileSync(page, 'utf8').split(mark)
  if (parts.length !== 2) throw new Error(`${page} must hold "${mark}" once`)
  return parts[at]
})
writeFileSync(page, `${before}${MARKS[0]}\n\n${results}\n\n${MARKS[1]}${after}`)
writeFileSync(path.join(docs, 'performance.svg'), drawPlot(reports))
process.stdout.write(`${path.relative(process.cwd(), page)} and its plot\n`)

function section(report: KeptReport): string {
  const { machine, rounds } = report
  const where = `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.kernel}, Node ${machine.node}; load average ${machine.load}; ${rounds} rounds; ${report.at.slice(0, 10)}`
  return [
    `### \`npm run bench -- ${report.bench}\``,
    where,
    ...(report.budgets.length > 0 ? [markdown(budgetTable(report.budgets))] : []),
    ...report.tables.map(markdown),
    ...(report.notes.length > 0 ? [report.notes.map(note => `- ${note}`).join('\n')] : []),
  ].join('\n\n')
}

function markdown({ title, columns, rows }: Table): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = columns.map((_, at) => (at === 0 ? '---' : '---:'))
  const body = rows.map(row => line(row.map(cell)))
  return [`**${title}**`, '', line(columns), line(rule), ...body].join('\n')
}
