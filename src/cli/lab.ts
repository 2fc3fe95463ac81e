import type { Command } from 'commander'
import { type Context, define, defineGroup, flag, outputFlag, repeatedFlag } from './command.ts'
import { requestFaults } from './lab-control.ts'
import { formatTable, printAnswer } from './output.ts'
import { printLine } from './terminal.ts'
import { formatListen, UsageCheck } from './usage.ts'

const LISTEN_DEFAULT = '127.0.0.1:17680'
const TOKEN_LIFETIME_DEFAULT = '1m'
const TOKEN_LIFETIME_LIMITS = { minMs: 1_000, maxMs: 86_400_000 }

interface StartOptions {
  readonly listen: string
  readonly tokenLifetime: string
  readonly fault?: readonly string[]
  readonly keyFile?: string
  readonly output: string
}

/** `openshell lab`: pretend vendors, as strict as the real ones. */
export function declareLab(group: Command, context: Context): void {
  defineGroup(group, 'Run pretend token endpoints and model APIs, and make trouble in them.')
  declareStart(group.command('start'), context)
  declareFault(group.command('fault [words...]'), context)
}

function declareStart(command: Command, context: Context): void {
  define(command, {
    sentence: 'Start pretend vendors on one port; they issue their own keys.',
    example: 'openshell lab start --token-lifetime 20s --key-file sa.json',
    flags: [
      flag('--listen <address>', 'where to listen').default(LISTEN_DEFAULT),
      flag('--token-lifetime <span>', 'how long its tokens live').default(TOKEN_LIFETIME_DEFAULT),
      repeatedFlag('--fault <text>', 'trouble from the start, as "lab fault" takes it'),
      flag('--key-file <file>', 'where to write the key of a service account'),
      flag('-o, --output <format>', 'text or json').default('text'),
    ],
    run: async () => {
      const options = command.opts<StartOptions>()
      const check = new UsageCheck()
      const given = {
        listen: formatListen(check.listenAddress('--listen', options.listen)),
        tokenLifetimeMs: check.durationMs(
          '--token-lifetime',
          options.tokenLifetime,
          TOKEN_LIFETIME_LIMITS,
        ),
        faults: options.fault ?? [],
        output: check.oneOf('-o', options.output, ['text', 'json']),
        keyFile: options.keyFile ?? null,
      }
      check.finish()
      const { runLab } = await import('../lab/main.ts')
      context.exitWith(await runLab(given, context.terminal.stopSignal()))
    },
  })
}

function declareFault(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Make trouble in a running lab, end it with "clear", or list it.',
    example: 'openshell lab fault google.token status=503 count=3\nopenshell lab fault clear',
    flags: [flag('--lab <url>', 'the lab').default(`http://${LISTEN_DEFAULT}`), outputFlag()],
    run: async () => {
      const options = command.opts<{ lab: string; output: string }>()
      const check = new UsageCheck()
      const lab = check.serverUrl('--lab', options.lab)
      const format = check.outputFormat(options.output)
      check.finish()
      const faults = await requestFaults(lab, command.args)
      await printAnswer(terminal, format, {
        value: faults,
        table: () => {
          if (faults.length === 0) printLine(terminal, 'No faults.')
          const rows = faults.map(fault => [
            fault.text,
            fault.callsLeft === null ? '-' : String(fault.callsLeft),
            fault.msLeft === null ? '-' : `${Math.ceil(fault.msLeft / 1_000)} s`,
          ])
          const headings = ['FAULT', 'CALLS LEFT', 'TIME LEFT']
          const lines = faults.length === 0 ? [] : formatTable(headings, rows)
          for (const line of lines) printLine(terminal, line)
        },
      })
    },
  })
}
