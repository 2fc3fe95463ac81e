import { printable, printLine, type Terminal } from './terminal.ts'

/** How an answer is written. */
export type OutputFormat = 'table' | 'json' | 'yaml'

/** The names that `-o` takes. */
export const OUTPUT_FORMATS: readonly OutputFormat[] = ['table', 'json', 'yaml']

/** Writes a value as JSON or YAML, or lets `table` write it for people. */
export async function printAnswer(
  terminal: Terminal,
  format: OutputFormat,
  answer: { readonly value: unknown; readonly table: () => void },
): Promise<void> {
  if (format === 'table') {
    answer.table()
  } else if (format === 'json') {
    printLine(terminal, JSON.stringify(answer.value, null, 2))
  } else {
    const { stringify } = await import('yaml')
    terminal.out.write(stringify(answer.value))
  }
}

/** Lays out rows below their headings, two spaces between columns, nothing behind the last. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
): readonly string[] {
  const lines = [headings, ...rows.map(row => row.map(printable))]
  const widths = headings.map((_, column) =>
    Math.max(...lines.map(line => [...(line[column] ?? '')].length)),
  )
  return lines.map(line =>
    line
      .map(
        (cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - [...cell].length)),
      )
      .join('  ')
      .trimEnd(),
  )
}

/** Writes a titled block of `Name: value` lines. */
export function printBlock(
  terminal: Terminal,
  title: string,
  fields: readonly (readonly [name: string, value: string])[],
): void {
  printLine(terminal, title)
  printLine(terminal, '')
  for (const [name, value] of fields) printLine(terminal, `  ${name}: ${printable(value)}`)
}
