import { AppError } from '../core/errors.ts'
import type { ProviderCredentialRefreshStatus } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { describeStatus, formatStatusLine, formatStatusTable } from './refresh-table.ts'
import { noteLine, paint, printLine, type Terminal } from './terminal.ts'
import { clockOf } from './time.ts'

const INTERVAL_MS = 1_000

/** The screen is overwritten in place; clearing it first would make it flicker. */
const HOME = '\u001b[H'
const CLEAR_LINE_END = '\u001b[K'
const CLEAR_BELOW = '\u001b[J'

type Statuses = readonly ProviderCredentialRefreshStatus[]

/** Shows one reading, or the trouble that there was in reading. */
type Show = (reading: { readonly statuses: Statuses; readonly trouble: string }) => void

/**
 * Shows the status each second until the program is told to stop. On a terminal it is redrawn;
 * elsewhere only what changed is appended. A gateway that goes away is waited for, unless it was
 * not there to begin with.
 */
export async function watchStatus(
  terminal: Terminal,
  options: {
    readonly format: 'table' | 'json'
    readonly read: (signal: AbortSignal) => Promise<Statuses>
  },
): Promise<void> {
  const stop = terminal.stopSignal()
  const show = showerFor(terminal, options.format)
  let statuses: Statuses | null = null
  while (!stop.aborted) {
    try {
      statuses = await options.read(stop)
      show({ statuses, trouble: '' })
    } catch (error) {
      if (stop.aborted) return
      const mayReturn = error instanceof AppError && error.code === 'gateway_unreachable'
      if (statuses === null || !mayReturn) throw error
      show({ statuses, trouble: error.message })
    }
    await terminal.clock.sleep(INTERVAL_MS, stop)
  }
}

function showerFor(terminal: Terminal, format: 'table' | 'json'): Show {
  if (format === 'json') return jsonShower(terminal)
  return terminal.out.isTerminal ? screenShower(terminal) : changeShower(terminal)
}

function screenShower(terminal: Terminal): Show {
  return ({ statuses, trouble }) => {
    const title = `${clockOf(terminal, terminal.clock.nowMs())}  Ctrl-C ends`
    const lines = [
      paint(terminal.out, 'dim', title),
      ...(trouble === '' ? [] : [paint(terminal.out, 'yellow', trouble)]),
      '',
      ...formatStatusTable(terminal, statuses),
    ]
    const screen = lines.map(line => `${line}${CLEAR_LINE_END}\n`).join('')
    terminal.out.write(`${HOME}${screen}${CLEAR_BELOW}`)
  }
}

/** One JSON array a line, whenever something in it changed. */
function jsonShower(terminal: Terminal): Show {
  let last = ''
  return ({ statuses, trouble }) => {
    const line = JSON.stringify(statuses.map(describeStatus))
    if (trouble !== '' || line === last) return
    last = line
    printLine(terminal, line)
  }
}

function changeShower(terminal: Terminal): Show {
  let last: ReadonlyMap<string, string> = new Map()
  let lastTrouble = ''
  return ({ statuses, trouble }) => {
    const time = clockOf(terminal, terminal.clock.nowMs())
    if (trouble !== '' && lastTrouble === '') noteLine(terminal, `${time} ${trouble}`)
    lastTrouble = trouble
    const current = new Map(
      statuses.map(status => [
        `${status.providerName} ${status.credentialKey}`,
        JSON.stringify(describeStatus(status)),
      ]),
    )
    for (const status of statuses) {
      const name = `${status.providerName} ${status.credentialKey}`
      if (current.get(name) === last.get(name)) continue
      printLine(terminal, `${time} ${formatStatusLine(terminal, status)}`)
    }
    for (const name of last.keys()) {
      if (!current.has(name)) printLine(terminal, `${time} ${name} gone`)
    }
    last = current
  }
}
