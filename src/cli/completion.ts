import { Command } from 'commander'
import { AppError } from '../core/errors.ts'
import { type Context, define } from './command.ts'
import type { Gateway } from './gateway-call.ts'
import { withGateway } from './with-gateway.ts'

const SHELLS = ['bash', 'zsh', 'fish', 'powershell']

/** A person is waiting with a finger on the tab key. */
const TIMEOUT_MS = 1_000

/** Commands whose operand is a provider's name. */
const TAKES_PROVIDER = [
  'provider get',
  'provider update',
  'provider delete',
  'provider doctor',
  'provider refresh status',
  'provider refresh rotate',
  'provider refresh delete',
]

/** `openshell completion SHELL`. */
export function declareCompletion(command: Command, context: Context): void {
  command.argument('<shell>', SHELLS.join(', '))
  define(command, {
    sentence: 'Print a completion script for a shell; bash needs bash-completion for it.',
    example: 'source <(openshell completion bash)',
    flags: [],
    run: async () => {
      const [shell = ''] = command.args
      if (!SHELLS.includes(shell)) {
        throw new AppError('invalid_usage', `There is no completion for "${shell}"`, {
          hint: `Use one of ${SHELLS.join(', ')}`,
        })
      }
      const { root } = await describeTree(context)
      root.setup('openshell', 'openshell', shell)
    },
  })
}

/** `openshell complete -- WORDS`: what the completion scripts call. */
export function declareComplete(command: Command, context: Context): void {
  command.argument('[words...]', 'the command line so far')
  define(command, {
    sentence: 'Answer a shell that completes a command line.',
    example: 'openshell complete -- provider ""',
    flags: [],
    run: async () => {
      const { root } = await describeTree(context)
      const line = command.args.join(' ')
      if (/(^| )--type( \S*)?$/.test(line)) {
        const types = await ask(command, context, async gateway => {
          const { profiles } = await gateway.call(
            gateway.openshell.listProviderProfiles,
            { workspace: gateway.workspace },
            { timeoutMs: TIMEOUT_MS },
          )
          return profiles.map(profile => profile.id)
        })
        root.commands.get('provider add')?.option('type', 'vendor', offer(types))
      } else if (/(^| )--provider( \S*)?$/.test(line)) {
        const names = await ask(command, context, providerNames)
        for (const name of ['inference set', 'inference update']) {
          root.commands.get(name)?.option('provider', 'provider', offer(names))
        }
      } else if (TAKES_PROVIDER.some(path => line.startsWith(`${path} `))) {
        const names = await ask(command, context, providerNames)
        for (const path of TAKES_PROVIDER) {
          root.commands.get(path)?.argument('name', offer(names), true)
        }
      }
      root.parse(command.args)
    },
  })
}

/**
 * The commands as the completion library knows them. It declares the two commands of this file
 * itself, and what it answers it writes to standard output itself.
 */
async function describeTree(context: Context) {
  const { default: tab } = await import('@bomb.sh/tab/commander')
  const program = new Command('openshell')
  for (const command of (await context.wholeProgram()).commands) {
    if (!['completion', 'complete'].includes(command.name())) program.addCommand(command)
  }
  return { root: tab(program, { completionCommandName: 'completion' }) }
}

async function providerNames(gateway: Gateway): Promise<readonly string[]> {
  const { providers } = await gateway.call(
    gateway.openshell.listProviders,
    { limit: 1_000, workspace: gateway.workspace },
    { timeoutMs: TIMEOUT_MS },
  )
  return providers.map(provider => provider.metadata?.name ?? '')
}

/** What the gateway says; without one there is nothing to offer, and nothing to complain of. */
async function ask(
  command: Command,
  context: Context,
  question: (gateway: Gateway) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  try {
    return await withGateway(command, context, question)
  } catch (error) {
    if (error instanceof AppError) return []
    throw error
  }
}

function offer(values: readonly string[]) {
  return (complete: (value: string, description: string) => void) => {
    for (const value of values) complete(value, '')
  }
}
