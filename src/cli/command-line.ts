import { Command } from 'commander'
import type { Context } from './command.ts'
import { reportError } from './exit.ts'
import { addGlobalOptions } from './settings.ts'
import type { Terminal } from './terminal.ts'

/** Wide enough for the examples, narrow enough for half a screen. */
const HELP_WIDTH = 100

/** A group of commands whose code is loaded when it is asked for. */
interface Group {
  readonly name: string
  readonly summary: string
  readonly isHidden: boolean
  readonly load: () => Promise<(command: Command, context: Context) => void>
}

const GROUPS: readonly Group[] = [
  {
    name: 'provider',
    summary: 'keep vendor credentials, see their tokens turn over',
    isHidden: false,
    load: async () => (await import('./provider.ts')).declareProvider,
  },
  {
    name: 'inference',
    summary: 'choose the provider and model behind inference.local',
    isHidden: false,
    load: async () => (await import('./inference.ts')).declareInference,
  },
  {
    name: 'sandbox',
    summary: 'run an agent beside a router, or the router alone',
    isHidden: false,
    load: async () => (await import('./sandbox.ts')).declareSandbox,
  },
  {
    name: 'workspace',
    summary: 'keep what belongs to several teams apart',
    isHidden: false,
    load: async () => (await import('./workspace.ts')).declareWorkspace,
  },
  {
    name: 'gateway',
    summary: 'run the gateway',
    isHidden: false,
    load: async () => (await import('./gateway.ts')).declareGateway,
  },
  {
    name: 'store',
    summary: 'look after the database of the gateway as a whole',
    isHidden: false,
    load: async () => (await import('./store.ts')).declareStore,
  },
  {
    name: 'status',
    summary: 'say whether the gateway can be reached, and as whom',
    isHidden: false,
    load: async () => (await import('./status.ts')).declareStatus,
  },
  {
    name: 'whoami',
    summary: 'say as whom the gateway sees you',
    isHidden: false,
    load: async () => (await import('./whoami.ts')).declareWhoami,
  },
  {
    name: 'settings',
    summary: "change what OpenShell's supervisors run by",
    isHidden: false,
    load: async () => (await import('./gateway-settings.ts')).declareSettings,
  },
  {
    name: 'lab',
    summary: 'run pretend vendors with faults on demand',
    isHidden: false,
    load: async () => (await import('./lab.ts')).declareLab,
  },
  {
    name: 'completion',
    summary: 'print a completion script for a shell',
    isHidden: false,
    load: async () => (await import('./completion.ts')).declareCompletion,
  },
  {
    name: 'complete',
    summary: 'answer a shell that completes a command line',
    isHidden: true,
    load: async () => (await import('./completion.ts')).declareComplete,
  },
  {
    name: 'demo',
    summary: 'run a gateway, a router and, without a provider of your own, the lab',
    isHidden: true,
    load: async () => (await import('./demo.ts')).declareDemo,
  },
]

const FIRST_STEPS = `Models for agents at https://inference.local; the keys stay in the gateway:
  openshell provider add --type vertex --name my-vertex \\
    --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=sa.json \\
    --config VERTEX_BASE_URL=https://HOST/v1/projects/P/locations/L
  openshell inference set --provider my-vertex --model claude-3-7-sonnet
`

/**
 * Runs one command line, given without the program's name, and answers the exit code. It never
 * rejects: what goes wrong is said on standard error.
 */
export async function runCommandLine(
  argv: readonly string[],
  options: { readonly terminal: Terminal; readonly version: string },
): Promise<number> {
  let exitCode = 0
  const context: Context = {
    ...options,
    exitWith: code => {
      exitCode = code
    },
    wholeProgram: () => wholeProgram(context),
  }
  const [first, ...rest] = argv
  const words = first === 'help' ? [...rest, '--help'] : [...argv]
  try {
    await createProgram(context).parseAsync(words, { from: 'user' })
    return exitCode
  } catch (error) {
    return reportError(options.terminal, error)
  }
}

/** The tree of commands; a group's commands join it when the group is asked for. */
function createProgram(context: Context): Command {
  const { terminal } = context
  const program = new Command('openshell')
    .usage('[options] <command>')
    .version(context.version, '--version', 'print the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand(false)
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText('before', FIRST_STEPS)
    .configureOutput({
      writeOut: text => terminal.out.write(text),
      writeErr: text => terminal.err.write(text),
      outputError: (text, write) => write(withoutValues(text)),
      getOutHasColors: () => terminal.out.hasColor,
      getErrHasColors: () => terminal.err.hasColor,
    })
    .configureHelp({ helpWidth: HELP_WIDTH })
  addGlobalOptions(program)
  for (const group of GROUPS) {
    program.command(group.name, { hidden: group.isHidden }).summary(group.summary)
  }
  return program.hook('preSubcommand', async (_program, command) => {
    const group = GROUPS.find(one => one.name === command.name())
    if (group !== undefined) (await group.load())(command, context)
  })
}

/** The tree with the commands of every group in it. */
export async function wholeProgram(context: Context): Promise<Command> {
  const program = createProgram(context)
  for (const group of GROUPS) {
    const command = program.commands.find(one => one.name() === group.name)
    if (command !== undefined) (await group.load())(command, context)
  }
  return program
}

/**
 * A misplaced word may be a secret whose flag or quotes were forgotten, so only what looks like
 * a flag or a command is repeated.
 */
function withoutValues(message: string): string {
  return message
    .replace(/(too many arguments.* but got \d+):[\s\S]*/, '$1\n')
    .replace(
      /unknown (option|command) '([\s\S]*?)'(\n\(Did you mean.*)?\n$/,
      (_, kind: string, word: string, suggestion: string | undefined) => {
        const name = /^(?:--?)?[A-Za-z][a-z-]{0,24}(?==|$)/.exec(word)?.[0]
        return `unknown ${kind}${name === undefined ? '' : ` '${name}'`}${suggestion ?? ''}\n`
      },
    )
}
