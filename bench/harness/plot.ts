// The plot of docs/performance.md: every budget, and how much of it is used.
import { type Budget, cell, type KeptReport, verdict } from './report.ts'

const WIDTH = 900
const ROW = 22
const TOP = 56
const LABEL = 430
const BAR = 340
/** The bars show from a tenth of a budget to ten times it, on a logarithmic scale. */
const DECADES = 1

/** Draws all budgets with a value as bars; what is right of the line exceeds its budget. */
export function drawPlot(reports: readonly KeptReport[]): string {
  const rows = reports.flatMap(({ bench, budgets }) =>
    budgets.filter(({ value }) => value !== null).map(budget => ({ bench, budget })),
  )
  const height = TOP + rows.length * ROW + 40
  const middle = LABEL + BAR / 2
  const bars = rows.map(({ bench, budget }, at) => {
    const y = TOP + at * ROW
    const isMet = verdict(budget) === 'met'
    const length = Math.max(2, (BAR / 2) * (1 + use(budget) / DECADES))
    const value = `${cell(budget.value)} ${budget.unit}`.trim()
    return [
      `<text x="${LABEL - 8}" y="${y + 14}" text-anchor="end">${xml(`${bench}: ${budget.what}`)}</text>`,
      `<rect x="${LABEL}" y="${y + 3}" width="${length.toFixed(1)}" height="${ROW - 8}" fill="${isMet ? '#2f7d4f' : '#b3402e'}"/>`,
      `<text x="${LABEL + BAR + 8}" y="${y + 14}">${xml(value)}</text>`,
    ].join('')
  })
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11" fill="#222">`,
    '<title>How much of each budget is used</title>',
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="12" y="22" font-size="14">How much of each budget is used</text>`,
    `<text x="12" y="40">Logarithmic; the line is the budget, the left edge a tenth of it, the right edge ten times it. Green is met.</text>`,
    ...bars,
    `<line x1="${middle}" y1="${TOP - 6}" x2="${middle}" y2="${height - 30}" stroke="#222" stroke-dasharray="3 3"/>`,
    `<text x="${middle}" y="${height - 14}" text-anchor="middle">budget</text>`,
    '</svg>\n',
  ].join('\n')
}

/** How much of a budget is used, as a power of ten between -1 and 1; 0 is all of it. */
function use({ bound, limit, value }: Budget): number {
  if (value === null) return 0
  const share = bound === 'at most' ? value / limit : limit / value
  const power = Math.log10(Math.max(share, Number.MIN_VALUE))
  return Number.isNaN(power) ? 0 : Math.min(DECADES, Math.max(-DECADES, power))
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
