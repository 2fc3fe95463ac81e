import type { Command } from 'commander'
import type { CheckProviderResponse, Step } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { type Context, define, flag, outputFlag, outputOf } from './command.ts'
import { EXIT } from './exit.ts'
import { printAnswer } from './output.ts'
import { type Emphasis, paint, printable, printLine, type Terminal } from './terminal.ts'
import { withGateway } from './with-gateway.ts'

/** Two tries at a chain of token endpoints, and a question to the API, each as slow as it may be. */
const EXAMINATION_TIMEOUT_MS = 120_000

const NAME_CHARS = 'resolve'.length

const SIGNS: ReadonlyMap<string, readonly [sign: string, emphasis: Emphasis]> = new Map([
  ['ok', ['✓', 'green']],
  ['warning', ['!', 'yellow']],
  ['failed', ['✗', 'red']],
  ['skipped', ['-', 'dim']],
])

/** `openshell provider doctor`. */
export function declareDoctor(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Try a provider step by step, say which step fails and what to do; change nothing.',
    example: 'openshell provider doctor my-vertex',
    flags: [
      outputFlag(),
      flag('--model <id>', 'model to ask for (default: the one of the inference route)'),
    ],
    run: async () => {
      const format = outputOf(command)
      const [name = ''] = command.args
      const { model = '' } = command.opts<{ model?: string }>()
      const answer = await withGateway(command, context, gateway =>
        gateway.call(
          gateway.doctor.checkProvider,
          { provider: name, workspace: gateway.workspace, modelId: model },
          { timeoutMs: EXAMINATION_TIMEOUT_MS },
        ),
      )
      const isHealthy = answer.steps.every(step => step.outcome !== 'failed')
      await printAnswer(terminal, format, {
        value: describe(name, answer, isHealthy),
        table: () => {
          for (const step of answer.steps) printStep(terminal, step)
        },
      })
      if (!isHealthy) context.exitWith(EXIT.failed)
    },
  })
}

function printStep(terminal: Terminal, step: Step): void {
  const [sign, emphasis] = SIGNS.get(step.outcome) ?? ['?', 'yellow']
  const name = printable(step.name).padEnd(NAME_CHARS)
  const code = step.code === '' ? '' : ` (${step.code})`
  printLine(
    terminal,
    `${paint(terminal.out, emphasis, sign)} ${name}  ${printable(step.message + code)}`,
  )
  if (step.advice === '') return
  const indent = ' '.repeat(NAME_CHARS + 4)
  printLine(terminal, `${indent}${paint(terminal.out, 'bold', '→')} ${printable(step.advice)}`)
}

function describe(
  provider: string,
  { providerType, steps }: CheckProviderResponse,
  isHealthy: boolean,
): Readonly<Record<string, unknown>> {
  return {
    provider,
    type: providerType,
    healthy: isHealthy,
    steps: steps.map(step => ({
      name: step.name,
      outcome: step.outcome,
      message: step.message,
      advice: step.advice,
      code: step.code,
      elapsed_ms: step.elapsedMs,
    })),
  }
}
